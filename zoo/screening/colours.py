"""A colour for a number of bits: dark where the model expected what is there, bright where it did not.

The colours are those of matplotlib's "inferno" (CC0), whose lightness rises evenly: 17 of them, and straight lines
between. The page draws with the same table (``web/src/colours.ts``).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

INFERNO = (
    *((0, 0, 4), (11, 7, 36), (33, 12, 74), (61, 9, 101), (87, 16, 110), (113, 25, 110), (138, 34, 106)),
    *((163, 44, 97), (188, 55, 84), (210, 70, 68), (228, 90, 49), (241, 115, 29), (249, 142, 9)),
    *((252, 172, 17), (249, 203, 53), (242, 234, 105), (252, 255, 164)),
)


def heat(shares: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Colours ``(..., 3)`` of shares of the scale, 0 to 1; what is beyond has the colour of the end."""
    table, last = np.array(INFERNO, np.float64), len(INFERNO) - 1
    at = np.clip(np.nan_to_num(shares, nan=1.0), 0.0, 1.0) * last
    low = np.minimum(at.astype(np.int64), last - 1)
    part = (at - low)[..., np.newaxis]
    colours: NDArray[np.uint8] = np.rint(table[low] * (1 - part) + table[low + 1] * part).astype(np.uint8)
    return colours


def ticks(most: float, wanted: int = 5) -> list[float]:
    """Round numbers of bits from 0 to ``most``, about ``wanted``: multiples of 1, 2 or 5 times a power of 10."""
    rough = most / max(1, wanted - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    return [step * index for index in range(int(most / step * (1 + 1e-9)) + 1)]
