"""What kind of image a file holds, by its first bytes, and who reads it.

A file's ending says what somebody called it; every decoder looks at the content. Only the decoder of the kind that the
first bytes announce is ever given a file, so that a crafted one cannot choose among forty.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from PIL import features

HEAD_BYTES = 128
"""As many first bytes as `kind_of` needs."""

SUFFIXES = frozenset((
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff",
    ".pgm", ".ppm", ".pbm", ".pnm", ".avif", ".heic", ".heif", ".hif", ".jxl",
))  # fmt: skip
"""Endings of image files: what is called so and is none is damaged, not passed over."""

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""Pillow's names of what it always reads."""


@dataclass(frozen=True)
class Kind:
    """A kind of image file.

    Attributes:
        name: for people, with its article.
        formats: Pillow's names of the decoders that may be tried; empty where there is none that this project trusts.
        register: makes them known to Pillow; False where they cannot be.
        remedy: what to do then.
    """

    name: str
    formats: tuple[str, ...] = ()
    register: Callable[[], bool] = lambda: True
    remedy: str = "save it as PNG first"


def _has_avif() -> bool:
    return bool(features.check("avif"))


def _register_heif() -> bool:
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def _register_jxl() -> bool:
    try:
        import pillow_jxl  # noqa: F401  # registers itself
    except ImportError:
        return False
    return True


_EXTRA = 'run pip install "pvae-zoo[images]"'
_AVIF = Kind("an AVIF image", ("AVIF",), _has_avif, "run pip install --upgrade pillow")
_HEIF = Kind("a HEIC image", ("HEIF",), _register_heif, _EXTRA)
_JXL = Kind("a JPEG XL image", ("JXL",), _register_jxl, _EXTRA)
_RAW = Kind("a camera's raw picture", remedy="develop it and save it as PNG first")
_TIFF = Kind("a TIFF image", ("TIFF",))

_STARTS: tuple[tuple[re.Pattern[bytes], Kind], ...] = tuple(
    (re.compile(start, re.DOTALL), kind)
    for start, kind in (
        (rb"\x89PNG\r\n\x1a\n", Kind("a PNG image", ("PNG",))),
        (rb"\xff\xd8\xff", Kind("a JPEG image", ("JPEG",))),  # of which Pillow makes MPO by itself
        (rb"RIFF....WEBP", Kind("a WebP image", ("WEBP",))),
        (rb"GIF8[79]a", Kind("a GIF image", ("GIF",))),
        # Two letters begin many a text; a bitmap's header has one of few lengths.
        (rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0", Kind("a BMP image", ("BMP",))),
        (rb"II\*\0.{4}CR|FUJIFILMCCD-RAW|....ftypcrx ", _RAW),
        (rb"II[\*+]\0|MM\0[\*+]", _TIFF),
        (rb"P[1-6]\s+(#|\d)", Kind("a PPM image", ("PPM",))),
        (rb"....ftyp(avif|avis)", _AVIF),
        (rb"....ftyp(heic|heix|heim|heis|hevc|hevx|hevm|hevs)", _HEIF),
        (rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n", _JXL),
        (rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", Kind("a JPEG 2000 image")),
        (rb"8BPS\0[\x01\x02]", Kind("a Photoshop document")),
    )
)


def kind_of(head: bytes) -> Kind | None:
    """The kind of image that a file begins like; None if it begins like none.

    Args:
        head: the file's first `HEAD_BYTES` bytes, or all of it.
    """
    if re.match(rb"....ftyp(mif1|msf1|miaf)", head, re.DOTALL):  # "some image": which, the compatible brands tell
        brands = head[16 : int.from_bytes(head[:4], "big")]
        return _AVIF if b"avif" in brands or b"avis" in brands else _HEIF
    return next((kind for start, kind in _STARTS if start.match(head)), None)
