"""What a step does, as a function of its number: learning rate, KL weight, images, noise.

Everything random depends on (seed, step) and on nothing else, so a run that was killed and resumed walks the same path
as one that was not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pvae_zoo.errors import PvaeZooError
from pvae_zoo.models.architecture import Architecture
from pvae_zoo.models.pixelvae import Elbo
from pvae_zoo.training.distributed import World
from pvae_zoo.training.recipe import TrainingConfig


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Linear warm-up, constant, linear cool-down to zero at ``config.steps``."""
    warmup = min(1.0, (step + 1) / max(1, config.warmup_steps))
    cooldown = min(1.0, (config.steps - step) / max(1, config.cooldown_steps))
    return config.learning_rate * min(warmup, cooldown)


def kl_weights(config: TrainingConfig, step: int) -> list[float]:
    """Weight of each level's KL, bottom first: linear from 0 to 1 (PixelVAE, section 4.1)."""
    return [min(1.0, (step + 1) / max(1, length)) for length in config.kl_warmup_steps]


def charged_kl(config: TrainingConfig, step: int, elbo: Elbo) -> Tensor:
    """What the KL of all levels costs each image in this step, ``(B,)``.

    A posterior whose KL is below ``free_nats`` feels nothing of it. Its prior does, always: p(z1|z2) goes on learning,
    and z2 has a use, however little z1 says.
    """
    free = config.free_nats or (0.0,) * len(elbo.kl)
    levels = zip(kl_weights(config, step), elbo.kl, elbo.prior_kl, free, strict=True)
    return sum(
        (weight * torch.where(kl > nats, kl, prior_kl) for weight, kl, prior_kl, nats in levels), torch.zeros(())
    )


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


def parameter_groups(model: nn.Module, config: TrainingConfig) -> list[dict[str, Any]]:
    """Weights decay, biases do not; the encoder and the priors learn at ``rate`` times the schedule's rate."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        rate = 1.0 if name.startswith("decoder.") else config.encoder_rate
        decay = config.weight_decay if parameter.dim() > 1 else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    return [{"params": found, "weight_decay": decay, "rate": rate} for (rate, decay), found in groups.items()]
