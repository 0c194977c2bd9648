"""The training loop: one process or many, exact to resume, safe to kill.

Everything random is a function of (seed, step): the order of the images, the noise of the latents, the channels that
are dropped. So a run that was killed and resumed walks the same path as one that was not, and nothing but the step has
to be remembered. Latent noise is drawn for the global batch and cut by rank, so that two processes with batches of b
compute what one computes with 2b.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.base.interrupts import stop_requested
from pvae_zoo.data.datasets import ImageSet
from pvae_zoo.training.abandon import Abandoned
from pvae_zoo.training.checkpoint import (
    BEST,
    LATEST,
    NOT_STARTED,
    Checkpoint,
    RunProgress,
    load_checkpoint,
    save_checkpoint,
)
from pvae_zoo.training.device_images import DeviceImages
from pvae_zoo.training.devices import hardware_name, joined_hardware
from pvae_zoo.training.distributed import World
from pvae_zoo.training.guard import Guard
from pvae_zoo.training.initial import take_weights
from pvae_zoo.training.lock import locked
from pvae_zoo.training.metrics import append_report, forget_after
from pvae_zoo.training.plan import Pace, planned, unplanned
from pvae_zoo.training.recipe import Recipe, TrainingConfig
from pvae_zoo.training.reports import Means, Meter, Report
from pvae_zoo.training.schedule import (
    batch_indices,
    kl_weights,
    parameter_groups,
)
from pvae_zoo.training.state import State
from pvae_zoo.training.stepper import Stepper
from pvae_zoo.training.trainee import Terms, Trainee
from pvae_zoo.training.validation import BATCH as VALIDATION_BATCH
from pvae_zoo.training.validation import validate

CHECKPOINT_SECONDS = 120.0
REPORT_SECONDS = 10.0


class Trainer:
    """One training run in a folder.

    Args:
        recipe: what to train.
        out: the run's folder; holds the checkpoint, the best weights and ``metrics.jsonl``.
        world: this process among those that train together.
        device: where to compute, "cpu" or "cuda".
        compile_model: let ``torch.compile`` fuse the network (needs a C++ compiler on a CPU).
        minutes: plan the number of steps to fill this time (see `pvae_zoo.training.plan`); 0 for the recipe's.
        validate_first: what the run begins with may be the best.
        report: called with every report, on rank 0.
        clock: seconds, rising.

    Raises:
        PvaeZooError: if there is no such device.
    """

    def __init__(
        self,
        recipe: Recipe,
        out: Path,
        *,
        world: World,
        device: str = "cpu",
        compile_model: bool = False,
        minutes: float = 0.0,
        validate_first: bool = False,
        report: Callable[[Report], None] = lambda report: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.recipe, self.out, self.world, self.report, self.clock = recipe, out, world, report, clock
        self._validates_first = validate_first
        self._stopped: Callable[[], bool] = lambda: False
        self.device = world.device(device)
        torch.manual_seed(recipe.training.seed)
        self.trainee = Trainee.of(recipe).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        fused = self.device.type == "cuda"
        if fused:
            torch.backends.cudnn.benchmark = True  # shapes never change: the fastest convolutions are worth finding
        groups = parameter_groups(self.trainee, recipe.training)
        # A short memory of squared gradients: runs with 0.999 at a learning rate of 2e-3 blew up after 7,000 steps. At
        # 1.2e-3 with 0.99 none has; which of the two it was has not been tried.
        self.optimizer = torch.optim.AdamW(groups, lr=recipe.training.learning_rate, betas=(0.9, 0.99), fused=fused)
        self.state = State(self.trainee, self.optimizer)
        self.guard = Guard(self.state, world)
        self.progress = RunProgress(hardware=hardware_name(self.device), minutes=minutes)
        self.stepper = Stepper(self.state, world, self.device, compile_model=compile_model)

    @property
    def config(self) -> TrainingConfig:
        """The schedule; without an end while the run measures its speed."""
        training = self.recipe.training
        return unplanned(training) if self.progress.awaits_plan else training

    def initialise(self, given: Checkpoint, name: str, *, anew: bool = False) -> None:
        """Start from the averaged weights of another run, as `pvae_zoo.training.initial.take_weights` says."""
        progress = take_weights(self.state, given, name, anew=anew)
        ours = joined_hardware(progress.hardware, self.progress.hardware)
        self.progress = replace(progress, hardware=ours, minutes=self.progress.minutes)

    def resume(self, *, slower: bool = False) -> None:
        """Take up the run where its last checkpoint stands.

        Args:
            slower: the learning rate was given anew: forget how often the run went back.

        Raises:
            PvaeZooError: if there is none, or one of another model.
        """
        checkpoint = load_checkpoint(self.out / LATEST, NOT_STARTED)
        if not self.state.fits(checkpoint.tensors):
            raise PvaeZooError(f"{self.out / LATEST} holds another model than the recipe's: choose another --out")
        self.state.restore(checkpoint.tensors)
        progress = checkpoint.progress
        watch = replace(progress.watch, factor=1.0, rollbacks=0) if slower else progress.watch
        self.guard.resume(watch, checkpoint.section("good"), self.device)
        self.progress = progress.advanced(hardware=joined_hardware(progress.hardware, self.progress.hardware))

    def train(self, images: ImageSet, valid: ImageSet, *, max_minutes: float = math.inf) -> bool:
        """Train until the last step, the time budget or a signal; a checkpoint is left in every case.

        Returns:
            Whether the run was finished. What stands when the budget is spent is validated first.

        Raises:
            KeyboardInterrupt: after SIGINT or SIGTERM, once the checkpoint is written; within a validation at once, and
                the last checkpoint stands.
            PvaeZooError: if the bound leaps or is not finite once too often, or an image cannot be read.
        """
        start = self.clock()
        batch_indices(self.config, len(images), self.world, self.progress.step)  # refuses too few of them
        near = (DeviceImages.fitting(images, self.device) if self.device.type == "cuda" else None) or images
        with locked(self.out) if self.world.rank == 0 else nullcontext():
            self._tidy()
            self.stepper.check(near, self.config, self.progress.step)
            self.guard.begin()
            try:
                return self._walk(near, valid, start, max_minutes)
            except PvaeZooError:
                with suppress(PvaeZooError):  # a disk that was full may still be
                    self._save(LATEST)
                raise

    def _walk(self, images: ImageSet | DeviceImages, valid: ImageSet, start: float, max_minutes: float) -> bool:
        last_saved, before, meter = start, self.progress.seconds, self._meter()
        pace = Pace(60 * self.progress.minutes, start, self.recipe.training.warmup_steps)
        with stop_requested() as stopped:
            self._stopped = stopped
            if self.trainee.learns == "prior" and self.progress.pixels_nats is None:
                self.evaluate(valid)  # now, before a plan counts on validations without the pixels
            begins = self._validates_first and self.progress.step == 0
            if self.progress.best_step < 0 and (begins or self.progress.step >= self.config.steps):
                self._validate(valid)  # at the end: it was stopped by an image that it could not read
                self._save(LATEST)
            while self.progress.step < self.config.steps:
                try:
                    taken = self._step(images)
                except Abandoned:
                    self._save(LATEST)
                    break
                if taken is not None:
                    meter.add(*taken)
                now = self.clock()
                self.progress = self.progress.advanced(
                    step=self.progress.step + 1,
                    images=self.progress.images + self.config.batch_size * self.world.size,
                    seconds=before + now - start,
                )
                self._look(taken)
                if self.progress.awaits_plan and self.world.any(pace.step(now)):
                    self._plan(pace, valid)
                if now - meter.start > REPORT_SECONDS and meter.steps:
                    self._report_training(meter, now)
                    meter = self._meter()
                done = self.progress.step == self.config.steps
                # Every rank must leave at the same step, or the others wait for it for ever.
                over = self.world.any(now - start > max_minutes * 60)
                if done or over or self.progress.step % self.config.validate_every == 0:
                    self._validate(valid)
                    meter = self._meter()
                stop = self.world.any(stopped()) or over
                if done or stop or now - last_saved > CHECKPOINT_SECONDS:
                    self._save(LATEST)
                    last_saved = now
                if stop:
                    break
            if stopped():
                raise KeyboardInterrupt
        return self.progress.step == self.config.steps

    def _step(self, images: ImageSet | DeviceImages) -> tuple[Terms, Tensor] | None:
        return self.stepper.step(images, self.config, self.progress.step, self.guard.watch.factor, self._stopped)

    def _look(self, taken: tuple[Terms, Tensor] | None) -> None:
        """After a step: is the bound where it belongs?"""
        step = self.progress.step
        warming = min(kl_weights(self.config, step), default=1.0) < 1
        note = self.guard.look(None if taken is None else taken[0], step, warming=warming)
        if note:
            self._send("rollback", Means(None, (), ()), note=note)

    def _plan(self, pace: Pace, valid: ImageSet) -> None:
        """Let the plan stand, in all processes the same."""
        for _ in range(2):  # the first time finds convolutions
            began = self.clock()
            self._means(valid, limit=VALIDATION_BATCH)
        seconds = (self.clock() - began) * len(valid) / min(len(valid), VALIDATION_BATCH)
        step, every = self.progress.step, self.config.validate_every
        plan = pace.plan(self.clock(), step, validation=seconds, validate_every=every)
        steps, every = (self.world.first(number) for number in plan)
        self.recipe = replace(self.recipe, training=planned(self.recipe.training, steps, every))
        self.progress = self.progress.advanced(planned_at=step)

    def _validate(self, valid: ImageSet) -> None:
        """Mean ELBO of the averaged weights on the validation set; keeps the best."""
        if self.world.rank == 0:
            means = self.evaluate(valid)
            if means.elbo is not None and means.elbo > self.progress.best_elbo:
                self.progress = self.progress.advanced(best_step=self.progress.step, best_elbo=means.elbo)
                self._save(BEST)
            second = self.trainee.learns == "prior"
            self._send("valid", means, note="the pixels stand still: the smallest KL is the best" if second else "")
        self.world.barrier()

    def evaluate(self, images: ImageSet) -> Means:
        """Means over the validation images, of the averaged weights.

        In the second stage z1 is drawn with the same noise from a posterior that stands still, and so does the mean
        log-likelihood of the pixels: they are run the first time only.
        """
        if self.trainee.learns == "all":
            return self._means(images)
        stands = self.progress.pixels_nats
        means = self._means(images, pixels=stands is None)
        if stands is not None:
            return replace(means, log_likelihood=stands)
        self.progress = self.progress.advanced(pixels_nats=means.log_likelihood)
        return means

    def _means(self, images: ImageSet, *, pixels: bool | None = None, limit: int | None = None) -> Means:
        seed = self.recipe.training.seed
        return validate(
            self.state, images, seed=seed, device=self.device, bf16=self.stepper.bf16, pixels=pixels, limit=limit,
            between=self.obey,
        )  # fmt: skip

    def obey(self) -> None:
        """A signal ends a validation at once; the last checkpoint stands. Several processes end it together."""
        if self._stopped() and self.world.size == 1:
            raise KeyboardInterrupt

    def _meter(self) -> Meter:
        return Meter(self.trainee.auxiliary, self.clock())

    def _report_training(self, meter: Meter, now: float) -> None:
        seconds = now - meter.start
        left = 60 * self.progress.minutes  # until the plan stands
        if not self.progress.awaits_plan:
            left = (self.config.steps - self.progress.step) * seconds / meter.steps
        speed = meter.images * self.world.size / seconds
        self._send("train", meter.means(), images_per_second=speed, seconds_left=left)

    def _send(self, kind: str, means: Means, **rest: float | str) -> None:
        if self.world.rank == 0:
            step, steps = self.progress.step, 0 if self.progress.awaits_plan else self.config.steps
            report = Report.of(kind, means, self.recipe.model.image, step=step, steps=steps, **rest)
            append_report(self.out, report, self.progress.seconds)
            self.report(report)

    def _save(self, name: str) -> None:
        if self.world.rank:
            return
        tensors = self.state.averaged()
        if name == LATEST:
            tensors |= self.state.tensors() | self.guard.tensors()
        progress = self.progress.advanced(watch=self.guard.watch)
        save_checkpoint(self.out / name, Checkpoint(self.recipe, progress, tensors))

    def _tidy(self) -> None:
        """After a kill: drop half-written files, and what was reported after the checkpoint (it is walked again)."""
        if self.world.rank == 0:
            for orphan in self.out.glob(".*.part"):
                orphan.unlink(missing_ok=True)
            forget_after(self.out, self.progress.step)
