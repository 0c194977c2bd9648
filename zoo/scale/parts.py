"""Part files of rows: one JSON line for what was asked, then one for each image, in the order of the images.

A part grows as ``part-0003-of-0008.jsonl.partial`` and gets its name without ``.partial`` once it is whole. Whatever
stops the work leaves whole rows and perhaps a torn one, which is dropped: a rerun goes on after the last whole row. It
does so only if the first line is what it would write itself, so that figures of two models never share a file. What a
line means is the business of the header (`pvae_zoo.scale.headers.Header.row`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import BufferedRandom
from itertools import islice
from pathlib import Path
from typing import Any, Generic

from filelock import FileLock, Timeout

from pvae_zoo.base.atomic import write_error
from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.scale.headers import Header, RowT, check_same, parse_header, read_header
from pvae_zoo.scale.tasks import Part

PARTIAL = ".partial"


def read_rows(path: Path, kind: type[Header[RowT]]) -> Iterator[RowT]:
    """The rows of a complete part of a kind.

    Raises:
        PvaeZooError: if it is not whole, naming the first image that is missing or out of place.
    """
    header = read_header(path, kind)
    wanted = iter(header.block)
    again = f"delete it and run --shard {header.shard}/{header.shards} again"
    with path.open("rb") as file:
        file.readline()
        for line in file:
            index, row = _parsed_row(line, kind) or (None, None)
            expected = next(wanted, None)
            if row is None or index != expected:
                raise PvaeZooError(f"{path} is damaged where image {expected} should be: {again}")
            yield row
    missing = next(wanted, None)
    if missing is not None:
        raise PvaeZooError(f"{path} is cut short before image {missing}: {again}")


def write_part(
    folder: Path,
    header: Header[RowT],
    score: Callable[[int], Iterator[RowT]],
    *,
    batch_size: int,
    progress: Callable[[int], None] = lambda done: None,
) -> Part:
    """Score what is missing of a part and give it its name.

    Args:
        folder: where it belongs.
        header: what it is of.
        score: gives the rows of the part after the first so many.
        batch_size: rows that are put on the disk at once.
        progress: called with the number of rows that are done.

    Raises:
        PvaeZooError: if a part of another run is in the way, or the folder cannot be written.
    """
    path = header.path(folder)
    if path.exists():
        check_same(path, read_header(path, type(header)), header)
        return whole_part(path, type(header))
    with _growing(path, header) as part:
        progress(kept := part.done)
        rows = score(kept)
        while batch := list(islice(rows, batch_size)):
            part.add(batch)
            progress(part.done)
        part.finish()
        return Part(path=path, count=part.done, failed=part.failed, kept=kept)


def whole_part(path: Path, kind: type[Header[RowT]]) -> Part:
    """The part that is in a file.

    Raises:
        PvaeZooError: if it is not whole.
    """
    failed = [row.failed for row in read_rows(path, kind)]
    return Part(path=path, count=len(failed), failed=sum(failed), kept=len(failed), was_there=True)


@contextmanager
def _growing(path: Path, header: Header[RowT]) -> Iterator[_Growing[RowT]]:
    """The part as far as it is, to go on with; a second process is kept from it."""
    partial = path.with_name(path.name + PARTIAL)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(partial), os.fdopen(os.open(partial, os.O_RDWR | os.O_CREAT, 0o666), "r+b") as file:
            yield _Growing(path, partial, file, header)
    except OSError as error:
        raise write_error(partial, error) from error


class _Growing(Generic[RowT]):
    """A part that is being written: ``done`` rows so far, ``failed`` of them of images that could not be used."""

    def __init__(self, path: Path, partial: Path, file: BufferedRandom, header: Header[RowT]) -> None:
        self._path, self._partial, self._file, self._header = path, partial, file, header
        self.done = self.failed = 0
        self._resume()

    def add(self, rows: Sequence[RowT]) -> None:
        """Append rows and see them on the disk."""
        for row in rows:
            self._file.write(_line({"index": self._header.block[self.done], **row.as_dict()}))
            self._count(row)
        self._sync()

    def finish(self) -> None:
        """Give the whole part its name.

        Raises:
            PvaeZooError: if it is not whole after all, because two processes wrote it.
        """
        for _ in read_rows(self._partial, type(self._header)):
            pass
        os.replace(self._partial, self._path)

    def _resume(self) -> None:
        line = self._file.readline()
        if not line.endswith(b"\n"):
            self._file.seek(0)
            self._file.truncate()
            self._file.write(_line(self._header.as_dict()))
            self._sync()
            return
        check_same(self._partial, parse_header(self._partial, line, type(self._header)), self._header)
        end = self._file.tell()
        while self.done < len(self._header.block):
            index, row = _parsed_row(self._file.readline(), type(self._header)) or (None, None)
            if row is None or index != self._header.block[self.done]:
                break
            self._count(row)
            end = self._file.tell()
        self._file.seek(end)
        self._file.truncate()

    def _count(self, row: RowT) -> None:
        self.done += 1
        self.failed += row.failed

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())


@contextmanager
def _locked(partial: Path) -> Iterator[None]:
    """Keep a file to this process; where a drive knows no locks, a part is still checked before it gets its name.

    Raises:
        PvaeZooError: if another process has it.
    """
    lock = FileLock(partial.with_name(f".{partial.name}.lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise PvaeZooError(f"another process is writing {partial}: wait for it, or end it first") from error
    except OSError:
        pass
    try:
        yield
    finally:
        if lock.is_locked:
            with suppress(OSError):  # Windows keeps a file that is open
                os.unlink(lock.lock_file)
        lock.release()


def _line(data: dict[str, Any]) -> bytes:
    # ASCII, one line whatever the name; a figure that is no number stays what it is (NaN, Infinity).
    return json.dumps(data).encode("ascii") + b"\n"


def _parsed_row(line: bytes, kind: type[Header[RowT]]) -> tuple[int, RowT] | None:
    data = _parsed(line)
    try:
        return None if data is None else (data.pop("index"), kind.row(data))
    except (KeyError, TypeError):
        return None


def _parsed(line: bytes) -> dict[str, Any] | None:
    """A line that was written to its end."""
    try:
        data = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return data if isinstance(data, dict) else None
