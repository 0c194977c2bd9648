"""Bits per dimension of lossless image codecs, on the very pixels that a model scores."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pvae_zoo.errors import PvaeZooError
from pvae_zoo.models.architecture import ImageShape
from pvae_zoo.runtime.pictures import to_picture
from pvae_zoo.training.datasets import ImageSet

CODECS: dict[str, tuple[str, dict[str, Any]]] = {
    "PNG": ("PNG", {"optimize": True}),
    "WebP lossless": ("WEBP", {"lossless": True, "quality": 100, "method": 6}),
    "JPEG XL lossless": ("JXL", {"lossless": True, "effort": 9}),
}


def measure_codecs(images: ImageSet, image: ImageShape, *, limit: int = 500, seed: int = 0) -> dict[str, float]:
    """Store images losslessly, each in a file of its own, and count the bytes.

    Args:
        images: the set.
        image: shape and levels of its images.
        limit: at most so many, a random subset.

    Returns:
        Bits per dimension of each codec.

    Raises:
        PvaeZooError: if the plug-in for JPEG XL is not installed.
    """
    chosen = random_subset(len(images), limit, seed)
    totals = dict.fromkeys(CODECS, 0)
    for index in chosen:
        picture = to_picture(images.read(np.array([index]), None)[0], image.levels)
        for name in CODECS:
            totals[name] += len(stored(picture, name))
    dimensions = len(chosen) * image.dimensions
    return {name: 8 * total / dimensions for name, total in totals.items()}


def stored(picture: Image.Image, codec: str) -> bytes:
    """The file that a codec makes of a picture.

    Raises:
        PvaeZooError: if the plug-in for JPEG XL is not installed.
    """
    kind, options = CODECS[codec]
    if kind == "JXL":
        try:
            import pillow_jxl  # noqa: F401  (registers the format with Pillow)
        except ImportError as error:
            raise PvaeZooError('pillow-jxl-plugin is not installed: run pip install "pvae-zoo[paper]"') from error
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def random_subset(count: int, limit: int, seed: int = 0) -> NDArray[np.int64]:
    """Indices of at most ``limit`` of ``count`` images, drawn at random: files are often sorted by class."""
    order: NDArray[np.int64] = np.sort(np.random.default_rng(seed).permutation(count)[:limit])
    return order
