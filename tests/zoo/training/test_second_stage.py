import re

import pytest
import torch

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.training import loop
from pvae_zoo.training.checkpoint import BEST, LATEST, load_checkpoint
from pvae_zoo.training.initial import take_weights
from pvae_zoo.training.recipe import changed
from pvae_zoo.training.schedule import kl_weights, parameter_groups
from pvae_zoo.training.trainee import Trainee, upper_names

ABOVE = ("model.encoder.stages.1.", "model.encoder.heads.1.", "model.priors.0.", "auxiliary.heads.1.")


@pytest.fixture(scope="module")
def first(tmp_path_factory, two_levels, squares, as_set, trainer_for):
    """The checkpoint of a run of the first stage."""
    out = tmp_path_factory.mktemp("first")
    trainer_for(two_levels, out).train(as_set(squares, two_levels), as_set(squares, two_levels))
    return load_checkpoint(out / LATEST)


@pytest.fixture
def second(two_levels):
    return changed(two_levels, learns="prior", encoder_rate=0.25)


def test_what_is_above_z1_learns_and_the_rest_stands(tmp_path, second, first, squares, as_set, trainer_for):
    assert upper_names(second.model) == (ABOVE[0], ABOVE[1], "model.priors.0.context.", ABOVE[3], ABOVE[2])
    trainer = trainer_for(second, tmp_path)
    trainer.initialise(first, "first")
    before = {name: value.clone() for name, value in trainer.state.weights.items()}
    trainer.train(as_set(squares, second), as_set(squares, second))
    moved = {name for name, value in trainer.state.weights.items() if not value.equal(before[name])}
    assert moved == {name for name in before if name.startswith(ABOVE)}
    stands = [name for name in before if not name.startswith(ABOVE)]
    assert all(trainer.state.average[name].equal(before[name]) for name in stands)


def test_the_pixels_are_not_run_in_training_and_once_in_validation(
    tmp_path, second, first, squares, as_set, trainer_for, reports, monkeypatch
):
    monkeypatch.setattr(loop, "REPORT_SECONDS", -1.0)
    trainer = trainer_for(second, tmp_path)
    trainer.initialise(first, "first")
    runs = []
    trainer.trainee.model.decoder.pixelcnn.register_forward_hook(lambda module, *_: runs.append(module.training))
    trainer.trainee.model.decoder.context.register_forward_hook(lambda module, *_: runs.append(module.training))
    images = as_set(squares, second)
    trainer.train(images, images)
    assert runs == [False] * 2  # 22 images are one batch, and there are three validations
    rows = reports(tmp_path)
    assert [row["step"] for row in rows if row["kind"] == "valid"] == [5, 10, 12]
    for row in rows:
        assert row["r2"][0] is None
        if row["kind"] == "train":
            assert row["elbo"] is row["bits_per_dim"] is row["reconstruction"] is None
        else:
            assert row["note"] == "the pixels stand still: the smallest KL is the best"
        assert row["r2"][1] is not None and len(row["kl"]) == 2


def test_the_best_has_the_smallest_kl_and_a_bound_that_is_the_models(
    tmp_path, second, first, squares, as_set, trainer_for, reports
):
    trainer = trainer_for(second, tmp_path)
    trainer.initialise(first, "first")
    images = as_set(squares, second)
    trainer.train(images, images)
    rows = [row for row in reports(tmp_path) if row["kind"] == "valid"]
    best = load_checkpoint(tmp_path / BEST)
    assert best.progress.best_step == min(rows, key=lambda row: sum(row["kl"]))["step"]
    whole = trainer_for(changed(second, learns="all"), tmp_path / "whole")
    whole.initialise(best, "second")
    assert whole.evaluate(images).elbo == pytest.approx(best.progress.best_elbo, abs=1e-3)


@pytest.mark.parametrize("killed", [3, 6])
def test_it_is_resumed_to_the_same_bits(
    tmp_path, second, first, squares, as_set, trainer_for, assert_same_run, monkeypatch, killed
):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    images = as_set(squares, second)
    whole = trainer_for(second, tmp_path / "whole")
    whole.initialise(first, "first", anew=True)
    whole.train(images, images)
    part = trainer_for(second, tmp_path / "parts")
    part.initialise(first, "first", anew=True)
    step = part._step
    monkeypatch.setattr(part, "_step", lambda images: step(images) if part.progress.step < killed else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        part.train(images, images)
    again = trainer_for(load_checkpoint(tmp_path / "parts" / LATEST).recipe, tmp_path / "parts")
    again.resume()
    assert again.progress.step == killed and again.train(images, images)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_anew_begins_what_is_above_z1_at_random_but_for_the_masked_layers(tmp_path, second, first, trainer_for):
    kept, anew = trainer_for(second, tmp_path), trainer_for(second, tmp_path)
    random = {name: value.clone() for name, value in anew.state.weights.items()}
    kept.initialise(first, "first")
    anew.initialise(first, "first", anew=True)
    begun = {name for name, value in anew.state.weights.items() if not value.equal(kept.state.weights[name])}
    assert {re.sub(r"\.[a-z_]+$", "", name).split(".")[1] for name in begun} == {"encoder", "priors", "heads"}
    assert all(anew.state.weights[name].equal(random[name]) for name in begun)
    assert not any(".stack." in name or "stages.0" in name or "decoder" in name for name in begun)
    assert "model.encoder.stages.1.1.weight" in begun and "model.priors.0.context.grow.weight" in begun


def test_its_rate_is_the_schedules_and_z1_is_charged_from_the_start(second):
    assert {group["rate"] for group in parameter_groups(Trainee.of(second), second.training)} == {1.0}
    assert kl_weights(second.training, 0) == [1.0, 1 / 6]


def test_what_stands_still_drops_nothing_out(second):
    encoder = Trainee.of(second).train().model.encoder
    assert [encoder.stages[0].training, encoder.stages[1].training] == [False, True]
    assert Trainee.of(changed(second, learns="all")).train().model.encoder.stages[0].training


def test_weights_that_would_stand_still_untrained_are_refused(tmp_path, second, first, trainer_for, make_architecture):
    lacking = dict(first.tensors)
    del lacking["ema.decoder.context.output.weight"]
    trainer = trainer_for(second, tmp_path)
    before = {name: value.clone() for name, value in trainer.state.weights.items()}
    with pytest.raises(PvaeZooError, match=r"--init it: it has no decoder\.context\.output\.weight of this shape"):
        take_weights(trainer.state, type(first)(first.recipe, first.progress, lacking), "it")
    assert all(torch.equal(value, before[name]) for name, value in trainer.state.weights.items())


def test_a_model_of_one_level_has_no_second_stage(make_recipe):
    with pytest.raises(PvaeZooError, match=r"the model has no p\(z1\|z2\)"):
        changed(make_recipe(), learns="prior")
