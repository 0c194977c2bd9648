"""Training on a GPU: it learns, goes on from its checkpoint, and compiles. Steps are few; no test waits for a time."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from pvae_zoo.cli.app import cli
from pvae_zoo.data.datasets import ImageSet
from pvae_zoo.training.checkpoint import BEST, LATEST, load_checkpoint
from pvae_zoo.training.distributed import World
from pvae_zoo.training.loop import Trainer
from pvae_zoo.training.recipe import Thumbnail

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(60)]
DEVICE = "cuda"


def test_a_run_goes_on_from_its_checkpoint_and_learns(tmp_path, make_recipe):
    recipe = make_recipe(steps=30, validate_every=15, batch_size=16)
    stripes = np.zeros((64, *recipe.model.image.chw), np.uint8)
    stripes[:, :, ::2] = 1
    images = ImageSet.of(stripes, recipe.model.image)

    def trainer():
        return Trainer(recipe, tmp_path, world=World(), device=DEVICE)

    first = trainer()
    assert not first.train(images, images, max_minutes=0)  # one step, validated and kept
    begun = load_checkpoint(tmp_path / LATEST).progress
    second = trainer()
    second.resume()
    assert second.progress.step == begun.step == 1
    assert second.train(images, images)
    best = load_checkpoint(tmp_path / BEST).progress
    assert best.best_elbo > begun.best_elbo + 1 and load_checkpoint(tmp_path / LATEST).progress.step == 30
    assert best.hardware == torch.cuda.get_device_name()


def test_the_command_goes_on_with_a_run(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    for split, count in (("train", 9), ("valid", 5)):
        (tmp_path / split).mkdir()
        for number in range(count):
            photo = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
            Image.fromarray(photo).save(tmp_path / split / f"{number}.png")
    command = ["train", "imagenet64", "--data", ".", "--out", "run", "--device", DEVICE]
    start = ["--steps", "12", "--batch-size", "4", "--max-minutes", "0"]
    stopped = CliRunner().invoke(cli, [*command, *start])
    assert stopped.exit_code == 0, stopped.output
    assert "stopped at step 1 of 12" in stopped.stdout and "--out run --resume" in stopped.stdout
    resumed = CliRunner().invoke(cli, [*command, "--resume"])
    assert resumed.exit_code == 0 and "finished at step 12 of 12" in resumed.stdout, resumed.output
    assert load_checkpoint(tmp_path / "run" / LATEST).progress.hardware == torch.cuda.get_device_name()


@pytest.mark.timeout(120)
@pytest.mark.filterwarnings("default")  # PyTorch's compiler warns of itself, and of TF32 that nobody asked for
def test_a_compiled_model_with_thumbnails_learns(tmp_path, make_recipe, make_architecture):
    thumbnails = (Thumbnail(size=4, sigma=0.1), Thumbnail(size=2, sigma=0.15))
    recipe = make_recipe(make_architecture((3, 8, 8, 4), top=3), steps=20, batch_size=16, thumbnails=thumbnails)
    images = np.random.default_rng(0).integers(0, 4, (64, 3, 2, 2), np.uint8).repeat(4, 2).repeat(4, 3)
    images = ImageSet.of(images, recipe.model.image)
    trainer = Trainer(recipe, tmp_path, world=World(), device=DEVICE, compile_model=True)
    before = trainer.evaluate(images)
    assert trainer.train(images, images)
    assert trainer.evaluate(images).elbo > before.elbo
