"""How far what a runtime computes is from what it should, and how far it may be."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def tolerance_words(gap: float) -> str:
    """How far a value may be off, for `pvae_zoo.contract.precision.Precision.gap`."""
    return (
        f"A value may be off by {gap:.0e}: absolutely where the golden one is between -1 and 1, as a share of it where "
        "it is larger"
    )


def largest_gap(a: NDArray[Any], b: NDArray[Any]) -> float:
    """The largest of the `gaps` of two arrays; infinite if their shapes differ."""
    return float("inf") if a.shape != b.shape else float(gaps(a, b).max())


def gaps(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """How far values are from the expected ones ``b``, as a share of these where they are beyond 1.

    A log-probability of -20 has fewer places after the point in float32 than one of -0.2.
    """
    found: NDArray[np.float64] = np.abs(a.astype(np.float64) - b) / np.maximum(1.0, np.abs(b.astype(np.float64)))
    return found
