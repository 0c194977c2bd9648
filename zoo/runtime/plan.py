"""All that the steps of a grid are fed, known before the first one runs, laid out in the order in which they run.

So a step's inputs are slices of whole arrays and its outputs may be written to slices of others: nothing is made for a
single step, of which a small image has hundreds that take less than a millisecond.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.contract.config import StepSpec
from pvae_zoo.runtime.wavefront import Order, steps

Arrays = Mapping[str, NDArray[Any]]


class Plan:
    """The steps of a grid for ``count`` images: all positions of a step, image by image, then those of the next.

    Args:
        spec: the grid.
        count: images.
        order: "wavefront", or "raster" for one position an image and step.

    Attributes:
        steps: the slice of each step among all ``count * H * W`` positions.
        rows: canvas rows and context rows of all positions, int64, under the names of the step's inputs.
    """

    def __init__(self, spec: StepSpec, count: int, order: Order = "wavefront") -> None:
        self.spec, self.count = spec, count
        inside, number = _order(spec.height, spec.width, spec.geometry.slope, order)
        ends = np.cumsum(np.bincount(number)) * count
        self.steps = [slice(int(a), int(b)) for a, b in zip([0, *ends[:-1]], ends, strict=True)]
        turns = np.argsort(np.tile(number, count), kind="stable")
        image, at = np.repeat(np.arange(count), len(inside))[turns], np.tile(inside, count)[turns]
        self._cells = image * len(inside) + at
        y, x, g = at // spec.width, at % spec.width, spec.geometry
        self.rows: Arrays = {
            "positions": image * g.rows_per_image + (y + g.top) * g.stride + g.left + x,
            "context_rows": image * spec.context.rows + (at if spec.context.rows > 1 else 0),
        }

    def taken(self, values: NDArray[Any]) -> NDArray[Any]:
        """What ``(N, C, H, W)`` has at all positions: ``(N * H * W, C)``."""
        cells = values.reshape(*values.shape[:2], -1).transpose(0, 2, 1).reshape(-1, values.shape[1])
        taken: NDArray[Any] = cells[self._cells]
        return taken

    def placed(self, rows: NDArray[Any]) -> NDArray[Any]:
        """The inverse of `taken`: ``(N, C, H, W)``."""
        cells = np.empty_like(rows)
        cells[self._cells] = rows
        grid = cells.reshape(self.count, self.spec.height, self.spec.width, -1)
        return np.ascontiguousarray(grid.transpose(0, 3, 1, 2))

    def feeds(self, values: Arrays) -> Iterator[dict[str, NDArray[Any]]]:
        """The inputs of each step, from values ``(N, C, H, W)``. Context and canvases are beside."""
        rows = {**self.rows, **{name: self.taken(value) for name, value in values.items()}}
        for step in self.steps:
            yield {name: value[step] for name, value in rows.items()}


@cache
def _order(height: int, width: int, slope: int, order: Order) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each position of one image, in order, as ``y * width + x``, and the number of its step."""
    all_steps = list(steps(height, width, slope, order))
    inside = np.concatenate([step.rows * width + step.columns for step in all_steps])
    return inside, np.repeat(np.arange(len(all_steps)), [len(step.rows) for step in all_steps])
