"""A model beside the one that it was made from, image by image on the same images."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.data.datasets import ImageSet
from pvae_zoo.reporting.evaluation import BATCH, Descent, Evaluation, chosen_images
from pvae_zoo.runtime.model import Model
from pvae_zoo.runtime.scoring import bits_per_dim


def measure_descent(
    model: Model,
    before: Model,
    images: ImageSet,
    bound: Evaluation,
    *,
    ancestor: str,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Descent:
    """Score with both models what the bound was measured on, with the same noise.

    Args:
        model: that ``bound`` is of.
        before: that it was made from.
        images: the set of the bound.
        bound: says which of them, with which seed.
        ancestor: what to call ``before``.
        progress: called with the number of images that are scored, and of all.
    """
    chosen = chosen_images(len(images), bound.images, bound.seed)
    old: list[NDArray[np.float64]] = []
    new: list[NDArray[np.float64]] = []
    for start in range(0, len(chosen), BATCH):
        pixels = images.read(chosen[start : start + BATCH], None)
        for scores, one in ((old, before), (new, model)):
            scores.append(one.nll(pixels, samples=bound.samples, seed=bound.seed).nll_nats)
        progress(min(start + BATCH, len(chosen)), len(chosen))
    nats = np.concatenate(old)
    gaps = np.asarray(bits_per_dim(np.concatenate(new) - nats, model.image))
    return Descent(
        ancestor=ancestor, ancestor_sha256=before.bundle.digest, nll_nats=float(nats.mean()),
        bits_per_dim=float(bits_per_dim(float(nats.mean()), model.image)),
        difference_bits_per_dim=float(gaps.mean()),
        standard_error_bits_per_dim=float(gaps.std(ddof=1) / math.sqrt(len(gaps))) if len(gaps) > 1 else 0.0,
        dataset=bound.dataset, split=bound.split, images=bound.images, of=bound.of, seed=bound.seed,
        model_sha256=model.bundle.digest, command=bound.command,
    )  # fmt: skip
