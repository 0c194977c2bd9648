"""The order in which pixels are computed: exact wavefronts in place of one pixel at a time.

A pixel (y, x) reads, in the rows above, up to ``slope - 1`` columns to its right. So row y may start as soon as row
y - 1 is ``slope`` pixels ahead, whatever the depth of the network, and all pixels with ``x + slope * y = t`` can be
computed together: a reordering of raster order, not an approximation.

    slope 3, step at which each pixel is computed:

        0  1  2  3  4  5  6 ...
        3  4  5  6  7  8  9 ...
        6  7  8  9 10 11 12 ...

Invariant: no step reads a position that it writes. In row y - r the pixels of the same step stand ``r * slope``
columns to the right, beyond the reach.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.contract.config import Geometry

Order = Literal["wavefront", "raster"]


@dataclass(frozen=True)
class Step:
    """The pixels of one step, the same for every image: ``rows`` and ``columns``, both ``(k,)``."""

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]


def steps(height: int, width: int, slope: int, order: Order = "wavefront") -> Iterator[Step]:
    """The steps of an image, in order; every pixel is in exactly one."""
    if order == "raster":
        for y in range(height):
            for x in range(width):
                yield Step(np.array([y]), np.array([x]))
        return
    for t in range(width + slope * (height - 1)):
        first = max(0, -(-(t - width + 1) // slope))
        rows = np.arange(first, min(height - 1, t // slope) + 1)
        if rows.size:  # an image narrower than the slope leaves gaps
            yield Step(rows, t - slope * rows)


def step_count(height: int, width: int, slope: int, order: Order = "wavefront") -> int:
    """Number of steps: ``width + slope * (height - 1)`` for a wavefront in an image at least ``slope`` wide."""
    return height * width if order == "raster" or width < slope else width + slope * (height - 1)


def canvas_rows(geometry: Geometry, images: int) -> int:
    """Rows of a canvas for that many images, the spare row included."""
    return images * geometry.rows_per_image + 1


def positions(geometry: Geometry, images: int, step: Step) -> NDArray[np.int64]:
    """Canvas rows of a step's pixels, image by image: ``(images * k,)``."""
    pixel = (step.rows + geometry.top) * geometry.stride + geometry.left + step.columns
    base = np.arange(images)[:, None] * geometry.rows_per_image
    return np.ascontiguousarray((base + pixel[None, :]).ravel())
