"""One optimiser step after another, of one process among those that train together."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pvae_zoo.data.augmentation import draw_views, view_generator
from pvae_zoo.data.datasets import ImageSet
from pvae_zoo.training.abandon import abandoned_when
from pvae_zoo.training.compilation import check_gradients, compiled
from pvae_zoo.training.device_images import DeviceImages
from pvae_zoo.training.devices import has_bf16_units
from pvae_zoo.training.distributed import World
from pvae_zoo.training.recipe import TrainingConfig
from pvae_zoo.training.schedule import (
    aid_weight,
    batch_indices,
    kl_weights,
    latent_noise,
    learning_rate,
    step_generator,
)
from pvae_zoo.training.state import State
from pvae_zoo.training.trainee import Terms

Batch = tuple[Tensor, list[Tensor]]
"""Images ``(B, C, H, W)`` and the noise of each level of latents, ``(B, *latent_shape)``."""


class Stepper:
    """What a step does to the state of a run.

    Args:
        state: of the run.
        world: this process among those that train together.
        device: where to compute.
        compile_model: let ``torch.compile`` fuse the network.

    Attributes:
        bf16: whether it computes in bf16, which pays on matrix units and in bandwidth.
    """

    def __init__(self, state: State, world: World, device: torch.device, *, compile_model: bool) -> None:
        self.state, self.world, self.device = state, world, device
        self._eager: nn.Module = state.trainee
        if world.size > 1:
            ids = [device.index] if device.type == "cuda" else None
            self._eager = DistributedDataParallel(state.trainee, device_ids=ids)
        self.network = compiled(self._eager) if compile_model else self._eager
        self.bf16 = device.type == "cuda" or has_bf16_units()
        self._ahead: tuple[int, Batch] | None = None

    def step(
        self,
        images: ImageSet | DeviceImages,
        config: TrainingConfig,
        step: int,
        factor: float,
        stopped: Callable[[], bool] = lambda: False,
    ) -> tuple[Terms, Tensor] | None:
        """One optimiser step.

        Args:
            images: the training set, in memory or on the device.
            config: the schedule.
            step: its number, from 0.
            factor: of the learning rate.
            stopped: asked now and then on a CPU, where a step takes long, and where this is the only process.

        Returns:
            Its terms and images; None if it was left out, because its gradient was not finite.

        Raises:
            Abandoned: if it was asked to stop before the gradient was whole.
        """
        self.network.train()
        x, noise = self._ahead[1] if self._ahead and self._ahead[0] == step else self._batch(images, config, step)
        rate, optimizer = factor * learning_rate(config, step), self.state.optimizer
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * rate
        optimizer.zero_grad(set_to_none=True)
        slow = self.network is self.state.trainee and self.device.type == "cpu"
        with abandoned_when(stopped) if slow else nullcontext():
            terms = self._terms(self.network, x, noise, config, step, bf16=self.bf16)
            self.state.trainee.loss(terms, kl_weights(config, step), aid_weight(config, step)).backward()
        learning = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        norm = nn.utils.clip_grad_norm_(learning, config.clip_norm)
        if step + 1 < config.steps:
            # A GPU is still busy with the gradient, and the next line waits for it: read the next images meanwhile.
            self._ahead = step + 1, self._batch(images, config, step + 1)
        if not torch.isfinite(norm):  # the norm is of the gradients of all processes, so all of them agree
            return None
        optimizer.step()
        # The first steps count little: an average that starts at the initial weights would drag them along.
        self.state.follow(min(config.ema_decay, (1 + step) / (10 + step)))
        return terms, x

    def check(self, images: ImageSet | DeviceImages, config: TrainingConfig, step: int) -> None:
        """Where the network is compiled: compare its gradients in this step, which is the graph that trains.

        Raises:
            PvaeZooError: if they differ.
        """
        if self.network is self._eager:
            return
        x, noise = self._batch(images, config, step)
        self.network.train()

        def loss(network: nn.Module, bf16: bool) -> Tensor:
            terms = self._terms(network, x, noise, config, step, bf16=bf16)
            return self.state.trainee.loss(terms, [1.0] * len(terms.kl), 1.0)

        check_gradients(self._eager, self.network, loss, bf16=self.bf16, world=self.world)

    def _terms(
        self, network: nn.Module, x: Tensor, noise: list[Tensor], config: TrainingConfig, step: int, *, bf16: bool
    ) -> Terms:
        torch.manual_seed(step_generator(config.seed, step, 1 + self.world.rank).initial_seed())  # for dropout
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            terms: Terms = network(x, noise)
        return terms

    def _batch(self, images: ImageSet | DeviceImages, config: TrainingConfig, step: int) -> Batch:
        """What a step trains on, on the device: this process's images, and its share of the noise of all latents."""
        first, architecture = self.world.rank * config.batch_size, self.state.trainee.model.architecture
        views = view_generator(config.seed, step, first)
        indices = batch_indices(config, len(images), self.world, step)
        if isinstance(images, DeviceImages):
            x = images.read(indices, draw_views(views, len(indices)))
        else:
            x = self._on_device(torch.from_numpy(images.read(indices, views)))
        noise = latent_noise(architecture, len(x) * self.world.size, step_generator(config.seed, step))
        return x, [self._on_device(eps[first : first + len(x)]) for eps in noise]

    def _on_device(self, values: Tensor) -> Tensor:
        """A copy there; from pinned memory, because a copy from any other waits for all that a GPU has to do."""
        return values.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else values
