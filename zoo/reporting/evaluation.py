"""The figures that stand on a model's card: the bound on a data set, and how all that was measured is kept.

``evaluation.json`` holds a row for each measurement: a bound (`Evaluation`), codecs on the same pixels (`CodecSizes`),
what each level of latents carries (`Thumbnails`), the model that it was made from (`Descent`). Another kind of row is
passed over, so that an older package reads a newer file.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import dacite
import numpy as np
from numpy.typing import NDArray

from pvae_zoo.base.atomic import atomic_write
from pvae_zoo.contract.folder import EVALUATION, Bundle
from pvae_zoo.data.datasets import ImageSet
from pvae_zoo.runtime.model import Model
from pvae_zoo.runtime.scoring import bits_per_dim

BATCH = 64
_TEXT = 1000
_NAMED = re.compile(r" --data (.+?) --split ")

Key = tuple[str, ...]
"""What a row is of; a second one of the same takes its place."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Mean figures over images of a split, in nats an image unless the name says otherwise; smaller is better.

    Attributes:
        dataset: the file or folder of the images, without the folders above it.
        split: "train", "valid" or "test".
        images: how many; where fewer than ``of``, a random subset (`chosen_images`).
        of: images in the split.
        jpeg: the quality, where JPEG copies were scored in place of the images.
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
    dataset: str = ""
    jpeg: int | None = None

    @property
    def key(self) -> Key:
        return "bound", self.dataset, self.split, str(self.jpeg), str(self.images), str(self.samples)


@dataclass(frozen=True, kw_only=True)
class CodecSizes:
    """Bits per dimension of lossless codecs, each image a file of its own: the pixels of the `Evaluation` of the same
    ``dataset``, ``split``, ``images``, ``jpeg`` and ``seed``."""

    codecs: dict[str, float]
    dataset: str
    split: str
    images: int
    of: int
    jpeg: int | None
    seed: int
    model_sha256: str
    command: str

    @property
    def key(self) -> Key:
        return "codecs", self.dataset, self.split, str(self.jpeg), str(self.images)

    def is_of(self, row: dict[str, Any]) -> bool:
        """Whether a row of `stored_evaluations` has the bound of just these pixels."""
        return all(row[name] == getattr(self, name) for name in ("dataset", "split", "images", "jpeg", "seed"))


@dataclass(frozen=True, kw_only=True)
class Thumbnails:
    """What is left of images' thumbnails in what is drawn from one level of their latents, bottom level first.

    Attributes:
        sizes: of the thumbnails, "16x16".
        r2: 1 - squared error / variance, see `pvae_zoo.reporting.fidelity`; None where the thumbnails do not vary.
        rms: root of the mean squared error, as a share of the values' range.
    """

    sizes: tuple[str, ...]
    r2: tuple[float | None, ...]
    rms: tuple[float, ...]
    dataset: str
    split: str
    images: int
    of: int
    seed: int
    model_sha256: str
    command: str

    @property
    def key(self) -> Key:
        return "thumbnails", self.dataset, self.split, str(self.images)


@dataclass(frozen=True, kw_only=True)
class Descent:
    """The model that this one was made from, on the images of the `Evaluation` of the same ``dataset`` and ``split``.

    Attributes:
        ancestor: its name.
        ancestor_sha256: of its graphs.
        nll_nats: its bound on these images.
        bits_per_dim: the same, for each value of an image.
        difference_bits_per_dim: this model's minus that, mean over the images; below zero is better.
        standard_error_bits_per_dim: of the difference, image by image.
    """

    ancestor: str
    ancestor_sha256: str
    nll_nats: float
    bits_per_dim: float
    difference_bits_per_dim: float
    standard_error_bits_per_dim: float
    dataset: str
    split: str
    images: int
    of: int
    seed: int
    model_sha256: str
    command: str

    @property
    def key(self) -> Key:
        return "descent", self.dataset, self.split, str(self.images)


Row = Evaluation | CodecSizes | Thumbnails | Descent
_KINDS: tuple[type[Row], ...] = (Evaluation, CodecSizes, Thumbnails, Descent)


def chosen_images(count: int, limit: int | None, seed: int) -> NDArray[np.int64]:
    """Indices of all images, or of a random ``limit`` of them (never the first: files are sorted by class)."""
    if limit is None or limit >= count:
        return np.arange(count)
    chosen: NDArray[np.int64] = np.sort(np.random.default_rng(seed).choice(count, limit, replace=False))
    return chosen


def evaluate(
    model: Model,
    images: ImageSet,
    *,
    split: str,
    samples: int,
    limit: int | None,
    seed: int,
    command: str,
    dataset: str = "",
    jpeg: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Score a split, or a random subset of ``limit`` images of it.

    Args:
        images: as they are to be scored; ``dataset``, ``split`` and ``jpeg`` say in the row what they are.
    """
    order = chosen_images(len(images), limit, seed)
    nll, reconstruction, kl, iwae = [], [], [], []
    batch = max(BATCH, model.nll_batch // samples)  # more on a GPU, where that is soon done
    for start in range(0, len(order), batch):
        scores = model.nll(images.read(order[start : start + batch], None), samples=samples, seed=seed)
        nll.append(scores.nll_nats)
        reconstruction.append(scores.reconstruction_nats)
        kl.append(scores.kl_nats)
        if scores.iwae_nll_nats is not None:
            iwae.append(scores.iwae_nll_nats)
        progress(min(start + batch, len(order)), len(order))
    nll_nats = np.concatenate(nll)
    count = len(nll_nats)
    return Evaluation(
        dataset=dataset,
        jpeg=jpeg,
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
    """The bounds in a bundle that were measured on just these weights, each as `Evaluation` in plain values."""
    return [_plain(row) for row in stored_rows(bundle) if isinstance(row, Evaluation)]


def own_evaluations(bundle: Bundle) -> list[dict[str, Any]]:
    """The bounds of a model's own images, which stand for it in lists: of the data set that was measured first, without
    JPEG copies."""
    stored = stored_evaluations(bundle)
    return [row for row in stored if row["dataset"] == stored[0]["dataset"] and row["jpeg"] is None]


def stored_codecs(bundle: Bundle) -> list[CodecSizes]:
    """What was measured of codecs when just these weights were."""
    return [row for row in stored_rows(bundle) if isinstance(row, CodecSizes)]


def stored_thumbnails(bundle: Bundle) -> list[Thumbnails]:
    """What the levels of just these weights carry."""
    return [row for row in stored_rows(bundle) if isinstance(row, Thumbnails)]


def stored_descent(bundle: Bundle) -> list[Descent]:
    """Just these weights beside those that they were made from."""
    return [row for row in stored_rows(bundle) if isinstance(row, Descent)]


def stored_rows(bundle: Bundle) -> list[Row]:
    """All that was measured of just these weights; what is no result is left out."""
    found = (bundle.evaluation() or {"results": []})["results"]
    parsed = (_parsed(row) for row in found if row.get("model_sha256") == bundle.digest)
    return [row for row in parsed if row is not None]


def _parsed(row: dict[str, Any]) -> Row | None:
    """A row that `save_evaluation` wrote, or None: the file has no hash, and its words reach cards and terminals."""
    for kind in _KINDS:
        try:
            result: Row = dacite.from_dict(kind, row, dacite.Config(strict=True, cast=[tuple]))
        except (dacite.DaciteError, TypeError, ValueError):
            continue
        if not all(len(text) < _TEXT and text.isprintable() for text in _texts(result)):
            return None
        if not result.dataset and (named := _NAMED.search(result.command)):
            return replace(result, dataset=named[1])  # before rows had it
        return result
    return None


def _texts(row: Row) -> Iterator[str]:
    for value in (getattr(row, field.name) for field in fields(row)):
        parts = value if isinstance(value, tuple | dict) else (value,)
        yield from (part for part in parts if isinstance(part, str))


def _plain(row: Row) -> dict[str, Any]:
    """A row as JSON has it."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(row).items()}


def save_evaluation(bundle: Bundle, result: Row) -> None:
    """Add a result to the bundle's ``evaluation.json``; one of the same data, images and samples is replaced."""
    stored = stored_rows(bundle)
    datasets = list(dict.fromkeys(row.dataset for row in [*stored, result]))

    def place(row: Row) -> tuple[int, int, str, int, int, int]:
        """Bounds first; data sets as they came; most images before few."""
        samples = row.samples if isinstance(row, Evaluation) else 0
        jpeg = row.jpeg or 0 if isinstance(row, Evaluation | CodecSizes) else 0
        return _KINDS.index(type(row)), datasets.index(row.dataset), row.split, jpeg, -row.images, samples

    rows = sorted([*(row for row in stored if row.key != result.key), result], key=place)
    content = {"results": [_plain(row) for row in rows]}
    atomic_write(bundle.folder / EVALUATION, (json.dumps(content, indent=2) + "\n").encode())
