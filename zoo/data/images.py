"""Finding images in files, folders, globs and zips; what is found is untrusted and not opened until it is read.

Every image that a path leads to becomes one `ImageSource`, and so a row of whatever is reported: what cannot be used is
said with its reason, never left out. Files that are no images are passed over.
"""

from __future__ import annotations

import fnmatch
import lzma
import os
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath, PurePosixPath

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.base.printable import spelled
from pvae_zoo.data.archives import ARCHIVES
from pvae_zoo.data.image_kinds import HEAD_BYTES, SUFFIXES, kind_of

MAX_BYTES = 256 << 20

_DAMAGE = (OSError, zipfile.BadZipFile, RuntimeError, EOFError, ValueError, zlib.error, lzma.LZMAError)
"""What a damaged, encrypted or oddly compressed member raises."""


class ImageError(PvaeZooError):
    """Why one image cannot be used, to be read after its name: cause and remedy, without the path."""


class NoImagesError(PvaeZooError):
    """A folder, a zip or a glob in which there is no image."""


@dataclass(frozen=True, slots=True)
class ImageSource:
    """One image that has been found but not opened.

    Attributes:
        name: the path as shown to the user, ``archive.zip/inner/name.png`` for a member of a zip; characters that
            would upset a terminal or a UTF-8 file are spelled out.
        path: the file, or the zip that it is in.
        member: the entry in that zip.
        problem: why it cannot be read, where that is known already.
    """

    name: str
    path: Path = field(repr=False)
    member: zipfile.ZipInfo | None = field(default=None, repr=False, compare=False)
    problem: str | None = field(default=None, repr=False, compare=False)

    def read(self, max_bytes: int = MAX_BYTES) -> bytes:
        """The content of the file, decompressed. Any number of threads may read at once.

        Raises:
            ImageError: if it cannot be read or is longer than ``max_bytes``.
        """
        if self.problem is not None:
            raise ImageError(self.problem)
        if not os.path.isfile(self.path):  # opening a FIFO would wait for ever
            raise ImageError("is no longer there, or is a link to a missing file: fetch it again")
        try:
            data = self._first(max_bytes + 1)
        except _DAMAGE as error:
            raise ImageError(f"cannot be read ({reason(error)}): fetch or unpack it again") from error
        if len(data) > max_bytes:
            raise ImageError(f"has more than {max_bytes >> 20} MiB: make it smaller first")
        return data

    def _first(self, count: int) -> bytes:
        """At most ``count`` bytes. Asked for more than there are, a file would cost a buffer of that size."""
        if self.member is None:
            with self.path.open("rb") as file:
                return file.read(min(os.path.getsize(self.path) + 1, count))
        with ARCHIVES.lend(self.path) as archive, archive.open(self.member) as file:
            return file.read(min(self.member.file_size + 1, count))

    def is_image(self) -> bool:
        """Whether it begins like an image."""
        try:
            return kind_of(self._first(HEAD_BYTES)) is not None
        except _DAMAGE:
            return False


def find_images(
    paths: Sequence[str | os.PathLike[str]], repeats: Callable[[int], None] = lambda count: None
) -> list[ImageSource]:
    """The images behind files, folders, globs and zips, in the order given and sorted within each.

    Files are taken as they are. Folders (at any depth) and zips give the files that are not hidden and are images, by
    their first bytes or by an ending in `SUFFIXES`; pipes, devices and link loops are never opened. A path that does
    not exist is tried as a glob (``"digits/*.png"``, ``"digits/**/7*.png"``). A file that several paths lead to counts
    once, however the folders on the way are spelled.

    Args:
        paths: what the user gave.
        repeats: called with the number of images that were left out because an earlier path had led to them.

    Raises:
        NoImagesError: if a path holds no image; the message says what it holds.
        PvaeZooError: if a path is missing or damaged; the message names it.
    """
    folders: dict[str, str] = {}

    def place(source: ImageSource) -> tuple[str, str, int | None]:
        """The same for each spelling of the folder. A link is a name of its own."""
        parent, name = os.path.split(source.path)
        if parent not in folders:
            folders[parent] = os.path.realpath(parent)
        return folders[parent], name, source.member.header_offset if source.member else None

    found: dict[tuple[str, str, int | None], ImageSource] = {}
    left_out = 0
    for path in paths:
        here = {place(source): source for source in _find(os.fspath(path))}
        new = {key: source for key, source in here.items() if key not in found}
        left_out += len(here) - len(new)
        found.update(new)
    if left_out:
        repeats(left_out)
    return list(found.values())


def _find(path: str) -> Iterator[ImageSource]:
    others: Counter[str] = Counter()
    sources: Iterator[ImageSource]
    if not os.path.lexists(path):
        seen: set[tuple[int, int]] = set()  # a folder and those in it may all match
        sources = (source for file in _glob(path) for source in _images_at(file, others, seen))
    elif os.path.isdir(path) or os.path.isfile(path):
        sources = _images_at(path, others, set())
    else:
        raise PvaeZooError(f"{shown(path)} is a broken link, a pipe or a device: give an image, a folder or a zip")
    first = next(sources, None)
    if first is None:
        raise NoImagesError(f"no images in {shown(path)}: {_content(others)}; give PNG, JPEG, WebP or other images")
    yield first
    yield from sources


def _images_at(path: str, others: Counter[str], seen: set[tuple[int, int]]) -> Iterator[ImageSource]:
    """Of a file, a folder that is not ``seen`` or a zip; ``others`` counts the endings of what is passed over."""
    if os.path.isdir(path):
        for entry in walk(path, seen):
            source = ImageSource(shown(entry.path), Path(entry.path))
            if _is_candidate(entry, source):
                yield source
            else:
                others[PurePath(entry.name).suffix.lower()] += 1
    elif path.lower().endswith(".zip"):
        yield from _zip_members(path, others)
    else:
        yield ImageSource(shown(path), Path(path))


def _content(others: Counter[str]) -> str:
    """What there is in place of images."""
    if not others:
        return "it is empty"
    kinds = [f"{count} {shown(ending)[:12] or 'without an ending'}" for ending, count in others.most_common(4)]
    more = sum(others.values()) - sum(count for _, count in others.most_common(4))
    return f"it holds {', '.join(kinds)}" + (f" and {more} more" if more else "")


def walk(folder: str | os.PathLike[str], seen: set[tuple[int, int]] | None = None) -> Iterator[os.DirEntry[str]]:
    """What is not hidden and no folder, below a folder at any depth, each folder sorted by name.

    Links to folders are followed; one that leads to a folder that was visited already is not.

    Args:
        folder: where to begin.
        seen: device and inode of the folders that were visited before; grows.

    Raises:
        PvaeZooError: if a folder cannot be looked into.
    """
    seen = set() if seen is None else seen
    opened = [_entries(os.fspath(Path(folder)), seen)]  # the folders from the first to the one that is read
    while opened:
        entry = next(opened[-1], None)
        if entry is None:
            opened.pop()
        elif os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir():
            opened.append(_entries(entry.path, seen))
        else:
            yield entry


def _entries(folder: str, seen: set[tuple[int, int]]) -> Iterator[os.DirEntry[str]]:
    try:
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            return iter(())
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            return iter(sorted((e for e in entries if not e.name.startswith(".")), key=lambda entry: entry.name))
    except OSError as error:
        raise PvaeZooError(f"cannot look into {shown(folder)}: {reason(error)}") from error


def _is_candidate(entry: os.DirEntry[str], source: ImageSource) -> bool:
    """Whether it is an image, or called like one: a link to a missing file (a set half fetched) is to be reported."""
    regular = os.path.isfile(entry.path) if entry.is_symlink() else entry.is_file()
    if PurePath(entry.name).suffix.lower() in SUFFIXES:
        return regular or not os.path.exists(entry.path)
    return regular and source.is_image()


def _zip_members(path: str, others: Counter[str]) -> Iterator[ImageSource]:
    try:
        with ARCHIVES.lend(Path(path), anew=True) as archive:
            members = archive.infolist()
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise PvaeZooError(f"cannot open {shown(path)} as a zip ({reason(error)}): fetch it again") from error
    for parts, member in sorted(((PurePosixPath(m.filename).parts, m) for m in members), key=lambda item: item[0]):
        leaves = _leaves(member.filename)
        hidden = "__MACOSX" in parts or any(part.startswith(".") for part in parts)
        if member.is_dir() or (hidden and not leaves):
            continue
        name = member.filename if leaves else PurePosixPath(member.filename)
        problem = "has a name that leads out of the zip: pack it again" if leaves else None
        source = ImageSource(shown(f"{path}/{name}"), Path(path), member, problem)
        suffix = PurePosixPath(member.filename).suffix.lower()
        if suffix in SUFFIXES or source.is_image():
            yield source
        else:
            others[suffix] += 1


def _leaves(name: str) -> bool:
    """Whether a member would be unpacked elsewhere than below the folder that its zip is unpacked in."""
    return bool(re.match(r"[/\\]|[A-Za-z]:", name)) or ".." in re.split(r"[/\\]", name)


def _glob(pattern: str) -> list[str]:
    """Files and folders that match; the part of the path that exists is literal, brackets in it too."""
    base = Path(pattern)
    while not os.path.lexists(base) and base != base.parent:
        base = base.parent
    wild = Path(pattern).parts[len(base.parts) :]
    if not any(character in part for part in wild for character in "*?["):
        raise PvaeZooError(f"no file or folder {shown(pattern)}: give images, folders, zips or a quoted '*.png'")
    hidden = any(part.startswith(".") for part in wild)
    matches = sorted(set(_matches(base, wild, hidden)), key=lambda match: match.parts)
    if not matches:
        raise PvaeZooError(f"nothing matches {shown(pattern)}: check the folder and the pattern")
    return [str(match) for match in matches]


def _matches(base: Path, wild: Sequence[str], hidden: bool) -> Iterator[Path]:
    """Paths below ``base`` that match a pattern's parts; ``**`` does not follow links to folders, so that loops end."""
    open_ends = [(base, 0)]
    while open_ends:
        path, matched = open_ends.pop()
        if matched == len(wild):
            is_link_to_nothing = path.is_symlink() and path.suffix.lower() in SUFFIXES and not path.exists()
            if path.is_dir() or path.is_file() or is_link_to_nothing:
                yield path
            continue
        part = wild[matched]
        if part == "**":
            open_ends.append((path, matched + 1))
            subfolders = (entry for entry in _visible(path, hidden) if entry.is_dir(follow_symlinks=False))
            open_ends += [(path / entry.name, matched) for entry in subfolders]
        elif part == "..":
            open_ends.append((path / part, matched + 1))
        else:
            named = (entry for entry in _visible(path, hidden) if fnmatch.fnmatchcase(entry.name, part))
            open_ends += [(path / entry.name, matched + 1) for entry in named]


def _visible(folder: Path, hidden: bool) -> Iterable[os.DirEntry[str]]:
    """What may match; nothing in what is no folder or, as shells have it, may not be looked into."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if hidden or not entry.name.startswith(".")]
    except OSError:
        return ()


def reason(error: BaseException) -> str:
    """What a library's exception says, in words that may be printed."""
    return shown((error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__)


def shown(text: str | os.PathLike[str]) -> str:
    """Without what a terminal obeys, and bytes that are no UTF-8, which cannot be printed: both are spelled out."""
    return spelled(os.fspath(text))
