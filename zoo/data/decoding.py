"""Image files as untrusted input: decoding them as a model takes them.

A likelihood of the wrong pixels is a number like any other, so nothing is repaired silently: whatever would change the
pixels (another size, transparency, 16 bits, colour, grey for a black-and-white model) is refused in one line that says
what to do. Shapes: C channels, H rows, W columns.
"""

from __future__ import annotations

import io
import threading
import warnings
from contextlib import ExitStack
from types import TracebackType

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.data.colours import to_srgb
from pvae_zoo.data.image_kinds import FORMATS, HEAD_BYTES, kind_of
from pvae_zoo.data.images import MAX_BYTES, ImageError, ImageSource, reason
from pvae_zoo.data.jpeg_xl import read_header

MAX_PIXELS = 64_000_000

_GREY_MODES = frozenset(("1", "L", "LA"))
_COLOUR_MODES = frozenset(("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"))
_TOO_LARGE = f"has more than {MAX_PIXELS // 10**6} megapixels: make it smaller first"
_THUMBNAIL, _DNG_VERSION = 1, 50706  # of TIFF: a bit of NewSubfileType, a tag of camera raw


def read_noted(
    source: ImageSource,
    image: ImageShape,
    *,
    resize: bool = False,
    binarize: int | None = None,
    convert: bool = False,
    enlarge: bool = False,
) -> tuple[NDArray[np.uint8], str | None]:
    """One image as a model takes it, and a note of what was converted without being asked for.

    EXIF orientation is applied, a colour profile is converted to sRGB, the first picture of a camera's MPO is taken, an
    opaque alpha channel is dropped and grey becomes RGB for a model of colour images; nothing else changes unless asked
    for. Any number of threads may read at once.

    Args:
        source: from `find_images`.
        image: the model's shape and levels; fewer than 256 levels are ``value * levels // 256``.
        resize: crop the centre to the model's aspect ratio and resample it with Lanczos, where the size differs.
        binarize: for two levels, values from this threshold (1 to 255) on become 1; without it only 0 and 255 pass.
        convert: turn colour into grey (ITU-R 601 luma) for a model of grey images.
        enlarge: let ``resize`` blow up what is less than half as large as the model's images.

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
    fitted = _with_size(picture, image, resize=resize, binarize=binarize, enlarge=enlarge)
    values = np.asarray(fitted, np.uint8)  # (H, W) or (H, W, 3)
    values = values[np.newaxis] if values.ndim == 2 else values.transpose(2, 0, 1)
    return np.ascontiguousarray(_with_levels(values, image.levels, binarize)), note


def decode_image(data: bytes, channels: int, *, convert: bool) -> tuple[Image.Image, str | None]:
    """The content of an image file as an upright picture of mode L (1 channel) or RGB (3), and `read_noted`'s note.

    Raises:
        ImageError: if it cannot be used.
    """
    picture, mode, notes = _decode(data)
    kind = {"P": "palette", "PA": "palette"}.get(mode, "grey" if picture.mode == "L" else None)
    if channels == 3 and kind:
        notes.append(f"{kind}, converted to RGB")
    return _with_channels(picture, channels, convert), "; ".join(notes) or None


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


def _with_channels(picture: Image.Image, channels: int, convert: bool) -> Image.Image:
    if channels == 3 or picture.mode == "L":
        return picture.convert("RGB" if channels == 3 else "L")
    red, green, blue = (np.asarray(band) for band in picture.split())
    if not convert and not (np.array_equal(red, green) and np.array_equal(red, blue)):
        raise ImageError("is in colour, the model takes grey images: add --convert")
    return picture.convert("L")  # exact where the channels are equal: the weights of the luma add up to one


def _with_size(
    picture: Image.Image, image: ImageShape, *, resize: bool, binarize: int | None, enlarge: bool
) -> Image.Image:
    if picture.size == (image.width, image.height):
        return picture
    sizes = f"is {picture.width}x{picture.height}, the model takes {image.width}x{image.height}"
    is_tiny = not enlarge and (2 * picture.width < image.width or 2 * picture.height < image.height)
    needed = {"--enlarge": is_tiny, "--binarize 128": image.levels == 2 and binarize is None}
    missing = " ".join(option for option, is_needed in needed.items() if is_needed)
    if not resize:
        raise ImageError(f"{sizes}: add {' '.join(['--resize', missing]).strip()}")
    if is_tiny:
        raise ImageError(f"{sizes}, more than twice as much: add {missing} if it is to be blown up")
    if missing:
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
