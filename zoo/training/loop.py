"""The training loop: one process or many, exact to resume, safe to kill.

Everything random is a function of (seed, step): the order of the images, the noise of the latents, the channels that
are dropped. So a run that was killed and resumed walks the same path as one that was not, and nothing but the step has
to be remembered. Latent noise is drawn for the global batch and cut by rank, so that two processes with batches of b
compute what one computes with 2b.
"""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pvae_zoo.atomic import atomic_write, write_error
from pvae_zoo.errors import PvaeZooError
from pvae_zoo.models.architecture import Architecture
from pvae_zoo.models.pixelvae import Elbo, PixelVAE
from pvae_zoo.training.checkpoint import (
    BEST,
    LATEST,
    Checkpoint,
    Progress,
    load_checkpoint,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
)
from pvae_zoo.training.datasets import Images
from pvae_zoo.training.distributed import World
from pvae_zoo.training.recipe import Recipe, TrainingConfig

CHECKPOINT_SECONDS = 120.0
REPORT_SECONDS = 10.0
VALIDATION_BATCH = 250


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


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Linear warm-up, constant, linear cool-down to zero at ``config.steps``."""
    warmup = min(1.0, (step + 1) / max(1, config.warmup_steps))
    cooldown = min(1.0, (config.steps - step) / max(1, config.cooldown_steps))
    return config.learning_rate * min(warmup, cooldown)


def kl_weight(config: TrainingConfig, step: int) -> float:
    """Weight of the KL terms: linear from 0 to 1 (PixelVAE, section 4.1)."""
    return min(1.0, (step + 1) / max(1, config.kl_warmup_steps))


def step_generator(seed: int, step: int, stream: int = 0) -> torch.Generator:
    """Random numbers that depend on the seed and the step alone."""
    words = np.random.SeedSequence([seed, step, stream]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(words[0]) << 32 | int(words[1]))


def latent_noise(architecture: Architecture, count: int, generator: torch.Generator) -> list[Tensor]:
    """Standard normal noise ``(count, *latent_shape)`` for each level, bottom first."""
    return [torch.randn(count, *shape, generator=generator) for shape in architecture.latent_shapes]


def batch_indices(config: TrainingConfig, count: int, world: World, step: int) -> NDArray[np.int64]:
    """This process's share of the images of a step, ``(batch_size,)``.

    Every epoch is a fresh permutation; its last partial batch is left out.
    """
    batch = config.batch_size * world.size
    per_epoch = count // batch
    if per_epoch == 0:
        raise PvaeZooError(f"{count} training images are fewer than one batch of {batch}: lower training.batch_size")
    epoch, position = divmod(step, per_epoch)
    order = np.random.default_rng([config.seed, epoch]).permutation(count)
    mine = position * batch + world.rank * config.batch_size
    share: NDArray[np.int64] = order[mine : mine + config.batch_size]
    return share


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Weights decay; biases and embeddings do not."""
    weights = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    return [{"params": weights, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


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
        self.ema = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        fused = self.device.type == "cuda"
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.model, self.config.weight_decay), lr=self.config.learning_rate, fused=fused
        )
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
        self.progress = self.progress.advanced(initialised_from=source)

    def resume(self) -> None:
        """Take up the run where its last checkpoint stands.

        Raises:
            PvaeZooError: if there is none, or one of another model.
        """
        checkpoint = load_checkpoint(self.out / LATEST)
        found = {name: value.shape for name, value in checkpoint.section("model").items()}
        if found != {name: value.shape for name, value in self.model.state_dict().items()}:
            raise PvaeZooError(f"{self.out / LATEST} holds another model than the recipe's: choose another --out")
        self.model.load_state_dict(checkpoint.section("model"))
        self.ema = {name: value.to(self.device) for name, value in checkpoint.section("ema").items()}
        restore_optimizer(self.optimizer, checkpoint.section("optimizer"))
        self.progress = checkpoint.progress

    def train(self, images: Images, valid: Images, *, max_minutes: float = math.inf) -> bool:
        """Train until the recipe's last step, the time budget or a signal; a checkpoint is left in every case.

        Returns:
            Whether the recipe was finished.

        Raises:
            KeyboardInterrupt: after SIGINT or SIGTERM, once the checkpoint is written.
            PvaeZooError: if the bound is no longer finite.
        """
        self._trim_metrics()
        start = last_saved = time.monotonic()
        before = self.progress.seconds
        meter = _Meter()
        with _stop_requested() as stopped:
            while self.progress.step < self.config.steps:
                elbo = self._step(images)
                meter.add(elbo)
                now = time.monotonic()
                self.progress = self.progress.advanced(
                    step=self.progress.step + 1,
                    images=self.progress.images + self.config.batch_size * self.world.size,
                    seconds=before + now - start,
                )
                if now - meter.start > REPORT_SECONDS:
                    self._send(meter.report("train", self.progress.step, self.config, self.world))
                    meter = _Meter()
                done = self.progress.step == self.config.steps
                if done or self.progress.step % self.config.validate_every == 0:
                    self._validate(valid)
                    meter = _Meter()
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

    def _step(self, images: Images) -> Elbo:
        config, step = self.config, self.progress.step
        self.network.train()
        batch = torch.from_numpy(images[batch_indices(config, len(images), self.world, step)]).to(self.device)
        noise = latent_noise(self.recipe.model, len(batch) * self.world.size, step_generator(config.seed, step))
        mine = slice(self.world.rank * len(batch), (self.world.rank + 1) * len(batch))
        torch.manual_seed(step_generator(config.seed, step, 1 + self.world.rank).initial_seed())  # for dropout
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            elbo: Elbo = self.network(batch, [eps[mine].to(self.device) for eps in noise])
        loss = -(elbo.log_likelihood - kl_weight(config, step) * torch.stack(elbo.kl).sum(0)).mean()
        if not torch.isfinite(loss):
            raise PvaeZooError(f"the bound is not finite at step {step + 1}: lower training.learning_rate and resume")
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(config, step)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), config.clip_norm)
        self.optimizer.step()
        self._update_ema()
        return elbo

    @torch.no_grad()
    def _update_ema(self) -> None:
        # The first steps count little: an average that starts at the initial weights would drag them along.
        decay = min(self.config.ema_decay, (1 + self.progress.step) / (10 + self.progress.step))
        current = self.model.state_dict()
        torch._foreach_lerp_(list(self.ema.values()), [current[name] for name in self.ema], 1 - decay)

    @torch.no_grad()
    def _validate(self, valid: Images) -> None:
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
    def evaluate(self, images: Images) -> list[float]:
        """Means of the log-likelihood and of each level's KL over ``images``, of the averaged weights."""
        trained = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.model.load_state_dict(self.ema)
        self.model.eval()
        total = torch.zeros(1 + len(self.recipe.model.latents), dtype=torch.float64)
        generator = step_generator(self.config.seed, 0, 1_000_000)
        for start in range(0, len(images), VALIDATION_BATCH):
            batch = torch.from_numpy(images[start : start + VALIDATION_BATCH]).to(self.device)
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

    def _trim_metrics(self) -> None:
        """Forget what was reported after the checkpoint: those steps are walked again."""
        path = self.out / "metrics.jsonl"
        if self.world.rank or not path.exists():
            return
        rows = [line for line in path.read_text("utf-8").splitlines() if line.endswith("}")]
        kept = [line for line in rows if json.loads(line)["step"] <= self.progress.step]
        atomic_write(path, "".join(f"{line}\n" for line in kept).encode())


class _Meter:
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


@contextmanager
def _stop_requested() -> Iterator[Callable[[], bool]]:
    """Turn SIGINT and SIGTERM into a question to ask between steps; a second one acts at once."""
    seen: list[int] = []
    handlers: dict[int, Any] = {}

    def remember(number: int, frame: object) -> None:
        seen.append(number)
        for handled, previous in handlers.items():
            signal.signal(handled, previous)

    for name in (signal.SIGINT, signal.SIGTERM):
        try:
            handlers[name] = signal.signal(name, remember)
        except ValueError:  # not the main thread: whoever runs us there handles signals
            break
    try:
        yield lambda: bool(seen)
    finally:
        for handled, previous in handlers.items():
            signal.signal(handled, previous)


def _hardware(device: torch.device) -> str:
    """What computes, for the card."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{torch.get_num_threads()} CPU threads"


def _has_bf16_units() -> bool:
    """Whether this CPU multiplies bf16 matrices in hardware; emulated, it is slower than float32."""
    check = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    return bool(check())
