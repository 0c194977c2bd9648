"""What the averaged weights of a run are worth, on images that it does not learn from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

from pvae_zoo.data.datasets import ImageSet
from pvae_zoo.training.reports import Means, Meter
from pvae_zoo.training.schedule import latent_noise, step_generator
from pvae_zoo.training.state import State

BATCH = 50
"""Images whose noise is drawn at once."""

_LOGITS = 1 << 25
"""Values of the softmax that are in memory at once on a CPU, where larger slices are no faster."""

_STREAM = 1_000_000


@torch.no_grad()
def validate(
    state: State,
    images: ImageSet,
    *,
    seed: int,
    device: torch.device,
    bf16: bool,
    pixels: bool | None = None,
    limit: int | None = None,
    between: Callable[[], None] = lambda: None,
) -> Means:
    """Means over the images, always with the same noise, of the averaged weights.

    Args:
        state: of the run, which is left as it is.
        images: the validation images.
        seed: of the run.
        device: where to compute.
        bf16: whether to compute in bf16.
        pixels: whether to run the pixels' networks; by default if they learn.
        limit: look at the first images alone.
        between: called every few images; what it raises ends this.
    """
    trainee, count = state.trainee, min(len(images), limit or len(images))
    architecture, generator = trainee.model.architecture, step_generator(seed, 0, _STREAM)
    image, meter = architecture.image, Meter(trainee.auxiliary)
    most = max(1, min(BATCH, _LOGITS // (image.dimensions * image.levels))) if device.type == "cpu" else BATCH
    with _averaged(state):
        trainee.eval()
        for start in range(0, count, BATCH):
            indices = np.arange(start, min(start + BATCH, count))
            x = torch.from_numpy(images.read(indices, None)).to(device)
            noise = [eps.to(device) for eps in latent_noise(architecture, len(x), generator)]
            for first in range(0, len(x), most):
                part = slice(first, first + most)
                between()
                with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                    meter.add(trainee(x[part], [eps[part] for eps in noise], pixels=pixels), x[part])
    return meter.means()


@contextmanager
def _averaged(state: State) -> Iterator[None]:
    """The averaged weights in place of the trained ones, which come back whatever happens."""
    trained = {name: value.clone() for name, value in state.weights.items()}
    state.trainee.load_state_dict(state.average)
    try:
        yield
    finally:
        state.trainee.load_state_dict(trained)
