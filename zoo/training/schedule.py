"""What a step does, as a function of its number: learning rate, KL weight, images, noise.

Everything random depends on (seed, step) and on nothing else, so a run that was killed and resumed walks the same path
as one that was not.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.architecture import Architecture
from pvae_zoo.training.distributed import World
from pvae_zoo.training.recipe import TrainingConfig
from pvae_zoo.training.trainee import Trainee


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Linear warm-up, constant, linear cool-down to zero at ``config.steps``."""
    warmup = min(1.0, (step + 1) / max(1, config.warmup_steps))
    cooldown = min(1.0, (config.steps - step) / max(1, config.cooldown_steps))
    return config.learning_rate * min(warmup, cooldown)


def kl_weights(config: TrainingConfig, step: int) -> list[float]:
    """Weight of each level's KL, bottom first: linear from 0 to 1 (PixelVAE, section 4.1).

    In the second stage z1's is 1 from the start: its posterior stands, and its prior has nothing to wait for.
    """
    weights = [min(1.0, (step + 1) / max(1, length)) for length in config.kl_warmup_steps]
    return [1.0, *weights[1:]] if config.learns == "prior" else weights


def aid_weight(config: TrainingConfig, step: int) -> float:
    """Weight of the thumbnails' nats: 1, and in the last two fifths of a run, when latents mean something, a half."""
    return 1.0 if step < 0.6 * config.steps else 0.5


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
    order = _permutation(config.seed, epoch, count)
    mine = position * batch + world.rank * config.batch_size
    share: NDArray[np.int64] = order[mine : mine + config.batch_size]
    return share


@functools.lru_cache(maxsize=2)  # a step reads ahead, over the end of its epoch too
def _permutation(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """The order of an epoch; drawn once, because for a million images it takes as long as a step."""
    order = np.random.default_rng([seed, epoch]).permutation(count)
    order.flags.writeable = False
    return order


def parameter_groups(trainee: Trainee, config: TrainingConfig) -> list[dict[str, Any]]:
    """What learns. Weights decay, biases do not; encoder and priors learn at ``rate`` times the schedule's rate.

    In the second stage nothing else learns, and ``rate`` is 1.
    """
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for name, parameter in trainee.named_parameters():
        if parameter.requires_grad:
            shared = name.startswith(("model.decoder.", "auxiliary.")) or config.learns == "prior"
            rate = 1.0 if shared else config.encoder_rate
            decay = config.weight_decay if parameter.dim() > 1 else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
    return [{"params": found, "weight_decay": decay, "rate": rate} for (rate, decay), found in groups.items()]
