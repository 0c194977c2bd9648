"""Measuring a model on a data set: the figures that stand on its card."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import dacite
import numpy as np

from pvae_zoo.atomic import atomic_write
from pvae_zoo.bundle import EVALUATION, Bundle
from pvae_zoo.runtime.model import PixelVAE
from pvae_zoo.runtime.scoring import bits_per_dim
from pvae_zoo.training.datasets import ImageSet

_BATCH = 64
_TEXT = 1000


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Mean figures over images of a split, in nats an image unless the name says otherwise; smaller is better.

    Attributes:
        split: "train", "valid" or "test".
        images: how many; where fewer than ``of``, a random subset.
        of: images in the split.
        samples: draws of z an image (K of the importance-weighted bound).
        nll_nats: the bound -ELBO, mean over the draws.
        standard_error_nats: of ``nll_nats`` over the images.
        iwae_nll_nats: minus the importance-weighted bound, None for one sample.
        command: what was run.
    """

    split: str
    images: int
    of: int
    samples: int
    seed: int
    nll_nats: float
    standard_error_nats: float
    bits_per_dim: float
    reconstruction_nats: float
    kl_nats: tuple[float, ...]
    iwae_nll_nats: float | None
    provider: str
    model_sha256: str
    command: str

    @property
    def key(self) -> tuple[str, int, int]:
        return self.split, self.images, self.samples


def evaluate(
    model: PixelVAE,
    images: ImageSet,
    *,
    split: str,
    samples: int,
    limit: int | None,
    seed: int,
    command: str,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Score a split, or a random subset of ``limit`` images of it (never its first rows: files are sorted by class)."""
    order = np.arange(len(images))
    if limit is not None and limit < len(images):
        order = np.sort(np.random.default_rng(seed).choice(len(images), limit, replace=False))
    nll, reconstruction, kl, iwae = [], [], [], []
    for start in range(0, len(order), _BATCH):
        scores = model.nll(images.read(order[start : start + _BATCH], None), samples=samples, seed=seed)
        nll.append(scores.nll_nats)
        reconstruction.append(scores.reconstruction_nats)
        kl.append(scores.kl_nats)
        if scores.iwae_nll_nats is not None:
            iwae.append(scores.iwae_nll_nats)
        progress(min(start + _BATCH, len(order)), len(order))
    nll_nats = np.concatenate(nll)
    count = len(nll_nats)
    return Evaluation(
        split=split,
        images=count,
        of=len(images),
        samples=samples,
        seed=seed,
        nll_nats=float(nll_nats.mean()),
        standard_error_nats=float(nll_nats.std(ddof=1) / math.sqrt(count)) if count > 1 else 0.0,
        bits_per_dim=float(bits_per_dim(float(nll_nats.mean()), model.image)),
        reconstruction_nats=float(np.concatenate(reconstruction).mean()),
        kl_nats=tuple(float(value) for value in np.concatenate(kl).mean(axis=0)),
        iwae_nll_nats=float(np.concatenate(iwae).mean()) if iwae else None,
        provider=model.provider,
        model_sha256=model.bundle.digest,
        command=command,
    )


def stored_evaluations(bundle: Bundle) -> list[dict[str, Any]]:
    """The results in a bundle that were measured on just these weights; what is no result is left out."""
    figures = bundle.evaluation() or {"results": []}
    return [row for row in figures["results"] if row.get("model_sha256") == bundle.digest and _is_result(row)]


def _is_result(row: dict[str, Any]) -> bool:
    """Whether a row is what `save_evaluation` writes: the file has no hash, and its words reach cards and terminals."""
    try:
        result = dacite.from_dict(Evaluation, row, dacite.Config(strict=True, cast=[tuple]))
    except (dacite.DaciteError, TypeError, ValueError):
        return False
    return all(len(text) < _TEXT and text.isprintable() for text in (result.split, result.provider, result.command))


def save_evaluation(bundle: Bundle, evaluation: Evaluation) -> None:
    """Add a result to the bundle's ``evaluation.json``; one of the same split, images and samples is replaced."""
    kept = [r for r in stored_evaluations(bundle) if (r["split"], r["images"], r["samples"]) != evaluation.key]
    rows = sorted([*kept, asdict(evaluation)], key=lambda row: (row["split"], -row["images"], row["samples"]))
    atomic_write(bundle.folder / EVALUATION, (json.dumps({"results": rows}, indent=2) + "\n").encode())
