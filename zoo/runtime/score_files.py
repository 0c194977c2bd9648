"""Scoring image files, any number of them in the same memory: only the figures are kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.data.images import ImageError, ImageSource
from pvae_zoo.runtime.model import Model
from pvae_zoo.runtime.scoring import Scores

BATCH = 64

T = TypeVar("T")
Read = Callable[[ImageSource], tuple[NDArray[np.uint8], str | None] | ImageError]
"""Gives an image ``(C, H, W)`` with a note on it, or why it cannot be used."""

DRAWS = 1024
"""Draws of latents before the next rows are known, of all images that are scored at once."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Of one image, or the mean of several: positive, smaller is better, in nats an image unless named otherwise."""

    bits_per_dim: float
    nll_nats: float
    reconstruction_nats: float
    kl_nats: tuple[float, ...]
    iwae_nll_nats: float | None


NAMES = tuple(field.name for field in fields(Figures))


@dataclass(frozen=True)
class Row:
    """What became of one file: its figures, or the reason why there are none; a note of what was converted."""

    path: str
    figures: Figures | None
    reason: str | None = None
    note: str | None = None

    @property
    def failed(self) -> bool:
        return self.figures is None

    def as_dict(self) -> dict[str, Any]:
        """The row as reports and part files have it."""
        if self.figures is None:
            return {"path": self.path, "status": "error", "reason": self.reason}
        note = {} if self.note is None else {"note": self.note}
        return {"path": self.path, "status": "ok"} | note | figures_by_name(self.figures)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Row:
        """The row that `as_dict` gave, to the last bit, after JSON too."""
        if data["status"] != "ok":
            return cls(data["path"], None, reason=data["reason"])
        figures = {name: data.get(name) for name in NAMES}
        return cls(data["path"], Figures(**figures | {"kl_nats": tuple(data["kl_nats"])}), note=data.get("note"))


class Summary:
    """The figures of all rows so far, in the memory of one (Welford's running mean and variance)."""

    def __init__(self) -> None:
        self.count = 0
        """Images that were scored."""
        self.failed = 0
        self._mean: NDArray[np.float64] = np.zeros(0)
        self._squares = 0.0
        self._has_iwae = False

    def add(self, row: Row) -> None:
        if row.figures is None:
            self.failed += 1
            return
        f = row.figures
        self._has_iwae = f.iwae_nll_nats is not None
        values = np.array([f.bits_per_dim, f.nll_nats, f.reconstruction_nats, f.iwae_nll_nats or 0.0, *f.kl_nats])
        self.count += 1
        if self.count == 1:
            self._mean = np.zeros_like(values)
        gap = values - self._mean
        self._mean += gap / self.count
        self._squares += float(gap[1] * (values[1] - self._mean[1]))

    @property
    def mean(self) -> Figures | None:
        """Mean figures of the images that were scored; None if there was none."""
        if not self.count:
            return None
        bits, nll, reconstruction, iwae, *kl = (float(value) for value in self._mean)
        return Figures(
            bits_per_dim=bits,
            nll_nats=nll,
            reconstruction_nats=reconstruction,
            kl_nats=tuple(kl),
            iwae_nll_nats=iwae if self._has_iwae else None,
        )

    @property
    def standard_error_nats(self) -> float | None:
        """Standard error of the mean ``nll_nats``; 0 for one image, None for none."""
        if self.count < 2:
            return 0.0 if self.count else None
        return math.sqrt(self._squares / (self.count - 1) / self.count)


def score_files(
    model: Model,
    sources: Sequence[ImageSource],
    read: Read,
    *,
    samples: int = 1,
    seed: int = 0,
    batch_size: int = BATCH,
) -> Iterator[Row]:
    """Score files in their order.

    The figures of an image are its own, whatever the other files and ``batch_size`` are.

    Args:
        model: scores.
        sources: from `pvae_zoo.data.images.find_images`.
        read: gives the image ``(C, H, W)`` as the model takes it with a note on it, or why it cannot be used.
        samples: draws of z an image; more than one add the importance-weighted bound.
        seed: of the draws.
        batch_size: images in memory at once.
    """

    def figures(images: NDArray[np.uint8]) -> Iterator[Figures]:
        return _figures(model.nll(images, samples=samples, seed=seed))

    # Fewer of many draws each: a row is there as soon as it is known, and an interrupt keeps it.
    at_once = max(1, min(batch_size, max(model.threads, DRAWS // samples)))
    for source, result, note in in_slices(sources, read, figures, at_once):
        if isinstance(result, ImageError):
            yield Row(source.name, None, reason=str(result))
        else:
            yield Row(source.name, result, note=note)


def in_slices(
    sources: Sequence[ImageSource], read: Read, work: Callable[[NDArray[np.uint8]], Iterator[T]], batch_size: int
) -> Iterator[tuple[ImageSource, T | ImageError, str | None]]:
    """Work on images a slice at a time: what came of each, in their order, and the note on it.

    Args:
        sources: opened when their slice is read.
        read: see `score_files`; an image that cannot be used stands in its row, and ``work`` does not see it.
        work: from images ``(N, C, H, W)`` to one result each.
        batch_size: images in memory at once.
    """
    for start in range(0, len(sources), batch_size):
        batch = sources[start : start + batch_size]
        found = [read(source) for source in batch]
        images = [result[0] for result in found if not isinstance(result, ImageError)]
        results: Iterator[T] = work(np.stack(images)) if images else iter(())
        for source, result in zip(batch, found, strict=True):
            if isinstance(result, ImageError):
                yield source, result, None
            else:
                yield source, next(results), result[1]


def _figures(scores: Scores) -> Iterator[Figures]:
    """A row each; what `Scores` computes from its arrays is computed once."""
    bits, nll, iwae = scores.bits_per_dim, scores.nll_nats, scores.iwae_nll_nats
    for index in range(len(scores)):
        yield Figures(
            bits_per_dim=float(bits[index]),
            nll_nats=float(nll[index]),
            reconstruction_nats=float(scores.reconstruction_nats[index]),
            kl_nats=tuple(float(value) for value in scores.kl_nats[index]),
            iwae_nll_nats=None if iwae is None else float(iwae[index]),
        )


def figures_by_name(figures: Figures) -> dict[str, Any]:
    """The figures by their names; ``iwae_nll_nats`` only where there is one."""
    return {name: value for name in NAMES if (value := getattr(figures, name)) is not None}
