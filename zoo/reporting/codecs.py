"""Bits per dimension of lossless image codecs, on the very pixels that a model scores."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.data.datasets import ImageSet
from pvae_zoo.runtime.pictures import to_picture

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


def measure_codecs(
    images: ImageSet,
    image: ImageShape,
    chosen: NDArray[np.int64],
    *,
    codecs: Sequence[str] = tuple(CODECS),
    progress: Callable[[int], None] = lambda done: None,
) -> dict[str, float]:
    """Store images losslessly, each in a file of its own, and count the bytes.

    Args:
        images: the set.
        image: shape and levels of its images.
        chosen: indices of the images.
        codecs: which, of `CODECS`.
        progress: called with the number of images that are done.

    Returns:
        Bits per dimension of each codec.

    Raises:
        PvaeZooError: if the plug-in for JPEG XL is not installed.
    """
    totals = dict.fromkeys(codecs, 0)
    for done, index in enumerate(chosen, start=1):
        picture = to_picture(images.read(np.array([index]), None)[0], image.levels)
        for name in codecs:
            totals[name] += len(stored(picture, name))
        progress(done)
    dimensions = len(chosen) * image.dimensions
    return {name: 8 * total / dimensions for name, total in totals.items()}


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


def random_subset(count: int, limit: int, seed: int = 0) -> NDArray[np.int64]:
    """Indices of at most ``limit`` of ``count`` images, drawn at random: files are often sorted by class."""
    order: NDArray[np.int64] = np.sort(np.random.default_rng(seed).permutation(count)[:limit])
    return order
