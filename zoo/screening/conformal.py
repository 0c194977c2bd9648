"""From scores to p-values that hold whatever the score is worth: split conformal, and Benjamini-Hochberg over a batch.

If an image is like the calibration images (all of them exchangeable), its rank among them is uniform, so that
P(p <= a) <= a for every a. The images whose scores are ranked must not have shaped the score: hence the split.

References:
    [1] Testing for Outliers with Conformal p-values (Bates, Candes, Lei, Romano, Sesia, 2023), Annals of Statistics
        51(1), section 2 and theorem 2; arXiv 2104.08279
    [2] Controlling the False Discovery Rate (Benjamini, Hochberg, 1995), JRSS B 57(1)
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.base.errors import PvaeZooError

Array = NDArray[np.float64]

FITTED_SHARE = 0.25
"""Of the calibration images, those that the score is fitted on; the others are ranked."""

MOST_FITTED = 1000
"""Images that the score is fitted on, at most: it has few parameters, and ranks are never too many."""

LEAST_FITTED = 20
"""And at least: fewer say nothing of how scores go together."""


def ranked_of(count: int) -> int:
    """How many of ``count`` calibration images are ranked."""
    return count - fitted_of(count)


def fitted_of(count: int) -> int:
    """How many of ``count`` calibration images the score is fitted on."""
    return min(MOST_FITTED, max(LEAST_FITTED, math.ceil(FITTED_SHARE * count)))


def ranks_needed(rate: float) -> int:
    """How many ranked images the rate needs at least: the smallest p-value is 1 / (ranked + 1)."""
    return math.ceil(round(1 / rate, 9)) - 1


def images_needed(rate: float) -> int:
    """How many calibration images the rate needs at least."""
    ranked = ranks_needed(rate)
    count = LEAST_FITTED + ranked
    while ranked_of(count) < ranked:
        count += 1
    return count


def check_rate(ranked: int, rate: float) -> None:
    """That a calibration can flag anything at a rate.

    Args:
        ranked: number of its ranked images.
        rate: of false positives, above 0.

    Raises:
        PvaeZooError: if it cannot, saying how many images would do.
    """
    if ranked < ranks_needed(rate):
        raise PvaeZooError(
            f"--fpr {rate:g} needs a calibration of {images_needed(rate)} images, {ranks_needed(rate)} of them ranked: "
            f"this one has {ranked} ranked and can do --fpr {math.ceil(1e4 / (ranked + 1)) / 1e4:g}"
        )


def p_values(ranked: Array, scores: Array) -> Array:
    """Conformal p-values ``(N,)`` ([1], section 2): ``(1 + #{ranked >= score}) / (n + 1)``.

    Args:
        ranked: the calibration scores, sorted, ``(n,)``.
        scores: larger is stranger, ``(N,)``; what is no number is as strange as can be.
    """
    below = np.searchsorted(ranked, np.where(np.isnan(scores), np.inf, scores), side="left")
    p: Array = (1 + len(ranked) - below) / (len(ranked) + 1)
    return p


class Discoveries:
    """Benjamini-Hochberg over any number of conformal p-values, in the memory of the calibration's ranks.

    Conformal p-values of one calibration set depend on each other positively, so that the procedure keeps its rate
    ([1], theorem 2). A p-value is k / (n + 1) for a whole k, so counts for each k are all that is kept.

    Args:
        ranked: number of ranked calibration images, n.
    """

    def __init__(self, ranked: int) -> None:
        self._steps = ranked + 1
        self._counts = np.zeros(ranked + 2, np.int64)

    def add(self, p_value: float) -> None:
        self._counts[round(p_value * self._steps)] += 1

    def threshold(self, rate: float) -> float:
        """The largest p-value that is flagged; 0 if none is.

        Args:
            rate: the share of those flagged that may belong after all, on average.
        """
        at_most = np.cumsum(self._counts)
        p = np.arange(len(at_most)) / self._steps
        kept = np.flatnonzero((self._counts > 0) & (p * at_most[-1] <= rate * at_most * (1 + 1e-12)))
        return float(p[kept[-1]]) if len(kept) else 0.0

    def least(self, rate: float) -> int:
        """How many images of this batch must have the smallest p-value before any can be flagged."""
        return max(1, math.ceil(int(self._counts.sum()) / (rate * self._steps) - 1e-9))
