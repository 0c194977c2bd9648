"""The strangest region of an image: the window with the largest mean of per-pixel values, so that a scratch counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Region:
    """A square of pixels and what they have on average."""

    top: int
    left: int
    side: int
    mean: float


def window_side(height: int, width: int) -> int:
    """Side of the window for images of a size: an eighth of the shorter side, at least 3 and at most the image."""
    shorter = min(height, width)
    return min(shorter, max(3, round(shorter / 8)))


def window_means(values: NDArray[np.floating], side: int) -> Array:
    """Means over all windows of ``(N, H, W)``: ``(N, H - side + 1, W - side + 1)``."""
    sums = np.pad(values.astype(np.float64), ((0, 0), (1, 0), (1, 0))).cumsum(axis=1).cumsum(axis=2)
    inside = sums[:, side:, side:] - sums[:, :-side, side:] - sums[:, side:, :-side] + sums[:, :-side, :-side]
    means: Array = inside / side**2
    return means


def worst_regions(values: NDArray[np.floating]) -> list[Region]:
    """Of each map of ``(N, H, W)`` the window with the largest mean, the first of several."""
    side = window_side(*values.shape[1:])
    means = window_means(values, side)
    flat = means.reshape(len(means), -1)
    best = flat.argmax(axis=1)
    rows, columns = np.divmod(best, means.shape[2])
    return [
        Region(int(row), int(column), side, float(flat[index, place]))
        for index, (row, column, place) in enumerate(zip(rows, columns, best, strict=True))
    ]
