"""Statistics of few samples, some of which may be odd: a covariance, where the middle is, and how wide it is.

References:
    [1] A well-conditioned estimator for large-dimensional covariance matrices (Ledoit, Wolf, 2004), J. Multivariate
        Analysis 88(2), lemma 3.2: how far to shrink a covariance to a multiple of the identity
    [2] Robust Statistics (Huber, 1981): median and median absolute deviation in place of mean and standard deviation
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MAD = 1.4826
"""Of a normal distribution, the standard deviation over the median absolute deviation."""


def shrunk_covariance(centred: Array) -> Array:
    """The covariance ``(D, D)`` of centred samples ``(N, D)``, shrunk to a multiple of the identity ([1])."""
    count, dimensions = centred.shape
    sample = centred.T @ centred / count
    scale = max(float(np.trace(sample)) / dimensions, 1e-12)
    target = scale * np.eye(dimensions)
    spread = float(((sample - target) ** 2).sum())
    # The mean over samples of |x x' - S|^2 is that of |x|^4 less |S|^2.
    noise = (float(((centred**2).sum(axis=1) ** 2).mean()) - float((sample**2).sum())) / count
    share = 1.0 if spread <= noise else max(noise / spread, 1e-6)
    shrunk: Array = share * target + (1 - share) * sample
    return shrunk


def middle_and_width(x: Array) -> tuple[Array, Array]:
    """Of each column of ``(N, K)``, the median and the standard deviation that its middle half has ([2]).

    A column whose middle half is one value has the width of the rest of it, and a constant one a width of 1.
    """
    middle = np.median(x, axis=0)
    width = MAD * np.median(np.abs(x - middle), axis=0)
    width = np.where(width > 0, width, x.std(axis=0))
    return middle, np.where(width > 0, width, 1.0)
