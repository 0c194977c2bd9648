"""Bits per dimension of lossless image codecs, on the very pixels that a model scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.data.codecs import CODECS, stored
from pvae_zoo.data.datasets import ImageSet
from pvae_zoo.runtime.pictures import to_picture


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


def random_subset(count: int, limit: int, seed: int = 0) -> NDArray[np.int64]:
    """Indices of at most ``limit`` of ``count`` images, drawn at random: files are often sorted by class."""
    order: NDArray[np.int64] = np.sort(np.random.default_rng(seed).permutation(count)[:limit])
    return order
