"""Image files as untrusted input: decoding them, whole and upright.

A likelihood of the wrong pixels is a number like any other, so nothing is repaired silently: what would have to be
guessed (transparency, 16 bits, several frames) is refused in one line that says what to do.
"""

from __future__ import annotations

import io
import threading
import warnings
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType

from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from pvae_zoo.data.colours import to_srgb
from pvae_zoo.data.image_kinds import FORMATS, HEAD_BYTES, kind_of
from pvae_zoo.data.images import ImageError, reason
from pvae_zoo.data.jpeg_xl import read_header

MAX_PIXELS = 64_000_000

_GREY_MODES = frozenset(("1", "L", "LA"))
_COLOUR_MODES = frozenset(("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"))
_TOO_LARGE = f"has more than {MAX_PIXELS // 10**6} megapixels: make it smaller first"
_THUMBNAIL, _DNG_VERSION = 1, 50706  # of TIFF: a bit of NewSubfileType, a tag of camera raw


@dataclass(frozen=True)
class Decoded:
    """The content of an image file.

    Attributes:
        picture: upright, of mode L or RGB.
        kind: what it was stored as where that is no RGB: "grey" or "palette".
        notes: what was done to it unasked.
    """

    picture: Image.Image
    kind: str | None
    notes: list[str]


def decode_image(data: bytes) -> Decoded:
    """The content of an image file.

    EXIF orientation is applied, a colour profile is converted to sRGB, the first picture of a camera's MPO is taken and
    an opaque alpha channel is dropped; nothing else changes. Any number of threads may decode at once.

    Raises:
        ImageError: if it cannot be used.
    """
    picture, mode, notes = _decode(data)
    return Decoded(picture, {"P": "palette", "PA": "palette"}.get(mode, "grey" if picture.mode == "L" else None), notes)


class _StrictPillow:
    """Cut files are errors, whatever the program around us set, and remarks on metadata stay unheard.

    Both are settings of the process and not of a thread, so the first thread that decodes changes them and the last one
    puts back what it found.
    """

    def __init__(self) -> None:
        self._lock, self._threads, self._settings = threading.Lock(), 0, ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            self._threads += 1
            if self._threads > 1:
                return
            self._settings.callback(setattr, ImageFile, "LOAD_TRUNCATED_IMAGES", ImageFile.LOAD_TRUNCATED_IMAGES)
            ImageFile.LOAD_TRUNCATED_IMAGES = False
            self._settings.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._threads -= 1
            if not self._threads:
                self._settings.close()


_strict_pillow = _StrictPillow()


def _decode(data: bytes) -> tuple[Image.Image, str, list[str]]:
    """The upright picture, of mode L or RGB, the mode that it was stored in, and what was done to it."""
    if not data:
        raise ImageError("is empty: fetch it again")
    formats = _decoders(data)
    try:
        with _strict_pillow:
            opened = Image.open(io.BytesIO(data), formats=formats)
            notes = _check_header(opened, data)
            if opened.format == "PNG":
                Image.open(io.BytesIO(data), formats=["PNG"]).verify()  # the checksums, which load() leaves out
            opened.load()
            mode = opened.mode
            picture, converted = to_srgb(_without_alpha(ImageOps.exif_transpose(opened)))
            notes += [converted] if converted else []
            return picture.convert("L" if picture.mode == "L" else "RGB"), mode, notes
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(_TOO_LARGE) from error
    except UnidentifiedImageError as error:
        raise ImageError(f"is damaged or no {', '.join(FORMATS[:-1])} or PPM image: convert it first") from error
    except Exception as error:  # Pillow's decoders raise whatever the damage leads to
        raise ImageError(f"is damaged or cut short ({reason(error)}): fetch it again") from error


def _decoders(data: bytes) -> tuple[str, ...]:
    """Pillow's names of the formats that these bytes may have.

    Raises:
        ImageError: if nothing that is installed reads them.
    """
    kind = kind_of(data[:HEAD_BYTES])
    if kind is None:
        return FORMATS
    if not (kind.formats and kind.register()):
        raise ImageError(f"is {kind.name}, which is not read: {kind.remedy}")
    if kind.formats == ("JXL",):
        _check_jpeg_xl(data)
    return kind.formats


def _check_jpeg_xl(data: bytes) -> None:
    """What `_check_header` looks at, which Pillow's plugin knows only when it has decoded everything."""
    try:
        header = read_header(data)
    except ValueError as error:
        raise ImageError(f"is damaged or cut short ({error}): fetch it again") from error
    if header.width * header.height > MAX_PIXELS:
        raise ImageError(_TOO_LARGE)
    if header.is_animated:
        raise ImageError("holds several frames (an animation): save the one you mean as a file of its own")


def _check_header(picture: Image.Image, data: bytes) -> list[str]:
    """What can be refused before a pixel is decoded; what is to be noted."""
    if picture.width * picture.height > MAX_PIXELS:
        raise ImageError(_TOO_LARGE)
    frames = getattr(picture, "n_frames", 1)
    if picture.format == "MPO":  # a camera's JPEG with a preview, another eye's view or a map of depths behind it
        picture.seek(0)
    elif frames > 1:
        raise ImageError(f"holds {frames} frames (an animation or pages): save the one you mean as a file of its own")
    if _has_deep_values(picture, data):
        raise ImageError("has more than 8 bits a value: save it with 8 bits")
    if picture.format == "TIFF" and _is_thumbnail(picture):
        raise ImageError("is a camera's raw picture, which is not read: develop it and save it as PNG first")
    if picture.mode not in _GREY_MODES | _COLOUR_MODES:
        raise ImageError(f"has the colour mode {picture.mode}: save it as grey or RGB")
    return [f"first of {frames} pictures"] if frames > 1 else []


def _has_deep_values(picture: Image.Image, data: bytes) -> bool:
    """Pillow clips 16-bit grey to 255 and cuts 16-bit colour to its high bytes, under the mode of 8-bit colour."""
    if picture.mode == "F" or picture.mode.startswith("I"):
        return True
    if picture.format == "AVIF":
        place = data.find(b"av1C")  # the configuration of its decoder, whose third byte says so
        return place >= 0 and bool(data[place + 6 : place + 7] and data[place + 6] & 0x40)
    if picture.format == "HEIF":
        return int(picture.info.get("bit_depth", 8)) > 8
    if picture.format == "PNG":
        return data[24] > 8  # the signature, the length and name of IHDR, width, height, then the bit depth
    if picture.format == "TIFF":
        depths = picture.tag_v2.get(258, (1,))  # type: ignore[attr-defined]  # BitsPerSample
        return bool(max(depths) > 8)
    if picture.format == "PPM":
        arguments = picture.tile[0][3]  # type: ignore[attr-defined]
        return isinstance(arguments, tuple) and bool(arguments[-1] > 255)  # the largest value, where it is not 255
    return False


def _is_thumbnail(picture: Image.Image) -> bool:
    """Camera raw is often a TIFF whose first picture is a small one to be looked at."""
    tags = picture.tag_v2  # type: ignore[attr-defined]
    return bool(int(tags.get(254, 0)) & _THUMBNAIL) or _DNG_VERSION in tags


def _without_alpha(picture: Image.Image) -> Image.Image:
    """Of mode L, RGB or CMYK."""
    if picture.has_transparency_data and picture.convert("RGBA").getchannel("A").getextrema() != (255, 255):
        raise ImageError("has transparent pixels, and the model knows no background: flatten it onto one first")
    if picture.mode == "CMYK":
        return picture
    return picture.convert("L" if picture.mode in _GREY_MODES else "RGB")
