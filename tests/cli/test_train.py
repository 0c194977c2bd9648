"""From a recipe to a measured bundle through the commands, and what goes wrong on the way."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from pvae_zoo.cli.train import print_report
from pvae_zoo.training import loop, plan, stepper
from pvae_zoo.training.checkpoint import BEST, LATEST, load_checkpoint
from pvae_zoo.training.reports import Report

RECIPE = """
name = "tiny"
title = "Tiny digits"
dataset = "made up"
binarize = "threshold"

[model]
image = { channels = 1, height = 8, width = 8, levels = 2 }
latents = [{ kind = "map", channels = 2, stage = 1 }, { kind = "vector", channels = 3, stage = 2 }]
encoder = { stem = 8, widths = [8, 8], blocks = 1 }

[model.decoder]
conditioning = "upsample"
widths = [8, 8]
pixelcnn = { channels = 8, layers = 1, input_rows = 2, rows = 1, reach = 1, head = 8 }

[model.prior]
widths = [8, 8]
pixelcnn = { channels = 8, layers = 1, input_rows = 2, rows = 1, reach = 1, head = 8 }

[training]
seed = 1
batch_size = 4
steps = 12
learning_rate = 3e-3
warmup_steps = 2
cooldown_steps = 4
kl_warmup_steps = [2, 2]
weight_decay = 0.01
clip_norm = 100.0
ema_decay = 0.9
validate_every = 5
thumbnails = [{ size = 4, sigma = 0.1 }, { size = 2, sigma = 0.15 }]
"""


@pytest.fixture(scope="module")
def grey(tmp_path_factory):
    """Grey PNGs in train/, valid/ and test/."""
    root, random = tmp_path_factory.mktemp("grey set"), np.random.default_rng(0)
    for split, count in (("train", 9), ("valid", 5), ("test", 5)):
        (root / split).mkdir()
        for number in range(count):
            quarters = random.integers(0, 256, (2, 2)).repeat(4, 0).repeat(4, 1).astype(np.uint8)
            Image.fromarray(quarters).save(root / split / f"{number}.png")
    return root


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "tiny.toml").write_text(RECIPE)
    return "tiny.toml"


@pytest.fixture
def train(run, recipe, grey):
    """A function that trains the recipe with more options."""
    return lambda *args: run("train", recipe, "--data", grey, *args)


def ends(result, message, code=1):
    """One line that says so, and nothing else."""
    assert result.exit_code == code, result.output
    assert message in result.stderr and "Traceback" not in result.stderr


def test_from_grey_images_to_a_measured_bundle(train, run, grey, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "REPORT_SECONDS", -1.0)
    stopped = train("--out", "my runs/tiny", "--max-minutes", "0")
    assert stopped.exit_code == 0
    assert "stopped at step 1 of 12\nbest validation ELBO" in stopped.output
    assert f"go on with: pvae-zoo train tiny.toml --data '{grey}' --out 'my runs/tiny' --resume\n" in stopped.output
    assert (tmp_path / "my runs/tiny/loss.png").is_file()
    # What the budget stopped can be exported as it stands.
    assert run("export", "my runs/tiny", "--out", "early").exit_code == 0

    resumed = train("--out", "my runs/tiny", "--resume")
    assert resumed.exit_code == 0 and "finished at step 12 of 12" in resumed.output
    assert "bits/dim" in resumed.stderr and "R2 " in resumed.stderr and "(validation)" in resumed.stderr
    assert "is not" not in resumed.stderr and "stays so" not in resumed.stderr

    exported = run("export", "my runs/tiny", "--out", "bundle", "--data", grey, "--json")
    assert exported.exit_code == 0 and json.loads(exported.output)["ok"]
    assert not (tmp_path / "bundle" / ".lock").exists()
    assert run("verify", "bundle", "--trust").exit_code == 0
    evaluated = run("evaluate", "bundle", "--trust", "--data", grey, "--json")
    assert evaluated.exit_code == 0 and json.loads(evaluated.output)["results"][0]["images"] == 5
    training = json.loads((tmp_path / "bundle/config.json").read_text())["training"]
    assert training["binarize"] == "threshold" and training["thumbnails"][0] == {"size": 4, "sigma": 0.1}


def test_a_run_of_minutes_is_planned_and_stands(train, tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "MARGIN", 1e6)  # no machine is as slow as that
    monkeypatch.setattr(loop, "planned", lambda config, *_: plan.planned(config, 9, 5))
    result = train("--minutes", "0.001", "--out", "r")
    assert result.exit_code == 0 and "finished at step 9 of 9" in result.output
    stored = load_checkpoint(tmp_path / "r" / LATEST)
    assert (stored.recipe.training.steps, stored.recipe.training.cooldown_steps) == (9, 3)
    again = train("--resume", "--out", "r")
    assert again.exit_code == 0 and "finished at step 9 of 9" in again.output
    assert "training.steps is 9 in the run and stays so; the recipe has 12" in again.stderr


def test_the_second_stage(train, tmp_path):
    assert train("--out", "first").exit_code == 0
    ends(train("--out", "second", "--only", "prior"), "give --init", code=2)
    ends(train("--out", "second", "--anew"), "give both", code=2)
    second = train("--out", "second", "--init", "first", "--only", "prior", "--anew", "--learning-rate", "0.002")
    assert second.exit_code == 0 and "starting from tiny at step" in second.stderr
    assert "the smallest KL is the best" in second.stderr
    stored = load_checkpoint(tmp_path / "second" / BEST)
    assert stored.recipe.training.learns == "prior" and stored.recipe.training.learning_rate == 0.002
    assert train("--out", "second", "--resume", "--steps", "14").exit_code == 0
    assert load_checkpoint(tmp_path / "second" / LATEST).progress.step == 14


@pytest.mark.parametrize(
    ("options", "message", "code"),
    [
        (["--minutes", "0"], "0 is not in the range x>0", 2),
        (["--minutes", "nan"], "nan is no finite number", 2),
        (["--learning-rate", "nan"], "nan is no finite number", 2),
        (["--max-minutes", "inf"], "inf is no finite number", 2),
        (["--minutes", "3", "--steps", "5"], "give one of them", 2),
        (["--resume", "--init", "x"], "--init belongs to the start of a run", 2),
        (["--resume", "--minutes", "3"], "--minutes belongs to the start of a run", 2),
        (["--resume", "--batch-size", "3"], "--batch-size belongs to the start of a run", 2),
        (["--resume"], "no checkpoint", 1),
        (["--init", "nosuch"], "--init nosuch: no checkpoint, no run, and no model 'nosuch'", 1),
        (["--batch-size", "99"], "9 training images are fewer than one batch of 99", 1),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_folder(train, tmp_path, options, message, code):
    before = sorted(path.name for path in tmp_path.iterdir())
    ends(train(*options), message, code)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_weights_that_do_not_fit_leave_no_folder(train, tmp_path, colour):
    ends(train("--init", colour.bundle.folder, "--out", "r"), "no weight of that model fits this recipe")
    assert not (tmp_path / "r").exists()


def test_cuda_that_is_not_there_and_a_world_without_ranks_are_one_line(train, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    ends(train("--device", "cuda"), "PyTorch finds no CUDA device")
    monkeypatch.setenv("WORLD_SIZE", "2")
    ends(train(), "WORLD_SIZE=2 is set and RANK")
    assert not (tmp_path / "runs").exists()


def test_what_resume_does_not_do(train, tmp_path, recipe):
    assert train("--out", "r", "--steps", "6").exit_code == 0
    ends(train("--out", "r"), "r already holds a run: add --resume to go on, or choose another --out")
    ends(train("--out", "r", "--resume", "--steps", "5"), "--steps 5: the run in r stands at step 6 already: give more")
    assert "finished at step 6 of 6" in train("--out", "r", "--resume", "--steps", "6").output
    (tmp_path / recipe).write_text(RECIPE.replace("seed = 1", "seed = 2"))
    edited = train("--out", "r", "--resume")
    assert edited.exit_code == 0
    assert "training.seed is 1 in the run and stays so; the recipe has 2" in edited.stderr
    (tmp_path / recipe).write_text(RECIPE.replace('name = "tiny"', 'name = "other"'))
    ends(train("--out", "r", "--resume"), "r holds a run of tiny, not of other: choose another --out")


def test_going_on_repeats_where_and_how(train, monkeypatch, tmp_path):
    monkeypatch.setattr(stepper, "compiled", lambda network: network)
    result = train("--max-minutes", "0", "--compile")
    assert result.output.splitlines()[-1].endswith("--out runs/tiny --resume --compile")


def test_an_interrupted_run_says_how_to_go_on(train, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(loop.Trainer, "_walk", interrupt)
    ends(train(), "--out runs/tiny --resume\nInterrupted", code=130)


def test_a_recipe_can_be_seen_and_copied(run, tmp_path):
    shown = run("train", "--show", "lsun")
    assert shown.exit_code == 0 and shown.output.startswith("# The architecture of imagenet64")
    (tmp_path / "mine.toml").write_text(shown.output)
    assert run("train", "--show", "mine.toml").output == shown.output
    ends(run("train", "--show", "lsum"), "did you mean 'lsun'")


def test_what_cannot_be_used_is_named_before_training_begins_and_the_rest_goes_on(run, recipe, grey, tmp_path):
    data = shutil.copytree(grey, tmp_path / "data")
    (data / "train" / "3.png").write_bytes((data / "train" / "3.png").read_bytes()[:40])
    Image.new("L", (7, 8)).save(data / "valid" / "small.png")
    result = run("train", recipe, "--data", data)
    assert "3.png: is damaged" in result.stderr and "small.png: is 7x8, the model takes 8x8" in result.stderr
    assert "images           15: 8 to learn from, 5 to measure on, as the folder has them" in result.stderr
    assert "finished at step 12" in result.stdout


def test_a_folder_without_a_division_is_divided(run, recipe, grey, tmp_path):
    data, random = tmp_path / "flat", np.random.default_rng(1)
    data.mkdir()
    for number in range(24):
        Image.fromarray(255 * random.integers(0, 2, (8, 8)).astype(np.uint8)).save(data / f"{number}.png")
    result = run("train", recipe, "--data", data)
    assert "by a hash of their" in result.stderr and "finished at step 12" in result.stdout


def test_a_line_tells_what_there_is(capsys):
    report = {
        "kind": "train",
        "step": 5,
        "steps": 10,
        "kl": (3.0, 4.0),
        "images_per_second": 75.0,
        "seconds_left": 3700,
    }
    print_report(
        Report(**report, elbo=-100.0, bits_per_dim=0.25, reconstruction=93.0, r2=(0.99, 0.5))
    )  # fmt: skip
    assert capsys.readouterr().err == (
        "step 5/10  elbo -100.00  0.2500 bits/dim  recon 93.00  kl 3.00 + 4.00  R2 0.990, 0.500  75 images/s  "
        "1:01:40 left\n"
    )
    print_report(Report(**report | {"steps": 0}, elbo=None, bits_per_dim=None, reconstruction=None, r2=(None, 0.5)))
    assert capsys.readouterr().err == "step 5  kl 3.00 + 4.00  R2 -, 0.500  75 images/s  1:01:40 left\n"
    print_report(
        Report(
            kind="rollback", step=5, steps=10, elbo=None, bits_per_dim=None, reconstruction=None, kl=(), note="it leapt"
        )
    )
    assert capsys.readouterr().err == "step 5/10  it leapt\n"
