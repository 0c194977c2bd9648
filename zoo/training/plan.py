"""A run of so many minutes: its number of steps comes from its own measured speed, and then stands.

Over the first steps, while the learning rate warms up, a run measures how long a step takes (the first ones apart:
they compile and fill caches) and what a validation will take. From that it plans how many steps fit, so that the
learning rate has come down to zero when the time is up. The plan goes into the recipe in the checkpoint: a run that
is resumed keeps it.
"""

from __future__ import annotations

import math
import sys
from dataclasses import replace

from pvae_zoo.training.recipe import TrainingConfig

UNTIMED = 3
"""Steps before the clock starts: they compile, find convolutions and fill caches."""

LOOKS = 5
"""Validations of a short run."""

MARGIN = 0.97
"""Share of the time that is planned; the rest is for checkpoints and pictures."""


def unplanned(config: TrainingConfig) -> TrainingConfig:
    """The options until a plan stands: the warm-up, and no end."""
    return replace(config, steps=sys.maxsize, cooldown_steps=0)


def planned(config: TrainingConfig, steps: int, validate_every: int) -> TrainingConfig:
    """The options of a run of so many steps, validated so often, in place of the recipe's.

    The cool-down and the warm-up of each KL keep their shares of the run. The warm-up of the learning rate keeps its
    steps, because it is the optimiser's moments that it waits for, but takes no more than a tenth of the run.
    """
    share = steps / config.steps
    return replace(
        config,
        steps=steps,
        warmup_steps=min(config.warmup_steps, steps // 10),
        cooldown_steps=round(config.cooldown_steps * share),
        kl_warmup_steps=tuple(round(length * share) for length in config.kl_warmup_steps),
        validate_every=validate_every,
    )


class Pace:
    """Measures the first steps of a run of ``seconds`` that began at ``start``, both on the same clock.

    Args:
        seconds: what the run may take, all in all.
        start: when it began.
        warmup: steps within which the plan is to stand.
    """

    def __init__(self, seconds: float, start: float, warmup: int) -> None:
        self.seconds, self.start, self.warmup = seconds, start, warmup
        self.steps = -UNTIMED
        self._since = self._last = start

    def step(self, now: float) -> bool:
        """Count a step that ended ``now``; whether enough are measured.

        That is 20 steps and a fiftieth of the time, or the whole warm-up; a tenth of the time in any case.
        """
        self.steps, self._last = self.steps + 1, now
        if self.steps <= 0:
            self._since = now
            # Steps so slow that even these few are a third of the time: what was seen of them must do.
            return now - self.start > self.seconds / 3
        spent = (now - self.start) / self.seconds
        enough = self.steps >= 20 and (spent > 0.02 or self.steps + UNTIMED >= self.warmup)
        return enough or spent > 0.1

    def plan(self, now: float, step: int, *, validation: float, validate_every: int) -> tuple[int, int]:
        """How many steps the run takes in all, at least one more than it has, and how many between validations.

        A short run is validated five times all the same, if that takes no more than a tenth of its time.

        Args:
            now: the time.
            step: steps done.
            validation: seconds that a validation takes.
            validate_every: steps between validations in the recipe; there is one at the end too.
        """
        timed = self.steps > 0
        took = (self._last - self._since) / self.steps if timed else (self._last - self.start) / (UNTIMED + self.steps)
        took, left = max(took, 1e-9), MARGIN * self.seconds - (now - self.start)
        looks = max(1, min(LOOKS, int(0.1 * left / max(validation, 1e-9))))
        fits = min((left - validation) / (took + validation / validate_every), (left - looks * validation) / took)
        steps = max(step + 1, step + int(fits))
        return steps, min(validate_every, math.ceil(steps / looks))
