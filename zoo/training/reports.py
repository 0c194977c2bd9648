"""What a run says of itself while it trains."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from pvae_zoo.models.pixelvae import Elbo
from pvae_zoo.training.distributed import World
from pvae_zoo.training.recipe import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a run says of itself, every few seconds and after each validation; means in nats an image."""

    kind: str
    step: int
    steps: int
    elbo: float
    reconstruction: float
    kl: tuple[float, ...]
    images_per_second: float
    seconds_left: float


class Meter:
    """Means over the steps since the last report."""

    def __init__(self) -> None:
        self.start = time.monotonic()
        self.images = 0
        self.steps = 0
        self.sums: Tensor | None = None

    def add(self, elbo: Elbo) -> None:
        parts = torch.stack([elbo.log_likelihood, *elbo.kl]).detach().double().sum(1)
        self.sums = parts if self.sums is None else self.sums + parts
        self.images += len(elbo.log_likelihood)
        self.steps += 1

    def report(self, kind: str, step: int, config: TrainingConfig, world: World) -> Report:
        assert self.sums is not None
        mean = [float(value) for value in self.sums / self.images]
        seconds = time.monotonic() - self.start
        return Report(
            kind=kind, step=step, steps=config.steps, elbo=mean[0] - sum(mean[1:]), reconstruction=-mean[0],
            kl=tuple(mean[1:]), images_per_second=self.images * world.size / seconds,
            seconds_left=(config.steps - step) * seconds / self.steps,
        )  # fmt: skip
