"""Scoring image files, any number of them in the same memory: only the figures are kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from itertools import zip_longest
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.data.images import ImageError, ImageSource
from pvae_zoo.runtime.ahead import one_ahead
from pvae_zoo.runtime.model import Model
from pvae_zoo.runtime.precisions import FLOAT32, ScorePrecision
from pvae_zoo.runtime.scoring import Scores
from pvae_zoo.runtime.sessions import CPU, CUDA
from pvae_zoo.runtime.side_by_side import Check

T = TypeVar("T")
_Found = tuple[NDArray[np.uint8], str | None] | ImageError
Read = Callable[[ImageSource], _Found]
"""Gives an image ``(C, H, W)`` with a note on it, or why it cannot be used."""

DRAWS = {CPU: 1024, CUDA: 4096}
"""Draws of latents before the next rows are known, of all images that are scored at once."""

COMPARED = 16
"""Images that are scored in float32 too, where another precision is asked for: the first ones."""


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
    """What became of one file.

    Attributes:
        figures: None where it cannot be used.
        reason: why it cannot.
        note: of what was converted.
        float32_bits_per_dim: the bound in float32 of an image whose figures are in another precision, where it was
            measured: of the first ones.
    """

    path: str
    figures: Figures | None
    reason: str | None = None
    note: str | None = None
    float32_bits_per_dim: float | None = None

    @property
    def failed(self) -> bool:
        return self.figures is None

    def as_dict(self) -> dict[str, Any]:
        """The row as reports and part files have it."""
        if self.figures is None:
            return {"path": self.path, "status": "error", "reason": self.reason}
        more = {"note": self.note, "float32_bits_per_dim": self.float32_bits_per_dim}
        given = {name: value for name, value in more.items() if value is not None}
        return {"path": self.path, "status": "ok"} | given | figures_by_name(self.figures)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Row:
        """The row that `as_dict` gave, to the last bit, after JSON too."""
        if data["status"] != "ok":
            return cls(data["path"], None, reason=data["reason"])
        figures = {name: data.get(name) for name in NAMES}
        return cls(
            data["path"],
            Figures(**figures | {"kl_nats": tuple(data["kl_nats"])}),
            note=data.get("note"),
            float32_bits_per_dim=data.get("float32_bits_per_dim"),
        )


@dataclass(frozen=True, kw_only=True)
class PrecisionDifference:
    """How the bound in another precision differs from that in float32, in bits per dimension.

    Attributes:
        images: that were scored in both.
        mean_bits_per_dim: of what the other one is larger by.
        largest_bits_per_dim: of these differences, without its sign.
    """

    images: int
    mean_bits_per_dim: float
    largest_bits_per_dim: float


class Summary:
    """The figures of all rows so far, in the memory of one (Welford's running mean and variance)."""

    def __init__(self) -> None:
        self.count = 0
        """Images that were scored."""
        self.failed = 0
        self._mean: NDArray[np.float64] = np.zeros(0)
        self._squares = 0.0
        self._has_iwae = False
        self._gaps = (0, 0.0, 0.0)

    def add(self, row: Row) -> None:
        if row.figures is None:
            self.failed += 1
            return
        f = row.figures
        if row.float32_bits_per_dim is not None:
            (count, total, largest), gap_bits = self._gaps, f.bits_per_dim - row.float32_bits_per_dim
            self._gaps = count + 1, total + gap_bits, max(largest, abs(gap_bits))
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
    def difference(self) -> PrecisionDifference | None:
        """From float32, where images were scored in that too."""
        count, total, largest = self._gaps
        if not count:
            return None
        return PrecisionDifference(images=count, mean_bits_per_dim=total / count, largest_bits_per_dim=largest)

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
    batch_size: int | None = None,
    precision: ScorePrecision = FLOAT32,
    compared: int = COMPARED,
) -> Iterator[Row]:
    """Score files in their order.

    The figures of an image are its own, whatever the other files and ``batch_size`` are.

    Args:
        model: scores.
        sources: from `pvae_zoo.data.images.find_images`.
        read: gives the image ``(C, H, W)`` as the model takes it with a note on it, or why it cannot be used.
        samples: draws of z an image; more than one add the importance-weighted bound.
        seed: of the draws.
        batch_size: images in memory at once; by itself `Model.nll_batch`.
        precision: see `Model.nll`.
        compared: that many of the images that can be used, the first ones, are scored in float32 too if ``precision``
            is another one.
    """
    left = 0 if precision == FLOAT32 else compared

    def figures(images: NDArray[np.uint8]) -> Iterator[tuple[Figures, float | None]]:
        nonlocal left
        scored = _figures(model.nll(images, samples=samples, seed=seed, precision=precision))
        both, left = images[:left], max(0, left - len(images))
        bits = list(model.nll(both, samples=samples, seed=seed).bits_per_dim) if len(both) else []
        return zip_longest(scored, (float(value) for value in bits))

    # Fewer of many draws each: a row is there as soon as it is known, and an interrupt keeps it.
    at_once = max(1, min(batch_size or model.nll_batch, max(model.threads, DRAWS[model.provider] // samples)))
    for source, result, note in in_slices(sources, read, figures, at_once, ahead=model.provider == CUDA):
        if isinstance(result, ImageError):
            yield Row(source.name, None, reason=str(result))
        else:
            yield Row(source.name, result[0], note=note, float32_bits_per_dim=result[1])


def in_slices(
    sources: Sequence[ImageSource],
    read: Read,
    work: Callable[[NDArray[np.uint8]], Iterator[T]],
    batch_size: int,
    *,
    ahead: bool = False,
) -> Iterator[tuple[ImageSource, T | ImageError, str | None]]:
    """Work on images a slice at a time: what came of each, in their order, and the note on it.

    Args:
        sources: opened when their slice is read.
        read: see `score_files`; an image that cannot be used stands in its row, and ``work`` does not see it.
        work: from images ``(N, C, H, W)`` to one result each.
        batch_size: images in memory at once.
        ahead: read the next slice, by another thread, while ``work`` has the present one: two slices in memory.
    """

    def slices(check: Check) -> Generator[list[tuple[ImageSource, _Found]], None, None]:
        for start in range(0, len(sources), batch_size):
            found = []
            for source in sources[start : start + batch_size]:
                check()
                found.append((source, read(source)))
            yield found

    with closing(one_ahead(slices) if ahead and len(sources) > batch_size else slices(lambda: None)) as batches:
        for batch in batches:
            images = [result[0] for _, result in batch if not isinstance(result, ImageError)]
            results: Iterator[T] = work(np.stack(images)) if images else iter(())
            for source, result in batch:
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
