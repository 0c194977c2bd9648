"""How far latents are from those of calibration images: the Mahalanobis distance to the nearest of them.

Not to their mean: latents of digits, and of most things, lie in several heaps, and what lies between them is near to
the mean and to none of them. The nearest ones in the metric of all of them know that ([1], there of other features).

References:
    [1] Out-of-distribution detection with deep nearest neighbors (Sun, Ming, Zhu, Li, 2022), ICML, arXiv 2204.06507
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.screening.robust import shrunk_covariance

Array = NDArray[np.float64]

NEAREST = 5
"""Calibration images that a distance is the mean of."""

_DECIMALS = 4
"""Of the points, which all stand in a file; latents are of the order of 1."""


@dataclass(frozen=True)
class Neighbours:
    """Points of calibration images ``(n, D)``, n > `NEAREST`, and their metric, the inverse covariance ``(D, D)``."""

    points: Array
    precision: Array

    def distances(self, x: Array, *, themselves: bool = False) -> Array:
        """Mean squared Mahalanobis distance of ``(N, D)`` to the nearest points, ``(N,)``.

        Args:
            x: rows to be compared.
            themselves: they are the points, none of which counts as its own neighbour.
        """
        (root, middle, points), first = self._whitened, int(themselves)
        # Row by row: of a product of matrices, the last bits of a row depend on how many rows there are.
        squared = [((points - (row - middle) @ root) ** 2).sum(axis=1) for row in x]
        nearest = [np.sort(np.partition(one, first + NEAREST - 1)[: first + NEAREST]) for one in squared]
        return np.array([one[first:].mean() for one in nearest])

    @cached_property
    def _whitened(self) -> tuple[Array, Array, Array]:
        """A root of the precision, the points' middle, and the points about it in the metric, where it is Euclid's."""
        root: Array = np.asarray(np.linalg.cholesky(self.precision), np.float64)
        middle: Array = self.points.mean(axis=0)
        return root, middle, (self.points - middle) @ root


def fit_neighbours(x: Array) -> Neighbours:
    """What samples ``(n, D)`` are as neighbours: their metric is their covariance, shrunk to have an inverse."""
    points = np.round(x, _DECIMALS)
    precision = np.asarray(np.linalg.inv(shrunk_covariance(points - points.mean(axis=0))), np.float64)
    return Neighbours(points, (precision + precision.T) / 2)
