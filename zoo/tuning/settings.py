"""How a model is trained further on few images: what changes in its recipe, and how many steps the minutes buy.

The number of steps is settled once, before the first, from the time that a few steps take; it stands in the run's plan
from then on. So a run that was killed ends at the same weights as one that was not, and a machine that becomes busier
takes longer in place of doing less.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.architecture import ArchitectureError, ImageShape
from pvae_zoo.data.datasets import ImageSet
from pvae_zoo.training.distributed import World
from pvae_zoo.training.loop import Trainer
from pvae_zoo.training.recipe import Recipe

RATE = 5e-4
"""Peak learning rate; see docs/your-own-photos.md for what else was tried."""

LOOKS = 6
"""Validations with pictures, beside the one before the first step."""

LOOKING_SHARE = 0.1
"""Of the time, what these may take."""

FINISHING = 0.08
"""Of the time, what is kept for the export, the proof and the figures; at least `FINISHING_LEAST` seconds."""

FINISHING_LEAST, FINISHING_MOST = 20.0, 150.0

COOLING = 0.7
"""Share of the steps over which the learning rate comes down to zero."""

_WARMUP = 20
_TIMED, _TIMED_SECONDS = 3, 2.0
_FORWARD = 0.35  # of a training step's time, without the gradient


def batch_size(image: ImageShape, images: int, device: str, own: int) -> int:
    """Images a step: on a CPU few, because more steps learn more than larger ones in the same time.

    Args:
        image: of the model.
        images: there are to learn from.
        device: where it is trained.
        own: the batch of the model's own training.
    """
    wanted = own if device != "cpu" else 8 if image.levels > 2 else 32
    return max(1, min(wanted, images // 4))


def tuned(base: Recipe, *, name: str, title: str, dataset: str, reading: tuple[str, ...], binarize: bool, batch: int,
          learning_rate: float) -> Recipe:  # fmt: skip
    """The recipe of a model that is trained further, its length not yet settled.

    All of it learns, at a rate below that of its making. Nothing has to tell thumbnails any more: latents that mean
    something go on doing so, and a bundle does not hold the layers that told them. There are no JPEG copies.
    """
    training = base.training
    # The second stage's is of the gradient of the KLs alone.
    clip = training.clip_norm if training.learns == "all" else 0.65 * base.model.image.dimensions
    return replace(
        base,
        name=name,
        title=title,
        dataset=dataset,
        reading=reading,
        data=replace(base.data, jpeg=0.0),
        binarize="threshold" if binarize else base.binarize,
        training=replace(
            training,
            learns="all",
            thumbnails=(),
            batch_size=batch,
            learning_rate=learning_rate,
            kl_warmup_steps=(0,) * len(training.kl_warmup_steps),
            clip_norm=clip,
        ),
    )


def with_steps(recipe: Recipe, steps: int, looks: int) -> Recipe:
    """The recipe with its length: the learning rate comes to zero with the last step."""
    try:
        training = replace(
            recipe.training,
            steps=steps,
            warmup_steps=min(_WARMUP, steps // 10),
            cooldown_steps=math.ceil(COOLING * steps),
            ema_decay=min(recipe.training.ema_decay, max(0.5, 1 - 20 / steps)),
            validate_every=math.ceil(steps / looks),
        )
    except ArchitectureError as error:
        raise PvaeZooError(str(error)) from error
    return replace(recipe, training=training)


def step_seconds(make: Callable[[], Trainer], images: ImageSet, clock: Callable[[], float] = time.monotonic) -> float:
    """How long a step takes, by a few on a trainer that is thrown away; the first one, which fills caches, apart.

    Args:
        make: a fresh trainer.
        images: to learn from.
        clock: seconds, rising.
    """
    trainer, step = make(), 0
    trainer.stepper.step(images, trainer.config, step, 1.0)
    began = clock()
    while step < _TIMED or clock() - began < _TIMED_SECONDS:
        step += 1
        trainer.stepper.step(images, trainer.config, step, 1.0)
    return (clock() - began) / step


def planned_steps(seconds: float, step: float, batch: int, valid: int) -> tuple[int, int]:
    """How many steps fit, and how many looks at what was learnt.

    Args:
        seconds: for the training and all that comes after it.
        step: seconds a step takes.
        batch: images a step.
        valid: validation images.
    """
    left = seconds - min(FINISHING_MOST, max(FINISHING_LEAST, FINISHING * seconds), seconds / 3)
    look = _FORWARD * step * valid / batch
    looks = max(1, min(LOOKS, int(LOOKING_SHARE * left / max(look, 1e-9))))
    return max(looks, int((left - (1 + looks) * look) / max(step, 1e-9))), looks


ALONE = World()
"""Fine-tuning is one process."""
