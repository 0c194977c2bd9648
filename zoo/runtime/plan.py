"""All that the steps of a grid are fed, known before the first one runs, laid out in the order in which they run.

So a step's inputs are slices of whole arrays and its outputs may be written to slices of others: nothing is made for a
single step, of which a small image has hundreds that take less than a millisecond.

Steps may be filled up to a few sizes, where every shape is to come again and again. A filler computes the spare canvas
row, which no position reads, from all inputs at 0, so that nothing is drawn there, and what comes of it is left out. Of
three sizes, chosen for each grid, 5 % of the rows are filler for 28x28 digits, 11 % for the pixels of 64x64 photos and
9 % for their z1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.contract.config import StepSpec
from pvae_zoo.runtime.wavefront import Order, canvas_rows, steps

Arrays = Mapping[str, NDArray[Any]]


class Plan:
    """The steps of a grid for ``count`` images: all positions of a step, image by image, then those of the next.

    Args:
        spec: the grid.
        count: images.
        order: "wavefront", or "raster" for one position an image and step.
        sizes: of steps, at most: each is filled up to one of them; None fills nothing.

    Attributes:
        steps: the slice of each step among all rows, which are ``count * H * W`` positions and the filler behind those
            of each step.
        rows: canvas rows and context rows of all rows, int64, under the names of the step's inputs.
    """

    def __init__(self, spec: StepSpec, count: int, order: Order = "wavefront", sizes: int | None = None) -> None:
        self.spec, self.count = spec, count
        inside, number = _order(spec.height, spec.width, spec.geometry.slope, order)
        positions = np.bincount(number)
        filled = positions if sizes is None else _filled(positions, sizes)
        ends = np.cumsum(filled) * count
        self.steps = [slice(int(a), int(b)) for a, b in zip([0, *ends[:-1]], ends, strict=True)]
        turns = np.argsort(np.tile(number, count), kind="stable")
        image, at = np.repeat(np.arange(count), len(inside))[turns], np.tile(inside, count)[turns]
        self._cells = image * len(inside) + at
        before = np.cumsum(filled - positions) - (filled - positions)  # filler of the steps before each, an image
        self._at = np.arange(len(at)) + np.repeat(before, positions * count) * count
        y, x, g = at // spec.width, at % spec.width, spec.geometry
        places = image * g.rows_per_image + (y + g.top) * g.stride + g.left + x
        self.rows: Arrays = {
            "positions": self._spread(places, filler=canvas_rows(g, count) - 1),
            "context_rows": self._spread(image * spec.context.rows + (at if spec.context.rows > 1 else 0)),
        }

    def taken(self, values: NDArray[Any]) -> NDArray[Any]:
        """What ``(N, C, H, W)`` has at all rows: ``(rows, C)``, 0 where there is filler."""
        cells = values.reshape(*values.shape[:2], -1).transpose(0, 2, 1).reshape(-1, values.shape[1])
        taken: NDArray[Any] = cells[self._cells]
        return self._spread(taken)

    def placed(self, rows: NDArray[Any]) -> NDArray[Any]:
        """The inverse of `taken`: ``(N, C, H, W)``."""
        cells = np.empty((len(self._cells), rows.shape[1]), rows.dtype)
        cells[self._cells] = rows[self._at]
        grid = cells.reshape(self.count, self.spec.height, self.spec.width, -1)
        return np.ascontiguousarray(grid.transpose(0, 3, 1, 2))

    def feeds(self, values: Arrays) -> Iterator[dict[str, NDArray[Any]]]:
        """The inputs of each step, from values ``(N, C, H, W)``. Context and canvases are beside."""
        rows = {**self.rows, **{name: self.taken(value) for name, value in values.items()}}
        for step in self.steps:
            yield {name: value[step] for name, value in rows.items()}

    def _spread(self, values: NDArray[Any], filler: int = 0) -> NDArray[Any]:
        """A value for each row from one for each position."""
        total = self.steps[-1].stop
        if len(values) == total:
            return values
        rows = np.full((total, *values.shape[1:]), filler, values.dtype)
        rows[self._at] = values
        return rows


@cache
def _order(height: int, width: int, slope: int, order: Order) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each position of one image, in order, as ``y * width + x``, and the number of its step."""
    all_steps = list(steps(height, width, slope, order))
    inside = np.concatenate([step.rows * width + step.columns for step in all_steps])
    return inside, np.repeat(np.arange(len(all_steps)), [len(step.rows) for step in all_steps])


def _filled(positions: NDArray[np.int64], sizes: int) -> NDArray[np.int64]:
    """Each step's positions filled up to one of at most ``sizes`` sizes, those that leave the least filler."""
    different = np.unique(positions)
    smaller = combinations(different[:-1], min(sizes, len(different)) - 1)
    filled = (np.array([*some, different[-1]])[np.searchsorted([*some, different[-1]], positions)] for some in smaller)
    return min(filled, key=np.sum)
