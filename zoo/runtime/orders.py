"""In which order pixels are drawn where nobody says: what was faster on such a device.

Both orders draw the same pixels but for rounding. A wavefront computes each value once, in hundreds of small steps; a
fixed point computes all values in each of its passes, of which there are fewer than steps for digits and more for
photos.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from pvae_zoo.base.errors import PvaeZooError

PixelOrder = Literal["auto", "wavefront", "raster", "fixed-point"]
Chosen = Literal["wavefront", "raster", "fixed-point"]
Kind = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class Faster:
    """A measurement of ``benchmarks/ORDERS.md``: the order that was faster.

    Attributes:
        device: what computed.
        pixels: of an image, H x W.
        images: drawn at once.
        order: the faster one.
    """

    device: Kind
    pixels: int
    images: int
    order: Literal["wavefront", "fixed-point"]


MEASURED = (
    Faster("cpu", 28 * 28, 1, "wavefront"),
    Faster("cpu", 28 * 28, 16, "wavefront"),
    Faster("cpu", 28 * 28, 64, "wavefront"),
    Faster("cpu", 64 * 64, 1, "wavefront"),
    Faster("cpu", 64 * 64, 4, "wavefront"),
)
"""All rows of ``benchmarks/ORDERS.md``. None is of CUDA yet."""


def chosen_order(order: PixelOrder, device: Kind, pixels: int, images: int) -> Chosen:
    """The order that "auto" stands for: the faster one of the nearest measurement; any other is itself.

    Args:
        order: what was asked for.
        device: what computes.
        pixels: of an image, H x W.
        images: drawn at once.

    Returns:
        "wavefront" where nothing is measured on such a device.

    Raises:
        PvaeZooError: if there is no such order.
    """
    if order not in get_args(PixelOrder):
        raise PvaeZooError(f"order {order!r}: choose {', '.join(get_args(PixelOrder))}")
    if order != "auto":
        return order
    rows = [row for row in MEASURED if row.device == device]

    def distance(row: Faster) -> tuple[float, float]:
        return abs(math.log(row.pixels / pixels)), abs(math.log(row.images / images))

    return min(rows, key=distance).order if rows else "wavefront"
