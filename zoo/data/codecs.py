"""Lossless image codecs: what a picture costs without a model."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

from pvae_zoo.base.errors import PvaeZooError

CODECS: dict[str, tuple[str, dict[str, Any]]] = {
    "PNG": ("PNG", {"optimize": True}),
    "WebP lossless": ("WEBP", {"lossless": True, "quality": 100, "method": 6}),
    "JPEG XL lossless": ("JXL", {"lossless": True, "effort": 9}),
}


WEBP = "WebP lossless"
"""What models are measured against: the best of the codecs that every program reads."""


def available_codecs() -> list[str]:
    """The codecs that are installed: all but JPEG XL always are."""
    return [name for name, (kind, _) in CODECS.items() if kind != "JXL" or _has_jpeg_xl()]


def stored(picture: Image.Image, codec: str) -> bytes:
    """The file that a codec makes of a picture.

    Raises:
        PvaeZooError: if the plug-in for JPEG XL is not installed.
    """
    kind, options = CODECS[codec]
    if kind == "JXL" and not _has_jpeg_xl():
        raise PvaeZooError('pillow-jxl-plugin is not installed: run pip install "pvae-zoo[paper]"')
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def _has_jpeg_xl() -> bool:
    """Whether the plug-in is there; where it is, Pillow knows the format from now on."""
    try:
        import pillow_jxl  # noqa: F401
    except ImportError:
        return False
    return True


def webp_bits(picture: Image.Image) -> int:
    """Bits of a picture as a file of lossless WebP, of middling effort.

    The denser the codec, the better what a model needs over what a codec needs tells rooms from other photos
    (docs/screening.md); this takes a twentieth of the model's own time.
    """
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", lossless=True, quality=50, method=4)
    return 8 * buffer.tell()
