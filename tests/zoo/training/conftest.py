"""Runs of tiny models that every test of the loop can afford."""

import json
from dataclasses import replace

import numpy as np
import pytest

from pvae_zoo.data.datasets import ImageSet
from pvae_zoo.training.checkpoint import BEST, LATEST, load_checkpoint
from pvae_zoo.training.distributed import World
from pvae_zoo.training.loop import Trainer
from pvae_zoo.training.recipe import Thumbnail

TWO = (Thumbnail(size=4, sigma=0.1), Thumbnail(size=2, sigma=0.15))


@pytest.fixture(scope="session")
def two_levels(make_recipe, make_architecture):
    """A recipe of 8x8 images with four levels, z1 a map of 4x4 below a vector, and a thumbnail of each."""
    return make_recipe(make_architecture((3, 8, 8, 4), top=3, encoder_dropout=0.2), thumbnails=TWO)


@pytest.fixture(scope="session")
def squares():
    """Images of two_levels whose quarters are of one colour, more or less: there is something to tell."""
    random = np.random.default_rng(1)
    quarters = random.integers(0, 4, (22, 3, 2, 2)).repeat(4, 2).repeat(4, 3)
    noise = random.random((22, 3, 8, 8)) < 0.2
    return np.where(noise, 3 - quarters, quarters).astype(np.uint8)


@pytest.fixture(scope="session")
def as_set():
    """A function from images and a recipe to a data set."""
    return lambda values, recipe: ImageSet.of(values, recipe.model.image)


@pytest.fixture(scope="session")
def trainer_for():
    """A function from a recipe and a folder to a trainer in float32."""

    def make(recipe, out, **options):
        trainer = Trainer(recipe, out, world=World(), **options)
        trainer.stepper.bf16 = False
        return trainer

    return make


@pytest.fixture(scope="session")
def reports():
    """A function from a run's folder to what it reported, the clock apart."""

    def read(folder):
        timed = {"seconds", "images_per_second", "seconds_left"}
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        return [{key: value for key, value in row.items() if key not in timed} for row in rows]

    return read


@pytest.fixture(scope="session")
def assert_same_run(reports):
    """A function that holds two runs to the same state, bit for bit, and the same reports."""

    def check(left, right):
        for name in (LATEST, BEST):
            a, b = load_checkpoint(left / name), load_checkpoint(right / name)
            assert a.recipe == b.recipe
            assert replace(a.progress, seconds=0.0) == replace(b.progress, seconds=0.0)
            assert a.tensors.keys() == b.tensors.keys()
            assert [key for key, value in a.tensors.items() if not value.equal(b.tensors[key])] == []
        assert reports(left) == reports(right)

    return check
