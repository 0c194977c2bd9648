"""Keeps the last good state of a run, and goes back to it (see `pvae_zoo.training.watch`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.training.distributed import World
from pvae_zoo.training.state import State
from pvae_zoo.training.trainee import Terms
from pvae_zoo.training.watch import ROLLBACKS, SLOWER, WINDOW, Watch


class Guard:
    """What looks at the bound after every step.

    Args:
        state: of the run.
        world: the processes, which all come to the same answer.

    Attributes:
        watch: what is remembered of the bound.
    """

    def __init__(self, state: State, world: World) -> None:
        self.state, self.world, self.watch = state, world, Watch()
        self._good: dict[str, Tensor] = {}

    def begin(self) -> None:
        """Keep the state that a run begins with, where there is none to go back to yet."""
        if not self._good and self.state.finite():
            self._good = self.state.copy()

    def resume(self, watch: Watch, good: Mapping[str, Tensor], device: torch.device) -> None:
        """Take up what a checkpoint holds."""
        self.watch, self._good = watch, {name: value.to(device) for name, value in good.items()}

    def tensors(self) -> dict[str, Tensor]:
        """The kept state under its names in a checkpoint."""
        return {f"good.{name}": value for name, value in self._good.items()}

    def look(self, terms: Terms | None, step: int, *, warming: bool) -> str:
        """Take in a step.

        Args:
            terms: of the step, None if it was left out.
            step: how many are done.
            warming: whether the weights of the KLs still rise.

        Returns:
            What happened if the run went back, "" otherwise.

        Raises:
            PvaeZooError: if it would have to go back once too often; the last good state then stands.
        """
        if terms is None:
            self.watch = self.watch.left_out()
        else:
            bound = float(terms.bound().detach().double().mean())  # waits for nothing: the gradient's norm is known
            self.watch = self.watch.taken(self.world.sum([bound])[0] / self.world.size)
        trouble = self.watch.trouble(step, self.state.trainee.model.architecture.image.dimensions)
        if trouble:
            return self._go_back(f"{trouble} up to step {step}")
        if step % WINDOW == 0:
            closed = self.watch.closed(warming=warming)
            if self.watch.keeps(step, closed.best):
                self._good, closed = self.state.copy(), replace(closed, good=closed.best)
            self.watch = closed
        return ""

    def _go_back(self, trouble: str) -> str:
        if self._good:
            self.state.restore(self._good)
        if not self._good or self.watch.rollbacks >= ROLLBACKS:
            tries = f" after going back {self.watch.rollbacks} times" if self.watch.rollbacks else ""
            self.watch = replace(self.watch, total=0.0, count=0, skipped=0, best=self.watch.good)
            raise PvaeZooError(f"{trouble}{tries}: go on with --resume and a lower --learning-rate")
        self.watch = self.watch.rolled_back()
        return f"{trouble}: back to the last good weights ({self.watch.rollbacks} of {ROLLBACKS}), rate x {SLOWER}"
