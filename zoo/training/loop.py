"""The training loop: one process or many, exact to resume, safe to kill.

Everything random is a function of (seed, step): the order of the images, the noise of the latents, the channels that
are dropped. So a run that was killed and resumed walks the same path as one that was not, and nothing but the step has
to be remembered. Latent noise is drawn for the global batch and cut by rank, so that two processes with batches of b
compute what one computes with 2b.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pvae_zoo.atomic import atomic_write, write_error
from pvae_zoo.errors import PvaeZooError
from pvae_zoo.models.pixelvae import Elbo, PixelVAE
from pvae_zoo.training.augmentation import view_generator
from pvae_zoo.training.checkpoint import (
    BEST,
    LATEST,
    NOT_STARTED,
    Checkpoint,
    Progress,
    load_checkpoint,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
)
from pvae_zoo.training.compilation import check_gradients
from pvae_zoo.training.datasets import ImageSet
from pvae_zoo.training.distributed import World
from pvae_zoo.training.interrupt import stop_requested
from pvae_zoo.training.recipe import Recipe
from pvae_zoo.training.reports import Meter, Report
from pvae_zoo.training.schedule import (
    batch_indices,
    charged_kl,
    latent_noise,
    learning_rate,
    parameter_groups,
    step_generator,
)

CHECKPOINT_SECONDS = 120.0
REPORT_SECONDS = 10.0
VALIDATION_BATCH = 50
SKIPS = 10

Batch = tuple[Tensor, list[Tensor]]
"""Images ``(B, C, H, W)`` and the noise of each level of latents, ``(B, *latent_shape)``."""


class Trainer:
    """One training run in a folder.

    Args:
        recipe: what to train.
        out: the run's folder; holds the checkpoint, the best weights and ``metrics.jsonl``.
        world: this process among those that train together.
        device: where to compute.
        compile_model: let ``torch.compile`` fuse the network (needs a C++ compiler on a CPU).
        report: called with every report, on rank 0.
    """

    def __init__(
        self,
        recipe: Recipe,
        out: Path,
        *,
        world: World,
        device: str = "cpu",
        compile_model: bool = False,
        report: Callable[[Report], None] = lambda report: None,
    ) -> None:
        self.recipe, self.out, self.world, self.report = recipe, out, world, report
        self.config = recipe.training
        self.device = torch.device(device)
        torch.manual_seed(self.config.seed)
        self.model = PixelVAE(recipe.model).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._weights = self.model.state_dict()  # the parameters themselves: loading and training write into them
        self.ema = {name: value.detach().clone() for name, value in self._weights.items()}
        self._ahead: tuple[int, Batch] | None = None
        fused = self.device.type == "cuda"
        if fused:
            torch.backends.cudnn.benchmark = True  # shapes never change: the fastest convolutions are worth finding
        groups = parameter_groups(self.model, self.config)
        # A short memory of squared gradients: runs with 0.999 at a learning rate of 2e-3 blew up after 7,000 steps. At
        # 1.2e-3 with 0.99 none has; which of the two it was has not been tried.
        self.optimizer = torch.optim.AdamW(groups, lr=self.config.learning_rate, betas=(0.9, 0.99), fused=fused)
        self._skipped = 0
        self.progress = Progress(hardware=_hardware(self.device))
        network: nn.Module = self.model
        if world.size > 1:
            network = DistributedDataParallel(network)
        self.network: nn.Module = torch.compile(network) if compile_model else network  # type: ignore[assignment]
        # bf16 pays on matrix units and in bandwidth; float32 keeps tiny models and tests exact.
        self.bf16 = self.device.type == "cuda" or bool(torch.backends.mkldnn.is_available() and _has_bf16_units())

    def initialise(self, path: Path) -> None:
        """Start from the averaged weights of another model's checkpoint, wherever names and shapes agree.

        Raises:
            PvaeZooError: if nothing agrees.
        """
        checkpoint = load_checkpoint(path)
        own = self.model.state_dict()
        taken = {k: v for k, v in checkpoint.section("ema").items() if k in own and own[k].shape == v.shape}
        if not taken:
            raise PvaeZooError(f"--init {path}: no weight of that model fits this recipe")
        self.model.load_state_dict(own | taken)
        self.ema = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        recipe, step = checkpoint.recipe.name, checkpoint.progress.step
        source = f"{recipe} at step {step} ({len(taken)} of {len(own)} tensors)"
        # What it cost to make those weights is part of what it costs to make these.
        spent = checkpoint.progress
        self.progress = self.progress.advanced(initialised_from=source, images=spent.images, seconds=spent.seconds)

    def resume(self) -> None:
        """Take up the run where its last checkpoint stands.

        Raises:
            PvaeZooError: if there is none, or one of another model.
        """
        checkpoint = load_checkpoint(self.out / LATEST, NOT_STARTED)
        found = {name: value.shape for name, value in checkpoint.section("model").items()}
        if found != {name: value.shape for name, value in self.model.state_dict().items()}:
            raise PvaeZooError(f"{self.out / LATEST} holds another model than the recipe's: choose another --out")
        self.model.load_state_dict(checkpoint.section("model"))
        self.ema = {name: value.to(self.device) for name, value in checkpoint.section("ema").items()}
        restore_optimizer(self.optimizer, checkpoint.section("optimizer"))
        self.progress = checkpoint.progress

    def train(self, images: ImageSet, valid: ImageSet, *, max_minutes: float = math.inf) -> bool:
        """Train until the recipe's last step, the time budget or a signal; a checkpoint is left in every case.

        Returns:
            Whether the recipe was finished.

        Raises:
            KeyboardInterrupt: after SIGINT or SIGTERM, once the checkpoint is written.
            PvaeZooError: if the bound is no longer finite.
        """
        self._tidy()
        if self.network is not self.model and self.world.size == 1:
            self._check_compiled(images)
        start = last_saved = time.monotonic()
        before = self.progress.seconds
        meter = Meter()
        with stop_requested() as stopped:
            while self.progress.step < self.config.steps:
                elbo = self._step(images)
                if elbo is not None:
                    meter.add(elbo)
                now = time.monotonic()
                self.progress = self.progress.advanced(
                    step=self.progress.step + 1,
                    images=self.progress.images + self.config.batch_size * self.world.size,
                    seconds=before + now - start,
                )
                if now - meter.start > REPORT_SECONDS and meter.steps:
                    self._send(meter.report("train", self.progress.step, self.config, self.world))
                    meter = Meter()
                done = self.progress.step == self.config.steps
                if done or self.progress.step % self.config.validate_every == 0:
                    self._validate(valid)
                    meter = Meter()
                # Every rank must leave at the same step, or the others wait for it for ever.
                stop = self.world.any(stopped() or now - start > max_minutes * 60)
                if done or stop or now - last_saved > CHECKPOINT_SECONDS:
                    self._save(LATEST)
                    last_saved = now
                if stop:
                    break
            if stopped():
                raise KeyboardInterrupt
        return self.progress.step == self.config.steps

    def _check_compiled(self, images: ImageSet) -> None:
        count = min(len(images), self.config.batch_size)
        x = torch.from_numpy(images.read(np.arange(count), None)).to(self.device)
        noise = latent_noise(self.recipe.model, count, step_generator(self.config.seed, 0))
        check_gradients(self.model, self.network, x, [eps.to(self.device) for eps in noise], bf16=self.bf16)

    def _step(self, images: ImageSet) -> Elbo | None:
        """One optimiser step; None if it was left out because its gradient was not finite."""
        config, step = self.config, self.progress.step
        self.network.train()
        x, noise = self._ahead[1] if self._ahead and self._ahead[0] == step else self._batch(images, step)
        torch.manual_seed(step_generator(config.seed, step, 1 + self.world.rank).initial_seed())  # for dropout
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            elbo: Elbo = self.network(x, noise)
        loss = -(elbo.log_likelihood - charged_kl(config, step, elbo)).mean()
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * learning_rate(config, step)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), config.clip_norm)
        if step + 1 < config.steps:
            # A GPU is still busy with the gradient, and the next line waits for it: read the next images meanwhile.
            self._ahead = step + 1, self._batch(images, step + 1)
        if not torch.isfinite(norm):  # the norm is of the gradients of all processes, so all of them agree
            self._skip()
            return None
        self._skipped = 0
        self.optimizer.step()
        self._update_ema()
        return elbo

    def _batch(self, images: ImageSet, step: int) -> Batch:
        """What a step trains on, on the device: this process's images, and its share of the noise of all latents."""
        config, first = self.config, self.world.rank * self.config.batch_size
        views = view_generator(config.seed, step, first)
        x = torch.from_numpy(images.read(batch_indices(config, len(images), self.world, step), views))
        noise = latent_noise(self.recipe.model, len(x) * self.world.size, step_generator(config.seed, step))
        return self._on_device(x), [self._on_device(eps[first : first + len(x)]) for eps in noise]

    def _on_device(self, values: Tensor) -> Tensor:
        """A copy there; from pinned memory, because a copy from any other waits for all that a GPU has to do."""
        return values.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else values

    def _skip(self) -> None:
        """Leave a step out: a single outlier must not end a run, a run of them is no accident."""
        self._skipped += 1
        if self._skipped == SKIPS:
            step = self.progress.step + 1
            raise PvaeZooError(
                f"the bound is not finite for {SKIPS} steps up to step {step}: resume with a lower --learning-rate"
            )

    @torch.no_grad()
    def _update_ema(self) -> None:
        # The first steps count little: an average that starts at the initial weights would drag them along.
        decay = min(self.config.ema_decay, (1 + self.progress.step) / (10 + self.progress.step))
        torch._foreach_lerp_(list(self.ema.values()), [self._weights[name] for name in self.ema], 1 - decay)

    @torch.no_grad()
    def _validate(self, valid: ImageSet) -> None:
        """Mean ELBO of the averaged weights on the validation set, always with the same noise; keeps the best."""
        if self.world.rank == 0:
            mean = self.evaluate(valid)
            kl = tuple(mean[1:])
            elbo = mean[0] - sum(kl)
            report = Report(
                kind="valid", step=self.progress.step, steps=self.config.steps, elbo=elbo, reconstruction=-mean[0],
                kl=kl, images_per_second=0.0, seconds_left=0.0,
            )  # fmt: skip
            if elbo > self.progress.best_elbo:
                self.progress = self.progress.advanced(best_step=self.progress.step, best_elbo=elbo)
                self._save(BEST)
            self._send(report)
        self.world.barrier()

    @torch.no_grad()
    def evaluate(self, images: ImageSet) -> list[float]:
        """Means of the log-likelihood and of each level's KL over ``images``, of the averaged weights."""
        trained = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.model.load_state_dict(self.ema)
        self.model.eval()
        total = torch.zeros(1 + len(self.recipe.model.latents), dtype=torch.float64)
        generator = step_generator(self.config.seed, 0, 1_000_000)
        for start in range(0, len(images), VALIDATION_BATCH):
            indices = np.arange(start, min(start + VALIDATION_BATCH, len(images)))
            batch = torch.from_numpy(images.read(indices, None)).to(self.device)
            noise = [eps.to(self.device) for eps in latent_noise(self.recipe.model, len(batch), generator)]
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
                elbo = self.model(batch, noise)
            parts = torch.stack([elbo.log_likelihood, *elbo.kl])
            total += parts.double().sum(1).cpu()
        self.model.load_state_dict(trained)
        return [float(value) for value in total / len(images)]

    def _save(self, name: str) -> None:
        if self.world.rank:
            return
        tensors = {f"ema.{key}": value for key, value in self.ema.items()}
        if name == LATEST:
            tensors |= {f"model.{key}": value for key, value in self.model.state_dict().items()}
            tensors |= optimizer_tensors(self.optimizer)
        save_checkpoint(self.out / name, Checkpoint(self.recipe, self.progress, tensors))

    def _send(self, report: Report) -> None:
        if self.world.rank:
            return
        path, row = self.out / "metrics.jsonl", {"seconds": round(self.progress.seconds, 1), **vars(report)}
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise write_error(path, error) from error
        self.report(report)

    def _tidy(self) -> None:
        """After a kill: drop half-written files, and what was reported after the checkpoint (it is walked again)."""
        path = self.out / "metrics.jsonl"
        if self.world.rank:
            return
        for orphan in self.out.glob(".*.part"):
            orphan.unlink(missing_ok=True)
        if not path.exists():
            return
        rows = [line for line in path.read_text("utf-8").splitlines() if line.endswith("}")]
        kept = [line for line in rows if json.loads(line)["step"] <= self.progress.step]
        atomic_write(path, "".join(f"{line}\n" for line in kept).encode())


def _hardware(device: torch.device) -> str:
    """What computes, for the card."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{torch.get_num_threads()} CPU threads"


def _has_bf16_units() -> bool:
    """Whether this CPU multiplies bf16 matrices in hardware (AMX, AVX512-BF16); emulated, it is slower than float32."""
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, check, lambda: False)() for check in checks)
