"""From a folder of images to a model of them through the command, and what goes wrong on the way."""

import json
import multiprocessing
import random
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pvae_zoo.contract.folder import Bundle
from pvae_zoo.export.weights import checkpoint_of
from pvae_zoo.sources.current import current_model
from pvae_zoo.sources.own import own_models_folder


@pytest.fixture(scope="session")
def colours(make_tiny):
    """A model of 8x8 images in colour, with two levels of latents; it was trained on windows."""
    return make_tiny(image=(3, 8, 8, 256), top=2, embedding=1)


def painted(number):
    """A picture of its own: soft colours from a corner to the other."""
    random = np.random.default_rng(number)
    corners = random.integers(0, 256, (2, 2, 3)).astype(np.uint8)
    return Image.fromarray(corners).resize((12, 9), Image.Resampling.BILINEAR)


@pytest.fixture
def photos(tmp_path):
    """40 pictures, a copy, a near copy, one that is too small and one that is cut short."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(40):
        painted(number).save(folder / f"{number:02}.png")
    painted(3).save(folder / "again.bmp")
    painted(4).resize((120, 90), Image.Resampling.BICUBIC).save(folder / "near.jpg", quality=90)
    painted(5).resize((5, 5)).save(folder / "small.png")
    (folder / "cut.png").write_bytes((folder / "07.png").read_bytes()[:60])
    return folder


@pytest.fixture
def finetune(run, colours, photos):
    """A function that trains the tiny model on the photos with more options, a dozen steps."""
    return lambda *args: run("finetune", colours.bundle.folder, photos, "--name", "mine", "--steps", 12, *args)


@pytest.fixture(autouse=True)
def _no_models():
    yield
    shutil.rmtree(own_models_folder(), ignore_errors=True)


def ends(result, *messages, code=1):
    """One line that says so, and nothing written."""
    assert result.exit_code == code, result.output
    assert all(message in result.stderr for message in messages), result.stderr
    assert "Traceback" not in result.stderr and not (own_models_folder() / "mine").exists()


def test_a_folder_becomes_a_model(finetune, run, tmp_path):
    result = finetune()
    assert result.exit_code == 0, result.output
    assert "small.png: is 5x5, smaller than the model's 8x8: add --enlarge-by 1.6" in result.stderr
    assert "cut.png: is damaged or cut short" in result.stderr
    assert "copies           1 left out" in result.stdout and "sizes            12x9 (40), 120x90 (1)" in result.stdout
    assert "pvae-zoo sample --model mine --n 16" in result.stdout and "push mine ORG/mine" in result.stdout
    place, folder = own_models_folder() / "mine", tmp_path / "runs" / "mine"
    card = (place / "README.md").read_text()
    assert "44 images, of which" in card and "left out: 2 that could not be used, 1 copies" in card
    assert "which it was made from, has" in card and "mine-samples.png" in card and "| WebP lossless |" in card
    assert {path.name for path in folder.iterdir()} >= {"progress.png", "loss.png", "reconstructions.png"}
    assert Bundle(place).config.training["initialised_from"] == "tiny at step 12 (75 of 75 tensors)"
    assert current_model().name == "mine"
    assert run("sample", "--n", 2, "--out", "two.png").exit_code == 0
    listed = json.loads(run("list", "--json").stdout)["models"]
    assert any(row["name"] == "mine" and row["current"] and row["figures"]["split"] == "valid" for row in listed)
    ends_so = run("info", "mine@v1")
    assert ends_so.exit_code == 1 and "mine was made on this machine and has no versions" in ends_so.stderr
    again = finetune()
    assert again.exit_code == 0 and "mine is finished already" in again.stdout


def everything(place):
    """All files of a bundle but for the clock's readings."""
    files = {path.relative_to(place): path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()}
    config = json.loads(files.pop(Path("config.json")))
    config["training"].pop("hours"), config["progress"].pop("seconds")
    card = [line for line in files.pop(Path("README.md")).decode().splitlines() if " images seen in " not in line]
    return files, config, card


# In a process of its own, which may not find this file: the command, with a checkpoint after every step.
TUNE = """
import os
os.chdir(place)
os.dup2(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
from pvae_zoo.cli.app import main
from pvae_zoo.training import loop
from pvae_zoo.tuning import run

loop.CHECKPOINT_SECONDS, run.LOOKS = 0.0, 2
main(arguments)
"""


def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(colours, photos, tmp_path):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["torch", "onnxruntime", "matplotlib.pyplot", "pvae_zoo.tuning.run", "pvae_zoo.cli.finetune"]
    )
    source, images = str(colours.bundle.folder), str(photos)
    arguments = ["finetune", source, images, "--name", "mine", "--steps", "6", "--run", "run", "--out", "mine"]

    def start(folder):
        known = {"arguments": arguments, "place": folder, "out": str(tmp_path / "said")}
        process = context.Process(target=exec, args=(TUNE, known))
        process.start()
        return process

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir(), killed.mkdir()
    began = time.monotonic()
    process = start(whole)
    process.join(120)
    took, chance = time.monotonic() - began, random.Random(0)
    assert process.exitcode == 0, (tmp_path / "said").read_text()
    for _ in range(20):
        process = start(killed)
        process.join(chance.uniform(0, took))
        process.kill()
        process.join()
        if (killed / "mine").exists():  # whole, or not there
            assert (killed / "mine" / "config.json").is_file() and (killed / "mine" / "README.md").is_file()
    process = start(killed)
    process.join(120)
    assert process.exitcode == 0, (tmp_path / "said").read_text()
    assert everything(killed / "mine") == everything(whole / "mine")
    assert not [path for path in killed.iterdir() if path.name.startswith(".")]


def test_looking_first_writes_nothing(run, colours, photos, tmp_path):
    before = set(tmp_path.rglob("*"))
    result = run("finetune", colours.bundle.folder, photos, "--name", "mine", "--dry-run", "--steps", 100)
    assert result.exit_code == 0 and "that is 100 steps of 8 images: every image 24.2 times" in result.stdout
    said = json.loads(run("finetune", colours.bundle.folder, photos, "--name", "mine", "--dry-run", "--json").stdout)
    assert said["looked"]["train"] == 33 and len(said["looked"]["refused"]) == 2 and said["plan"]["steps"] > 0
    assert set(tmp_path.rglob("*")) == before and not own_models_folder().exists()


def test_what_cannot_come_to_an_end_is_refused_at_once(run, colours, photos, tmp_path):
    def asked(*args, folder=photos, name="mine"):
        return run("finetune", colours.bundle.folder, folder, "--name", name, "--steps", 1, *args)

    (tmp_path / "nothing").mkdir()
    ends(asked(folder=tmp_path / "nothing"), "no images in", "it is empty")
    ends(asked(folder=tmp_path / "none"), "no folder or zip", "none")
    ends(asked(name="LSUN"), "the zoo has a model LSUN already: choose another --name")
    ends(asked(name="../mine"), "is no name")
    ends(asked("--out", colours.bundle.folder), "holds a bundle already: choose another --out, or add --force")
    ends(asked("--out", photos, "--force"), "is there and no bundle, which --force does not replace: remove it first")
    (tmp_path / "file").write_text("")
    ends(asked("--run", tmp_path / "file" / "run"), "cannot write", "choose another place")
    ends(asked("--binarize"), "--binarize is for black-and-white models")
    ends(run("finetune", "nosuch", photos, "--name", "mine"), "no model 'nosuch'")
    assert not (tmp_path / "runs" / "mine" / "plan.json").exists()


def test_another_run_is_not_taken_for_this_one(finetune, photos, monkeypatch):
    from pvae_zoo.tuning import run

    def stop(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run, "draw_progress", stop)
        assert finetune().exit_code == 130
    (photos / "more.png").write_bytes((photos / "near.jpg").read_bytes())
    painted(99).save(photos / "99.png")
    ends(finetune(), "runs/mine holds a run of other images than are there now: choose another --name or --run, or add")
    assert finetune("--force").exit_code == 0
    (Path("runs") / "mine").rename("elsewhere")
    ends_with = finetune()
    assert ends_with.exit_code == 1 and "you have a model mine already: choose another --name, or add --force" in (
        ends_with.stderr
    )


def test_what_did_not_help_is_said_and_is_the_model_it_came_from(finetune, colours):
    result = finetune("--learning-rate", "1e-30")
    assert result.exit_code == 0 and "it did not help: the model is" in result.stderr
    mine = checkpoint_of(Bundle(own_models_folder() / "mine")).section("ema")
    old, new = checkpoint_of(colours.bundle).section("ema"), mine
    assert all((old[name] == new[name]).all() for name in old)


def test_a_full_disk_leaves_nothing_half_written_and_the_same_command_goes_on(finetune, small_disk):
    place = small_disk / "mine"
    ends(finetune("--out", place), "cannot write", "the disk is full")
    assert list(small_disk.iterdir()) == []
    moved = finetune("--out", "mine")
    assert moved.exit_code == 0 and "every image" in moved.stdout and Bundle(Path("mine")).name == "mine"
