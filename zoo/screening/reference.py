"""What calibration images are like, and how strange an image is beside them: a robust Gaussian of a few scores.

Scores are compared by their logarithms, in widths from the middle of the calibration's. Three voices are added up: how
far the latents next to the pixels are from any that are known; what the model needs for an image over what a codec
needs, an input complexity as [1] has it; and the mean of all other scores. The first two tell apart what is neither
much simpler nor much richer than what is known, the third tells of what is. Both sides count, but for distances: an
image that is too likely is as strange as one that is not likely enough.

References:
    [1] Input complexity and out-of-distribution detection with likelihood-based generative models (Serra et al., 2020),
        ICLR, arXiv 1909.11480, there a difference and not a ratio
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.screening.evidence import Evidence
from pvae_zoo.screening.neighbours import Neighbours, fit_neighbours
from pvae_zoo.screening.regions import worst_means
from pvae_zoo.screening.robust import middle_and_width

Array = NDArray[np.float64]

CODEC, RATIO, DISTANCE = "codec", "bound over codec", "distance z1"
WEIGHTS = {DISTANCE: 1.0, RATIO: 0.5}
"""Of squared deviations."""

OTHERS = 0.5
"""The weights of all other scores together."""

WITH_CODEC = (CODEC, RATIO)
"""The scores that a browser cannot have."""

LEAST = 1e-3
"""Of a score, before its logarithm is taken: a KL of zero has none."""

STRANGEST = 1e9
"""What an image is at most, so that JSON can say it."""


def score_names(levels: int) -> tuple[str, ...]:
    """Of the scores for a model with that many levels of latents, in the order in which they are kept."""
    each = range(1, levels + 1)
    parts = ("reconstruction", *(f"KL z{level}" for level in each))
    return (*parts, CODEC, RATIO, *(f"distance z{level}" for level in each), "worst region")


@dataclass(frozen=True)
class Reference:
    """Fitted on calibration images; L levels of latents, K scores.

    Attributes:
        latents: the pooled means of each level, bottom first.
        middle: of the logarithm of each score, ``(K,)``.
        width: of the logarithm of each score, ``(K,)``.
    """

    latents: tuple[Neighbours, ...]
    middle: Array
    width: Array

    @property
    def names(self) -> tuple[str, ...]:
        return score_names(len(self.latents))

    def scores(self, evidence: Evidence, *, themselves: bool = False) -> Array:
        """All scores ``(N, K)``: nats an image, the ratio, squared distances, nats a pixel of the worst region.

        Args:
            evidence: of the images.
            themselves: they are those that the reference is fitted on, in the same order.
        """
        columns = [evidence.reconstruction_nats, *evidence.kl_nats.T, evidence.codec_nats]
        columns += [evidence.bound_nats / evidence.codec_nats]
        levels = zip(self.latents, evidence.pooled, strict=True)
        columns += [known.distances(means, themselves=themselves) for known, means in levels]
        return np.stack([*columns, worst_means(evidence.surprise_nats)], axis=1)

    def deviations(self, scores: Array) -> Array:
        """How far each score ``(N, K)`` is from the middle, in widths, with its sign: ``(N, K)``."""
        deviations: Array = (_logarithms(scores) - self.middle) / self.width
        return deviations

    def shares(self, deviations: Array, *, codec: bool = True) -> Array:
        """What each score adds to the squared strangeness, ``(N, K)``.

        Args:
            deviations: from `deviations`.
            codec: whether the scores that need a codec count.
        """
        near = np.array([name.startswith("distance") for name in self.names])
        shares: Array = np.where(near, np.maximum(deviations, 0.0), deviations) ** 2 * _weights(self.names, codec)
        return shares

    def strangeness(self, deviations: Array, *, codec: bool = True) -> Array:
        """The combined score, ``(N,)``: larger is stranger, `STRANGEST` where a score is no number."""
        strangeness: Array = np.sqrt(self.shares(deviations, codec=codec).sum(axis=1))
        return np.minimum(np.nan_to_num(strangeness, nan=STRANGEST), STRANGEST)


def fit_reference(evidence: Evidence) -> Reference:
    """A reference of calibration images, more than `pvae_zoo.screening.neighbours.NEAREST`."""
    latents = tuple(fit_neighbours(means) for means in evidence.pooled)
    levels = len(latents)
    blank = np.zeros(len(score_names(levels)))
    scores = Reference(latents, blank, blank + 1).scores(evidence, themselves=True)
    middle, width = middle_and_width(_logarithms(scores))
    return Reference(latents, middle, width)


def _logarithms(scores: Array) -> Array:
    logarithms: Array = np.log(np.maximum(scores, LEAST))  # NaN stays NaN
    return logarithms


def _weights(names: Sequence[str], codec: bool) -> Array:
    counted = [name for name in names if codec or name not in WITH_CODEC]
    alike = OTHERS / sum(name not in WEIGHTS for name in counted)
    return np.array([WEIGHTS.get(name, alike) if name in counted else 0.0 for name in names])
