"""A run that no one watches must not be lost: when its bound leaps, it goes back to the last good state, more slowly.

Every 25 steps the mean of the bound over them is compared with the best such mean. Where it is near it, the state is
kept in memory from time to time; where it leaps above it, or is not finite, or ten gradients in a row are not, the
run goes back to that state with a lower learning rate. The steps go on counting, so that it meets other images and
its end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

WINDOW = 25
"""Steps of a mean."""

LEAP = 1.25
"""A mean that is so many times the best one is a leap."""

SLACK_BITS = 0.01
"""And above it by so many bits per dimension: of a bound near zero, a quarter is nothing."""

NEAR = 1.1
"""A mean that is at most so many times the best one belongs to a good state."""

KEEP_EVERY = 400
"""Steps between the states that are kept, a multiple of `WINDOW`."""

SLOWER = 0.6
"""Factor of the learning rate each time."""

ROLLBACKS = 5
"""How often at most."""

SKIPS = 10
"""So many gradients in a row that are not finite are no accident."""


@dataclass(frozen=True, kw_only=True)
class Watch:
    """What a run remembers of its bound (-ELBO in nats; in the second stage the sum of the KLs).

    Attributes:
        total: sum over the steps of this window, over all processes.
        count: how many were taken.
        skipped: steps in a row that were left out, because their gradient was not finite.
        best: the best mean of a window.
        good: the best mean when the kept state was kept, infinite for the one that the run began with.
        factor: of the learning rate.
        rollbacks: how often the run went back.
    """

    total: float = 0.0
    count: int = 0
    skipped: int = 0
    best: float = math.inf
    good: float = math.inf
    factor: float = 1.0
    rollbacks: int = 0

    def taken(self, bound: float) -> Watch:
        """After a step with this bound."""
        return replace(self, total=self.total + bound, count=self.count + 1, skipped=0)

    def left_out(self) -> Watch:
        """After a step that was left out."""
        return replace(self, skipped=self.skipped + 1)

    def trouble(self, step: int, dimensions: int) -> str:
        """Why the run has to go back after this step; "" if it need not."""
        if self.skipped >= SKIPS:
            return f"the gradient was not finite for {SKIPS} steps"
        highest = LEAP * self.best + SLACK_BITS * dimensions * math.log(2)
        if step % WINDOW or not self.count or self.total / self.count <= highest:  # what is no number is not below it
            return ""
        return f"the bound leapt to {self.total / self.count:.2f} nats from {self.best:.2f}"

    def closed(self, *, warming: bool) -> Watch:
        """After a window without trouble.

        While the weights of the KLs still rise, a bound may rise too: then it is compared with the window before.
        """
        if not self.count:
            return self
        mean = self.total / self.count
        return replace(self, total=0.0, count=0, best=mean if warming else min(self.best, mean))

    def keeps(self, step: int, best: float) -> bool:
        """Whether the state at the end of this window, near the best mean so far, is to be kept."""
        return step % KEEP_EVERY == 0 and self.count > 0 and self.total / self.count <= NEAR * best

    def rolled_back(self) -> Watch:
        """After going back: the learning rate is lower, and the best is that of the state gone back to."""
        return Watch(best=self.good, good=self.good, factor=SLOWER * self.factor, rollbacks=self.rollbacks + 1)
