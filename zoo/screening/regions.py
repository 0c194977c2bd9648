"""The strangest region of an image, so that a scratch counts: how strange it is, and where.

How strange is the largest mean over a window of what the pixels cost. Where is another question: what costs most is
often no more than grass. So the window is looked for that stands out from what is around it, by the cube of the cost of
its pixels, which the seam of a painted patch has, and by the KL of z1, which says what the rest of the image does not
lead to expect. Both were chosen on photos with a patch of another photo (docs/screening.md).

Shapes: N images, H rows, W columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_SHARE = 4
"""Windows in the shorter side of an image."""

_POWER = 3
"""Of what a pixel costs, for where a region is."""


@dataclass(frozen=True)
class Region:
    """A square of pixels and what they cost on average."""

    top: int
    left: int
    side: int
    mean: float


def window_side(height: int, width: int) -> int:
    """Side of the window for images of a size: a quarter of the shorter side, at least 3 and at most the image."""
    shorter = min(height, width)
    return min(shorter, max(3, round(shorter / _SHARE)))


def window_means(values: NDArray[np.floating], side: int) -> Array:
    """Means over all windows of ``(N, H, W)``: ``(N, H - side + 1, W - side + 1)``."""
    sums = np.pad(values.astype(np.float64), ((0, 0), (1, 0), (1, 0))).cumsum(axis=1).cumsum(axis=2)
    inside = sums[:, side:, side:] - sums[:, :-side, side:] - sums[:, side:, :-side] + sums[:, :-side, :-side]
    means: Array = inside / side**2
    return means


def worst_means(surprise: NDArray[np.floating]) -> Array:
    """Of each map ``(N, H, W)`` the largest mean over a window, ``(N,)``."""
    worst: Array = window_means(surprise, window_side(*surprise.shape[1:])).max(axis=(1, 2))
    return worst


def worst_regions(surprise: NDArray[np.floating], places: Array) -> list[Region]:
    """The window of each image that stands out most, the first of several.

    Args:
        surprise: what each pixel cost, ``(N, H, W)``.
        places: the KL of each place of z1, ``(N, h, w)``, or none, ``(N, 0, 0)``.
    """
    height, width = surprise.shape[1:]
    side = window_side(height, width)
    cost = surprise.astype(np.float64)
    strange = _standing_out(cost**_POWER, side)
    if places.size:
        rows, columns = (np.arange(n) * of // n for n, of in zip((height, width), places.shape[1:], strict=True))
        strange = strange + _standing_out(places[:, rows][:, :, columns], side)
    means = window_means(cost, side)
    best = strange.reshape(len(strange), -1).argmax(axis=1)
    tops, lefts = np.divmod(best, strange.shape[2])
    return [
        Region(int(top), int(left), side, float(means[index, top, left]))
        for index, (top, left) in enumerate(zip(tops, lefts, strict=True))
    ]


def _standing_out(values: Array, side: int) -> Array:
    """Means of windows less those of windows twice as wide around them, in standard deviations over the image."""
    rim = side // 2
    around = np.pad(values, ((0, 0), (rim, rim), (rim, rim)), mode="symmetric")
    gap = window_means(values, side) - window_means(around, side + 2 * rim)
    spread = gap.std(axis=(1, 2), keepdims=True)
    standing: Array = gap / np.where(spread > 0, spread, 1.0)
    return standing
