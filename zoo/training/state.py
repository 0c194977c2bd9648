"""Everything that a step changes, as flat named tensors: to be written, read, kept in memory and gone back to."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from pvae_zoo.training.checkpoint import optimizer_tensors, restore_optimizer
from pvae_zoo.training.trainee import Trainee

_AVERAGED = {"model": "ema", "auxiliary": "auxiliary_ema"}
"""The section of a checkpoint that holds the moving average of another section."""


class State:
    """The weights being trained, their moving average and the optimiser's moments.

    Attributes:
        weights: the parameters themselves, by name: loading and training write into them.
        average: their exponential moving average, which is what a user gets.
    """

    def __init__(self, trainee: Trainee, optimizer: torch.optim.Optimizer) -> None:
        self.trainee, self.optimizer = trainee, optimizer
        self.weights: dict[str, Tensor] = trainee.state_dict()
        self.average = {name: value.detach().clone() for name, value in self.weights.items()}

    def averaged(self) -> dict[str, Tensor]:
        """The average under its names in a checkpoint: ``ema.*`` and ``auxiliary_ema.*``."""
        return {_average_name(name): value for name, value in self.average.items()}

    def tensors(self) -> dict[str, Tensor]:
        """All of it under the names of a checkpoint; the tensors themselves, not copies."""
        return {**self.weights, **self.averaged(), **optimizer_tensors(self.optimizer)}

    def copy(self) -> dict[str, Tensor]:
        """Copies of `tensors`, to come back to."""
        return {name: value.detach().clone() for name, value in self.tensors().items()}

    def finite(self) -> bool:
        """Whether every weight is a number."""
        return all(bool(torch.isfinite(value).all()) for value in self.weights.values())

    def fits(self, tensors: Mapping[str, Tensor]) -> bool:
        """Whether these are tensors of such a state: the same names and shapes, the optimiser's moments apart."""
        own = {name: value.shape for name, value in [*self.weights.items(), *self.averaged().items()]}
        return own == {k: v.shape for k, v in tensors.items() if k.split(".", 1)[0] in _SECTIONS}

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over the values of `tensors`, which stay as they are."""
        for name, value in self.weights.items():
            value.copy_(tensors[name])
            self.average[name].copy_(tensors[_average_name(name)])
        moments = {k.removeprefix("optimizer."): v.clone() for k, v in tensors.items() if k.startswith("optimizer.")}
        restore_optimizer(self.optimizer, moments)

    @torch.no_grad()
    def start_from(self, values: Mapping[str, Tensor]) -> None:
        """Weights to begin with, some or all of them, under the names of the trainee."""
        for name, value in values.items():
            self.weights[name].copy_(value)
            self.average[name].copy_(value)

    @torch.no_grad()
    def follow(self, decay: float) -> None:
        """Move the average towards the weights."""
        torch._foreach_lerp_(list(self.average.values()), [self.weights[name] for name in self.average], 1 - decay)


_SECTIONS = {*_AVERAGED, *_AVERAGED.values()}


def _average_name(name: str) -> str:
    section, rest = name.split(".", 1)
    return f"{_AVERAGED[section]}.{rest}"
