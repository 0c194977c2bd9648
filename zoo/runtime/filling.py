"""Plausible values for unknown pixels, for networks that take whole images.

An encoder that is given zeros says "black", and a decoder that is told so draws black. Values that continue what is
known and fade towards no colour in particular say little that is wrong.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.runtime.networks import Images

REACH = 8.0
"""Distance in pixels at which what continues the known part has lost half of its weight."""


def fill(images: Images, keep: NDArray[np.bool_], levels: int) -> Images:
    """Images with their unknown pixels filled from the known ones.

    Unknown pixels are peeled ring by ring from the known part: each takes the mean of its neighbours that are known or
    filled already. At distance d (rings) the result has the weight ``REACH / (REACH + d)``; the rest is half the mean
    of the kept values of its channel, half grey. Where nothing is kept, all is grey.

    Args:
        images: uint8 ``(N, C, H, W)`` with values ``0 .. levels - 1``; unknown values have no influence.
        keep: where they are known, ``(N, 1, H, W)``.
        levels: of the values.

    Returns:
        uint8 ``(N, C, H, W)``, equal to ``images`` wherever ``keep`` is true.
    """
    return np.stack([_fill(image, known[0], levels) for image, known in zip(images, keep, strict=True)])


def _fill(image: NDArray[np.uint8], keep: NDArray[np.bool_], levels: int) -> NDArray[np.uint8]:
    grey = (levels - 1) / 2
    if not keep.any():
        return np.full_like(image, int(grey + 0.5))
    values = np.where(keep, image, 0.0)
    far = 0.5 * (values.sum(axis=(1, 2), keepdims=True) / keep.sum()) + 0.5 * grey
    near, distance = _peeled(values, keep)
    weight = REACH / (REACH + distance)
    filled = np.floor(weight * near + (1 - weight) * far + 0.5)
    return np.where(keep, image, filled).astype(np.uint8)


def _peeled(values: NDArray[np.float64], keep: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values ``(C, H, W)``, zero where unknown, continued over all, and the ring ``(H, W)`` of each pixel."""
    known, distance = keep.copy(), np.zeros(keep.shape)
    while not known.all():
        count = _of_neighbours(known[None].astype(np.float64))[0]
        ring = ~known & (count > 0)
        total = _of_neighbours(values)
        values = np.where(ring, total / np.maximum(count, 1), values)
        distance[~known] += 1
        known |= ring
    return values, distance


def _of_neighbours(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum ``(C, H, W)`` over the 3 x 3 pixels around each."""
    height, width = values.shape[1:]
    padded = np.pad(values, ((0, 0), (1, 1), (1, 1)))
    total = np.zeros_like(values)
    for top in range(3):
        for left in range(3):
            total += padded[:, top : top + height, left : left + width]
    return total
