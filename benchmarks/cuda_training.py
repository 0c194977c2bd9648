"""Images a second of training steps, eager and compiled, as `pvae-zoo train --device cuda` takes them."""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
from cuda_bench import Bench
from cuda_rows import Measured, Row

from pvae_zoo.data.datasets import ImageSet
from pvae_zoo.training.device_images import DeviceImages
from pvae_zoo.training.distributed import World
from pvae_zoo.training.loop import Trainer
from pvae_zoo.training.recipe import changed, load_recipe

IMAGES = 1024
WARM, STEPS = 5, 30


def by_steps(bench: Bench, name: str, *, compiled: bool) -> Measured:
    """Steps of a shipped recipe on noise, on one process: its own batch, its augmentation but for crops and JPEG."""
    recipe = changed(load_recipe(name), **({"batch_size": 8} if bench.quick else {}))
    image, config = recipe.model.image, recipe.training
    noise = np.random.default_rng(0).integers(0, image.levels, (IMAGES, *image.chw), np.uint8)
    images: ImageSet | DeviceImages = ImageSet.of(noise, image).held()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(recipe, Path(folder), world=World(), device=bench.device, compile_model=compiled)
        assert isinstance(images, ImageSet)
        images = DeviceImages.fitting(images, trainer.device) or images
        warm, steps = (1, 1) if bench.quick else (WARM, STEPS)
        for step in range(warm + steps):
            if step == warm:
                bench.synchronise()
                start = time.perf_counter()
            trainer.stepper.step(images, config, step, 1.0)
        bench.synchronise()
        rate = config.batch_size * steps / (time.perf_counter() - start)
    text = f"{rate:.0f} images/s, {config.batch_size} a step"
    return text + bench.against(rate, f"train {name}", "eager"), {} if compiled else {f"train {name}": rate}


def training_row(name: str, *, compiled: bool) -> Row:
    what = f"train {name}, {'compiled' if compiled else 'eager'}"
    return Row(what, partial(by_steps, name=name, compiled=compiled), seconds=45 if compiled else 10)
