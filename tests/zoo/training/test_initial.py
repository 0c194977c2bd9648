import pytest
import torch

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.export.given import given_weights
from pvae_zoo.sources import registry
from pvae_zoo.training.checkpoint import BEST, LATEST, Checkpoint, RunProgress, save_checkpoint
from pvae_zoo.training.devices import joined_hardware
from pvae_zoo.training.initial import take_weights
from pvae_zoo.training.state import State
from pvae_zoo.training.trainee import Trainee


def step_of(text):
    return given_weights(str(text)).progress.step


@pytest.fixture
def run(tmp_path, make_recipe):
    """A run's folder whose best weights are of step 3 and whose last ones are of step 4."""
    for name, step in ((BEST, 3), (LATEST, 4)):
        save_checkpoint(tmp_path / "run" / name, Checkpoint(make_recipe(), RunProgress(step=step), {}))
    return tmp_path / "run"


def test_a_checkpoint_a_run_a_bundle_and_a_model_of_the_zoo_are_found(run, levels, monkeypatch):
    assert step_of(run / LATEST) == 4 and step_of(run) == 3
    (run / BEST).unlink()
    assert step_of(run) == 4
    assert step_of(levels.bundle.folder) == 12
    monkeypatch.setattr(registry, "bundles_folder", lambda: levels.bundle.folder.parent)
    assert step_of(levels.bundle.folder.name) == 12


@pytest.mark.parametrize("name", registry.model_names())
def test_the_models_of_the_zoo_are_found(name):
    assert given_weights(name).section("ema")


def test_what_is_not_there_is_one_line(tmp_path, levels, monkeypatch):
    with pytest.raises(PvaeZooError, match=r"^--init nosuch: no checkpoint, no run, and no model 'nosuch': [^\n]*$"):
        given_weights("nosuch")
    (tmp_path / "empty").mkdir()
    with pytest.raises(PvaeZooError, match="empty holds no run and no bundle"):
        given_weights(str(tmp_path / "empty"))
    (tmp_path / "text").write_text("hello")
    with pytest.raises(PvaeZooError, match="text is damaged or no checkpoint"):
        given_weights(str(tmp_path / "text"))


def test_names_and_shapes_decide_and_the_cost_is_taken_over(levels, make_recipe, make_architecture):
    recipe = make_recipe(make_architecture((3, 7, 6, 4), top=5, embedding=1))  # a wider z2
    trainee = Trainee.of(recipe)
    state = State(trainee, torch.optim.AdamW(trainee.parameters()))
    progress = take_weights(state, levels.checkpoint, "levels")
    ema = levels.checkpoint.section("ema")
    assert state.weights["model.encoder.stem.weight"].equal(ema["encoder.stem.weight"])
    assert state.average["model.encoder.stem.weight"].equal(ema["encoder.stem.weight"])
    assert "tiny at step 12 (" in progress.initialised_from and f" of {len(ema)} tensors" in progress.initialised_from
    assert (progress.step, progress.images, progress.seconds, progress.hardware) == (0, 48, 7200.0, "2 cores")


def test_hardware_is_told_once_and_in_order():
    assert joined_hardware("", "2 CPU threads") == "2 CPU threads"
    assert joined_hardware("NVIDIA H200; 2 CPU threads", "2 CPU threads") == "NVIDIA H200; 2 CPU threads"
    assert joined_hardware("2 CPU threads", "NVIDIA H200") == "2 CPU threads; NVIDIA H200"
