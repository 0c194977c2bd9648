"""What each level of latents carries of an image: how much of its thumbnail comes back in what is drawn from them.

z1 by itself must tell the thumbnail at a quarter of the image's size (16x16 of 64x64), z2 by itself, with z1 drawn anew
from p(z1|z2), that at an eighth. Pixels are drawn from the model as it is, temperatures 1, and averaged.

    R2 = 1 - sum of (drawn - true)^2 / sum of (true - mean)^2

over images, channels and places; the mean is that of a channel over images and places. 1 is all of a thumbnail, 0 no
more than the set's mean colour says; independent draws would stand at -1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.data.image_store import Images
from pvae_zoo.runtime.model import Level, Model

FACTORS: dict[Level, int] = {"bottom": 4, "top": 8}
"""How many times smaller than the image a thumbnail is, from z1 and from z2."""

_BATCH = 16
_SEEDS = 1 << 63


@dataclass(frozen=True)
class Fidelity:
    """Of one level: the thumbnail's size, its R2 (None where thumbnails do not vary), its root mean squared error."""

    size: str
    r2: float | None
    rms: float


def drawn_levels(model: Model) -> list[Level]:
    """The levels that images are drawn from, bottom first; the only one of a model with one is its bottom.

    Raises:
        PvaeZooError: if a thumbnail does not divide the image.
    """
    levels: list[Level] = ["bottom", "top"] if len(model.levels) == 3 else ["bottom"]
    height, width = model.image.height, model.image.width
    for factor in (FACTORS[level] for level in levels):
        if height % factor or width % factor:
            raise PvaeZooError(
                f"{model.name} has images of {height}x{width}: thumbnails of a {factor}th do not divide them"
            )
    return levels


def fidelity(
    model: Model, images: Images, *, seed: int = 0, progress: Callable[[int], None] = lambda drawn: None
) -> list[Fidelity]:
    """Draw each image anew from each level of its latents and compare thumbnails.

    Args:
        images: uint8 ``(N, C, H, W)``.
        seed: of all draws.
        progress: called with the number of images that were drawn, of N for each level.

    Returns:
        One a level, bottom first.

    Raises:
        PvaeZooError: if a thumbnail does not divide the image.
    """
    found = []
    for number, level in enumerate(drawn_levels(model)):
        factor, drawn = FACTORS[level], []
        for start in range(0, len(images), _BATCH):
            # Noise belongs to an image's place in a call: each call has a seed of its own.
            part, own = images[start : start + _BATCH], (seed + start) % _SEEDS
            drawn.append(thumbnails(model.reconstruct(part, level=level, seed=own), factor, model.image.levels))
            progress(number * len(images) + start + len(part))
        found.append(compared(np.concatenate(drawn), thumbnails(images, factor, model.image.levels)))
    return found


def thumbnails(images: Images, factor: int, levels: int) -> NDArray[np.float64]:
    """Images ``(N, C, H, W)`` averaged over squares of ``factor``: ``(N, C, H / factor, W / factor)`` in 0..1."""
    count, channels, height, width = images.shape
    squares = images.reshape(count, channels, height // factor, factor, width // factor, factor)
    averaged: NDArray[np.float64] = squares.mean(axis=(3, 5)) / (levels - 1)
    return averaged


def compared(drawn: NDArray[np.float64], true: NDArray[np.float64]) -> Fidelity:
    """Thumbnails ``(N, C, h, w)`` against those of the images."""
    error = np.square(drawn - true)
    variance = float(np.square(true - true.mean(axis=(0, 2, 3), keepdims=True)).sum())
    r2 = 1 - float(error.sum()) / variance if variance > 0 else None
    return Fidelity(f"{true.shape[2]}x{true.shape[3]}", r2, float(np.sqrt(error.mean())))
