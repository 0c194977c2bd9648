"""Scoring image files, any number of them in the same memory: only the figures are kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.runtime.images import ImageError, ImageSource
from pvae_zoo.runtime.model import PixelVAE
from pvae_zoo.runtime.scoring import Scores

BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Of one image, or the mean of several: positive, smaller is better, in nats an image unless named otherwise."""

    bits_per_dim: float
    nll_nats: float
    reconstruction_nats: float
    kl_nats: tuple[float, ...]
    iwae_nll_nats: float | None


@dataclass(frozen=True)
class Row:
    """What became of one file: its figures, or the reason why there are none; a note of what was converted."""

    path: str
    figures: Figures | None
    reason: str | None = None
    note: str | None = None


@dataclass
class Summary:
    """The figures of all rows so far."""

    failed: int = 0
    _rows: list[NDArray[np.float64]] = field(default_factory=list)

    def add(self, row: Row) -> None:
        if row.figures is None:
            self.failed += 1
            return
        f = row.figures
        iwae = math.nan if f.iwae_nll_nats is None else f.iwae_nll_nats
        self._rows.append(np.array([f.bits_per_dim, f.nll_nats, f.reconstruction_nats, iwae, *f.kl_nats]))

    @property
    def count(self) -> int:
        """Images that were scored."""
        return len(self._rows)

    @property
    def mean(self) -> Figures | None:
        """Mean figures of the images that were scored; None if there was none."""
        if not self._rows:
            return None
        bits, nll, reconstruction, iwae, *kl = (float(value) for value in np.mean(self._rows, axis=0))
        return Figures(
            bits_per_dim=bits,
            nll_nats=nll,
            reconstruction_nats=reconstruction,
            kl_nats=tuple(kl),
            iwae_nll_nats=None if math.isnan(iwae) else iwae,
        )

    @property
    def standard_error_nats(self) -> float | None:
        """Standard error of the mean ``nll_nats``; 0 for one image, None for none."""
        if self.count < 2:
            return 0.0 if self.count else None
        return float(np.array([row[1] for row in self._rows]).std(ddof=1) / math.sqrt(self.count))


def score_files(
    model: PixelVAE,
    sources: Sequence[ImageSource],
    read: Callable[[ImageSource], tuple[NDArray[np.uint8], str | None] | ImageError],
    *,
    samples: int = 1,
    seed: int = 0,
    batch_size: int = BATCH,
) -> Iterator[Row]:
    """Score files in their order.

    The noise belongs to an image's place among those that can be read, so the figures are those of `PixelVAE.nll` on
    these images as one array, whatever ``batch_size`` is.

    Args:
        model: scores.
        sources: from `pvae_zoo.runtime.images.find_images`.
        read: gives the image ``(C, H, W)`` as the model takes it with a note on it, or why it cannot be used.
        samples: draws of z an image; more than one add the importance-weighted bound.
        seed: of the draws.
        batch_size: images in memory at once.
    """
    scored = 0
    for start in range(0, len(sources), batch_size):
        batch = sources[start : start + batch_size]
        results = [read(source) for source in batch]
        images = [result[0] for result in results if not isinstance(result, ImageError)]
        figures: Iterator[Figures] = iter(())
        if images:
            figures = _figures(model.nll(np.stack(images), samples=samples, seed=seed, first=scored))
            scored += len(images)
        for source, result in zip(batch, results, strict=True):
            if isinstance(result, ImageError):
                yield Row(source.name, None, reason=str(result))
            else:
                yield Row(source.name, next(figures), note=result[1])


def _figures(scores: Scores) -> Iterator[Figures]:
    for index in range(len(scores)):
        iwae = scores.iwae_nll_nats
        yield Figures(
            bits_per_dim=float(scores.bits_per_dim[index]),
            nll_nats=float(scores.nll_nats[index]),
            reconstruction_nats=float(scores.reconstruction_nats[index]),
            kl_nats=tuple(float(value) for value in scores.kl_nats[index]),
            iwae_nll_nats=None if iwae is None else float(iwae[index]),
        )


def figures_by_name(figures: Figures | None, samples: int) -> dict[str, Any]:
    """The figures by their names; ``iwae_nll_nats`` only where there is more than one sample."""
    names = ["bits_per_dim", "nll_nats", "reconstruction_nats", "kl_nats", *(["iwae_nll_nats"] if samples > 1 else [])]
    return {name: getattr(figures, name, None) for name in names}
