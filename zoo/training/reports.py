"""What a run says of itself while it trains."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.training.auxiliary import Auxiliary, thumbnails_of
from pvae_zoo.training.trainee import Terms


@dataclass(frozen=True)
class Means:
    """Means over images, in nats an image.

    Attributes:
        log_likelihood: log p(x|z1); None where the pixels were not run.
        kl: of each level, bottom first.
        r2: of each level's thumbnails, bottom first: 1 - squared error / variance of their values about the mean of
            each colour over all places and images; None of a level that was not run.
    """

    log_likelihood: float | None
    kl: tuple[float, ...]
    r2: tuple[float | None, ...]

    @property
    def elbo(self) -> float | None:
        """The bound; None where the pixels were not run."""
        return None if self.log_likelihood is None else self.log_likelihood - sum(self.kl)


@dataclass(frozen=True, kw_only=True)
class Report:
    """A line of ``metrics.jsonl``, every few seconds and after each validation; means in nats an image.

    Attributes:
        kind: "train", "valid" or "rollback".
        step: steps done.
        steps: of the whole run, 0 while none are planned.
        elbo: the bound; None in training of the second stage, where the pixels are not run.
        bits_per_dim: minus the bound, for each value of the image.
        reconstruction: minus log p(x|z1).
        kl: of each level, bottom first.
        r2: of each level's thumbnails (see `Means`).
        images_per_second: over all processes; 0 of a validation.
        seconds_left: to the end of the run; 0 of a validation.
        note: what happened, of a rollback; how the best is chosen, of a validation of the second stage.
    """

    kind: str
    step: int
    steps: int
    elbo: float | None
    bits_per_dim: float | None
    reconstruction: float | None
    kl: tuple[float, ...]
    r2: tuple[float | None, ...] = ()
    images_per_second: float = 0.0
    seconds_left: float = 0.0
    note: str = ""

    @classmethod
    def of(cls, kind: str, means: Means, image: ImageShape, *, step: int, steps: int, **rest: float | str) -> Report:
        elbo, pixels = means.elbo, means.log_likelihood
        return cls(
            kind=kind, step=step, steps=steps, elbo=elbo, kl=means.kl, r2=means.r2,
            bits_per_dim=None if elbo is None else -elbo / (image.dimensions * math.log(2)),
            reconstruction=None if pixels is None else -pixels,
            **rest,  # type: ignore[arg-type]
        )  # fmt: skip


class Meter:
    """Means over the batches since it was made.

    Args:
        auxiliary: whose thumbnails are told.
        start: when it was made, on the clock of whoever made it.
    """

    def __init__(self, auxiliary: Auxiliary, start: float = 0.0) -> None:
        self.auxiliary = auxiliary
        self.start = start
        self.images = 0
        self.steps = 0
        self._sums: dict[str, Tensor] = {}

    def add(self, terms: Terms, x: Tensor) -> None:
        """Take in the terms of a batch of images ``x`` ``(B, C, H, W)``; waits for no device."""
        parts = {f"kl{level}": kl for level, kl in enumerate(terms.kl)}
        if terms.log_likelihood is not None:
            parts["pixels"] = terms.log_likelihood
        for level, errors in enumerate(terms.errors):
            if errors is not None:
                values = thumbnails_of(x, self.auxiliary.image, self.auxiliary.thumbnails[level].size)
                parts |= {
                    f"error{level}": errors,
                    f"sum{level}": values.sum((2, 3)),
                    f"squares{level}": values.square(),
                }
        for name, part in parts.items():
            total = part.detach().double().flatten(1 if name.startswith("sum") else 0).sum(0)
            self._sums[name] = self._sums[name] + total if name in self._sums else total
        self.images += len(x)
        self.steps += 1

    def means(self) -> Means:
        """Of all that was added, at least one image."""
        levels = sum(name.startswith("kl") for name in self._sums)
        pixels = float(self._sums["pixels"]) / self.images if "pixels" in self._sums else None
        kl = tuple(float(self._sums[f"kl{level}"]) / self.images for level in range(levels))
        return Means(pixels, kl, tuple(self._r2(level) for level in range(len(self.auxiliary.heads))))

    def _r2(self, level: int) -> float | None:
        if f"error{level}" not in self._sums:
            return None
        values = self.images * self.auxiliary.thumbnails[level].size ** 2  # of each colour
        variance = self._sums[f"squares{level}"] - self._sums[f"sum{level}"].square().sum() / values
        return 1 - float(self._sums[f"error{level}"]) / max(1e-12, float(variance))
