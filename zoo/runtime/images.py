"""Images as untrusted input: finding them in folders, globs and zips, and reading them as a model takes them.

A likelihood of the wrong pixels is a number like any other, so nothing is repaired silently: whatever would change the
pixels (another size, transparency, 16 bits, colour, grey for a black-and-white model) is refused in one line that says
what to do. Shapes: C channels, H rows, W columns.
"""

from __future__ import annotations

import io
import os
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from pvae_zoo.errors import PvaeZooError
from pvae_zoo.models.architecture import ImageShape
from pvae_zoo.trust.printable import spelled

MAX_BYTES = 256 << 20
MAX_PIXELS = 64_000_000
SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".pgm", ".ppm", ".pbm"))

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
_GREY_MODES = frozenset(("1", "L", "LA"))
_COLOUR_MODES = frozenset(("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"))
_TOO_LARGE = f"has more than {MAX_PIXELS // 10**6} megapixels: make it smaller first"


class ImageError(PvaeZooError):
    """Why one image cannot be used, to be read after its name: cause and remedy, without the path."""


@dataclass(frozen=True)
class ImageSource:
    """One image that has been found but not opened.

    Attributes:
        name: the path as shown to the user, ``archive.zip/inner/name.png`` for a member of a zip; characters that
            would upset a terminal or a UTF-8 file are spelled out.
        path: the file, or the zip that it is in.
        archive: the opened zip; it stays open as long as a source refers to it.
        member: the entry in that zip.
    """

    name: str
    path: Path = field(repr=False)
    archive: zipfile.ZipFile | None = field(default=None, repr=False, compare=False)
    member: zipfile.ZipInfo | None = field(default=None, repr=False, compare=False)

    def read(self, max_bytes: int = MAX_BYTES) -> bytes:
        """The content of the file, decompressed.

        Raises:
            ImageError: if it cannot be read or is longer than ``max_bytes``.
        """
        if self.archive is None and not os.path.isfile(self.path):  # opening a FIFO would wait for ever
            raise ImageError("is no longer there, or is a link to a missing file: fetch it again")
        try:
            with self.archive.open(self.member) if self.archive and self.member else self.path.open("rb") as file:
                # Asked for whole, a short file would still cost a buffer of ``max_bytes``.
                size = self.member.file_size if self.member else os.path.getsize(self.path)
                data = file.read(min(size, max_bytes) + 1)
        # A damaged, encrypted or oddly compressed member raises any of these.
        except (OSError, zipfile.BadZipFile, RuntimeError, EOFError, zlib.error) as error:
            raise ImageError(f"cannot be read ({_reason(error)}): fetch or unpack it again") from error
        if len(data) > max_bytes:
            raise ImageError(f"has more than {max_bytes >> 20} MiB: make it smaller first")
        return data


def find_images(paths: Sequence[str | os.PathLike[str]]) -> list[ImageSource]:
    """The images behind files, folders, globs and zips, in the order given and sorted within each.

    Files are taken as they are, whatever their suffix. Folders (at any depth) and zips give the files with a suffix of
    `SUFFIXES` that are not hidden; pipes, devices and link loops are never opened. A path that does not exist is tried
    as a glob (``"digits/*.png"``, ``"digits/**/7*.png"``).

    Raises:
        PvaeZooError: if a path is missing, damaged or holds no image; the message names it.
    """
    return [source for path in paths for source in _find(os.fspath(path))]


def _find(path: str) -> list[ImageSource]:
    if os.path.isdir(path):
        sources = [ImageSource(_shown(file), file) for file in _walk(Path(path), set())]
    elif os.path.isfile(path):
        sources = _zip_members(path) if path.lower().endswith(".zip") else [ImageSource(_shown(path), Path(path))]
    elif os.path.lexists(path):
        raise PvaeZooError(f"{_shown(path)} is a broken link, a pipe or a device: give an image, a folder or a zip")
    else:
        # A folder and a file in it may both match: each image counts once.
        sources = list({source.name: source for file in _glob(path) for source in _find(str(file))}.values())
    if not sources:
        raise PvaeZooError(f"no images in {_shown(path)}: expected files ending in {' '.join(sorted(SUFFIXES))}")
    return sources


def _walk(folder: Path, seen: set[tuple[int, int]]) -> Iterator[Path]:
    """Image files below a folder; ``seen`` holds (device, inode) of the folders so far and ends link loops."""
    try:
        status = folder.stat()
        entries = sorted(os.listdir(folder))
    except OSError as error:
        raise PvaeZooError(f"cannot look into {_shown(folder)}: {_reason(error)}") from error
    if (status.st_dev, status.st_ino) in seen:
        return
    seen.add((status.st_dev, status.st_ino))
    for path in (folder / entry for entry in entries if not entry.startswith(".")):
        if os.path.isdir(path):
            yield from _walk(path, seen)
        # A link to a missing file (a data set half fetched) stays in, so that it is reported and not just absent.
        elif path.suffix.lower() in SUFFIXES and (os.path.isfile(path) or not os.path.exists(path)):
            yield path


def _zip_members(path: str) -> list[ImageSource]:
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise PvaeZooError(f"cannot open {_shown(path)} as a zip ({_reason(error)}): fetch it again") from error
    found = []
    for member in archive.infolist():
        name = PurePosixPath(member.filename)
        hidden = "__MACOSX" in name.parts or any(part.startswith(".") for part in name.parts)
        if name.suffix.lower() in SUFFIXES and not hidden and not member.is_dir():
            found.append((name.parts, ImageSource(_shown(f"{path}/{name}"), Path(path), archive, member)))
    return [source for _, source in sorted(found, key=lambda item: item[0])]


def _glob(pattern: str) -> list[Path]:
    """Files and folders that match; the part of the path that exists is literal, brackets in it too."""
    base = Path(pattern)
    while not os.path.lexists(base) and base != base.parent:
        base = base.parent
    wild = Path(pattern).parts[len(base.parts) :]
    if not any(character in part for part in wild for character in "*?["):
        raise PvaeZooError(f"no file or folder {_shown(pattern)}: give images, folders, zips or a quoted '*.png'")
    if wild == ("**",):
        return [base]
    try:
        # pathlib's ** does not follow links to folders, so loops end.
        matches = [match for match in base.glob("/".join(wild)) if match.is_dir() or match.is_file()]
    except (ValueError, NotImplementedError) as error:
        raise PvaeZooError(f"{_shown(pattern)} is no pattern: {error}") from error
    if not any(part.startswith(".") for part in wild):
        matches = [match for match in matches if not any(p.startswith(".") for p in match.parts[len(base.parts) :])]
    if not matches:
        raise PvaeZooError(f"nothing matches {_shown(pattern)}: check the folder and the pattern")
    return sorted(matches, key=lambda match: match.parts)


def read_image(
    source: ImageSource, image: ImageShape, *, resize: bool = False, binarize: int | None = None, convert: bool = False
) -> NDArray[np.uint8]:
    """One image as a model takes it; see `read_noted`, which also says what was converted unasked."""
    return read_noted(source, image, resize=resize, binarize=binarize, convert=convert)[0]


def read_noted(
    source: ImageSource, image: ImageShape, *, resize: bool = False, binarize: int | None = None, convert: bool = False
) -> tuple[NDArray[np.uint8], str | None]:
    """One image as a model takes it, and a note of what was converted without being asked for.

    EXIF orientation is applied, an opaque alpha channel is dropped and grey becomes RGB for a model of colour images;
    nothing else changes unless asked for. Pillow's settings change for a moment, so read from one thread at a time.

    Args:
        source: from `find_images`.
        image: the model's shape and levels; fewer than 256 levels are ``value * levels // 256``.
        resize: crop the centre to the model's aspect ratio and resample it with Lanczos, where the size differs.
        binarize: for two levels, values from this threshold (1 to 255) on become 1; without it only 0 and 255 pass.
        convert: turn colour into grey (ITU-R 601 luma) for a model of grey images.

    Returns:
        uint8 ``(C, H, W)`` in ``0 .. levels - 1``, white is ``levels - 1``; the note, None where there is none.

    Raises:
        ImageError: if this image cannot be used.
        PvaeZooError: if no image could be, because the options do not suit the model.
    """
    if image.channels not in (1, 3):
        raise PvaeZooError(f"the model takes {image.channels} channels; image files have 1 or 3: use its Python API")
    if binarize is not None and image.levels != 2:
        raise PvaeZooError(f"--binarize is for black-and-white models, this one has {image.levels} levels: omit it")
    if binarize is not None and not 1 <= binarize <= 255:
        raise PvaeZooError(f"--binarize {binarize} is no threshold: give one from 1 to 255")
    picture, note = decode_image(source.read(MAX_BYTES), image.channels, convert=convert)
    values = np.asarray(_with_size(picture, image, resize, binarize), np.uint8)  # (H, W) or (H, W, 3)
    values = values[np.newaxis] if values.ndim == 2 else values.transpose(2, 0, 1)
    return np.ascontiguousarray(_with_levels(values, image.levels, binarize)), note


def decode_image(data: bytes, channels: int, *, convert: bool) -> tuple[Image.Image, str | None]:
    """The content of an image file as an upright picture of mode L (1 channel) or RGB (3), and `read_noted`'s note.

    Raises:
        ImageError: if it cannot be used.
    """
    picture, mode = _decode(data)
    kind = {"P": "palette", "PA": "palette"}.get(mode, "grey" if picture.mode == "L" else None)
    note = f"{kind}, converted to RGB" if channels == 3 and kind else None
    return _with_channels(picture, channels, convert), note


@contextmanager
def _strict_pillow() -> Iterator[None]:
    """Cut files and bombs are errors whatever the program around us set; remarks on metadata stay unheard."""
    tolerant, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = tolerant


def _decode(data: bytes) -> tuple[Image.Image, str]:
    """The upright picture, of mode L or RGB, and the mode that it was stored in."""
    if not data:
        raise ImageError("is empty: fetch it again")
    try:
        with _strict_pillow():
            picture = Image.open(io.BytesIO(data), formats=_FORMATS)
            _check_header(picture, data)
            if picture.format == "PNG":
                Image.open(io.BytesIO(data), formats=["PNG"]).verify()  # the checksums, which load() leaves out
            picture.load()
            return _without_alpha(ImageOps.exif_transpose(picture)), picture.mode
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(_TOO_LARGE) from error
    except UnidentifiedImageError as error:
        raise ImageError(f"is damaged or no {', '.join(_FORMATS[:-1])} or PPM image: convert it first") from error
    except Exception as error:  # Pillow's decoders raise whatever the damage leads to
        raise ImageError(f"is damaged or cut short ({_reason(error)}): fetch it again") from error


def _check_header(picture: Image.Image, data: bytes) -> None:
    """What can be refused before a pixel is decoded."""
    if picture.width * picture.height > MAX_PIXELS:
        raise ImageError(_TOO_LARGE)
    frames = getattr(picture, "n_frames", 1)
    if frames > 1:
        raise ImageError(f"holds {frames} frames (an animation or pages): save the one you mean as a file of its own")
    if _has_deep_values(picture, data):
        raise ImageError("has more than 8 bits a value: save it with 8 bits")
    if picture.mode not in _GREY_MODES | _COLOUR_MODES:
        raise ImageError(f"has the colour mode {picture.mode}: save it as grey or RGB")


def _has_deep_values(picture: Image.Image, data: bytes) -> bool:
    """Pillow clips 16-bit grey to 255 and cuts 16-bit colour to its high bytes, under the mode of 8-bit colour."""
    if picture.mode == "F" or picture.mode.startswith("I"):
        return True
    if picture.format == "PNG":
        return data[24] > 8  # the signature, the length and name of IHDR, width, height, then the bit depth
    if picture.format == "TIFF":
        depths = picture.tag_v2.get(258, (1,))  # type: ignore[attr-defined]  # BitsPerSample
        return bool(max(depths) > 8)
    if picture.format == "PPM":
        arguments = picture.tile[0][3]  # type: ignore[attr-defined]
        return isinstance(arguments, tuple) and bool(arguments[-1] > 255)  # the largest value, where it is not 255
    return False


def _without_alpha(picture: Image.Image) -> Image.Image:
    if picture.has_transparency_data and picture.convert("RGBA").getchannel("A").getextrema() != (255, 255):
        raise ImageError("has transparent pixels, and the model knows no background: flatten it onto one first")
    return picture.convert("L" if picture.mode in _GREY_MODES else "RGB")


def _with_channels(picture: Image.Image, channels: int, convert: bool) -> Image.Image:
    if channels == 3 or picture.mode == "L":
        return picture.convert("RGB" if channels == 3 else "L")
    red, green, blue = (np.asarray(band) for band in picture.split())
    if not convert and not (np.array_equal(red, green) and np.array_equal(red, blue)):
        raise ImageError("is in colour, the model takes grey images: add --convert")
    return picture.convert("L")  # exact where the channels are equal: the weights of the luma add up to one


def _with_size(picture: Image.Image, image: ImageShape, resize: bool, binarize: int | None) -> Image.Image:
    if picture.size == (image.width, image.height):
        return picture
    sizes = f"is {picture.width}x{picture.height}, the model takes {image.width}x{image.height}"
    needs_threshold = image.levels == 2 and binarize is None
    if not resize:
        raise ImageError(f"{sizes}: add --resize" + (" --binarize 128" if needs_threshold else ""))
    if needs_threshold:
        raise ImageError(f"{sizes} in black and white, and resizing makes greys: add --binarize 128 to --resize")
    return ImageOps.fit(picture, (image.width, image.height), Image.Resampling.LANCZOS)


def _with_levels(values: NDArray[np.uint8], levels: int, binarize: int | None) -> NDArray[np.uint8]:
    if binarize is not None:
        return (values >= binarize).astype(np.uint8)
    if levels == 2 and not np.isin(values, (0, 255)).all():
        if values.max() == 1:
            raise ImageError("has the values 0 and 1 of 255, all nearly black: add --binarize 1 if 1 means white")
        raise ImageError("has grey values, the model takes black and white: add --binarize 128")
    return (values.astype(np.uint16) * levels // 256).astype(np.uint8)


def _reason(error: BaseException) -> str:
    return _shown((error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__)


def _shown(text: str | os.PathLike[str]) -> str:
    """Without what a terminal obeys, and bytes that are no UTF-8, which cannot be printed: both are spelled out."""
    return spelled(os.fspath(text))
