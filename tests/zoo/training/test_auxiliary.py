import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.architecture import ArchitectureError, ImageShape
from pvae_zoo.contract.folder import Bundle
from pvae_zoo.export.bundle import write_bundle
from pvae_zoo.export.weights import checkpoint_of
from pvae_zoo.training import loop
from pvae_zoo.training.auxiliary import thumbnails_of
from pvae_zoo.training.checkpoint import BEST, LATEST, load_checkpoint
from pvae_zoo.training.recipe import Thumbnail, changed
from pvae_zoo.training.reports import Meter
from pvae_zoo.training.schedule import aid_weight
from pvae_zoo.training.trainee import Terms, Trainee


@pytest.fixture
def case(two_levels):
    trainee = Trainee.of(two_levels).eval()
    x = torch.randint(4, (5, 3, 8, 8), dtype=torch.uint8)
    return trainee, x, [torch.randn(5, *shape) for shape in two_levels.model.latent_shapes]


def test_a_thumbnail_is_the_mean_of_the_scaled_values():
    x = torch.tensor([[[[0, 1, 3, 3], [2, 3, 3, 3]]]], dtype=torch.uint8)
    shape = ImageShape(channels=1, height=2, width=4, levels=4)
    assert thumbnails_of(x, shape, 2).tolist() == [[[[pytest.approx(-2 / 3), 1], [pytest.approx(2 / 3), 1]]]]


def test_a_level_tells_its_thumbnail_through_one_linear_layer_of_what_is_made_of_it(case):
    trainee, x, noise = case
    terms = trainee(x, noise)
    latents = trainee.model.latent_terms(x, noise)
    made = [trainee.model.decoder.context(latents.latents[0]), trainee.model.priors[0].context(latents.latents[1])]
    for level, size in enumerate((4, 2)):
        cells = made[level].unflatten(2, (size, -1)).unflatten(4, (size, -1)).mean((3, 5))
        layer = trainee.auxiliary.heads[level]
        guess = torch.einsum("oc,bchw->bohw", layer.weight[:, :, 0, 0], cells) + layer.bias[:, None, None]
        expected = (guess - thumbnails_of(x, trainee.model.architecture.image, size)).square().sum((1, 2, 3))
        torch.testing.assert_close(terms.errors[level], expected)


def test_the_bound_is_that_of_the_model(case):
    trainee, x, noise = case
    terms, elbo = trainee(x, noise), trainee.model(x, noise)
    assert terms.log_likelihood.equal(elbo.log_likelihood)
    assert all(a.equal(b) for a, b in zip(terms.kl, elbo.kl, strict=True))
    torch.testing.assert_close(terms.bound(), -elbo.value)


def test_each_context_is_computed_once(case, monkeypatch):
    trainee, x, noise = case
    calls = []
    for part in (trainee.model.decoder.context, trainee.model.priors[0].context):
        part.register_forward_hook(lambda module, *_: calls.append(module))
    trainee(x, noise)
    assert calls == [trainee.model.priors[0].context, trainee.model.decoder.context]


def test_the_loss_has_the_gaussians_nats(case):
    trainee, *_ = case
    terms = Terms(torch.tensor([-10.0, -20.0]), (torch.tensor([1.0, 3.0]), torch.tensor([2.0, 2.0])), (
        torch.tensor([0.1, 0.3]), torch.tensor([0.045, 0.045]),
    ))  # fmt: skip
    told = 0.2 / (2 * 0.1**2) + 0.045 / (2 * 0.15**2)
    assert float(trainee.loss(terms, [0.5, 1.0], 1.0)) == pytest.approx(15 + 0.5 * 2 + 2 + told)
    assert float(trainee.loss(terms, [0.5, 1.0], 0.5)) == pytest.approx(15 + 0.5 * 2 + 2 + told / 2)


def test_the_aid_falls_to_a_half_late_in_the_run(two_levels):
    config = replace(two_levels.training, steps=10)
    assert [aid_weight(config, step) for step in (0, 5, 6, 9)] == [1.0, 1.0, 0.5, 0.5]


def test_the_aid_reaches_the_latents_and_their_networks(case):
    trainee, x, noise = case
    first, second = trainee(x, noise).errors
    encoder = trainee.model.encoder
    for error, reached in (
        (first, [encoder.stem, encoder.heads[0], trainee.model.decoder.context, trainee.auxiliary.heads[0]]),
        (second, [encoder.stem, encoder.heads[1], trainee.model.priors[0].context, trainee.auxiliary.heads[1]]),
    ):
        weights = [next(module.parameters()) for module in reached]
        assert all(bool(g.any()) for g in torch.autograd.grad(error.sum(), weights, retain_graph=True))


def test_r2_is_one_minus_the_error_over_the_variance_about_each_colours_mean(case):
    trainee, _, _ = case
    x = torch.randint(2, (20, 3, 8, 8), dtype=torch.uint8)  # dark images: a mean far from 0
    meter, errors = Meter(trainee.auxiliary), torch.rand(20)
    for part, error in ((slice(0, 5), errors[:5]), (slice(5, 20), errors[5:])):
        meter.add(Terms(torch.zeros(len(error)), (error, error), (error, None)), x[part])
    values = thumbnails_of(x, trainee.model.architecture.image, 4)
    variance = (values - values.mean((0, 2, 3), keepdim=True)).square().sum()
    means = meter.means()
    assert means.r2 == (pytest.approx(1 - float(errors.sum() / variance), rel=1e-4), None)
    assert means.kl == (pytest.approx(float(errors.mean()), rel=1e-5),) * 2


def test_a_run_with_thumbnails_is_resumed_to_the_same_bits(
    tmp_path, two_levels, squares, as_set, trainer_for, assert_same_run, reports, monkeypatch
):
    monkeypatch.setattr(loop, "REPORT_SECONDS", -1.0)  # a report every step
    images = as_set(squares, two_levels)
    assert trainer_for(two_levels, tmp_path / "whole").train(images, images)
    for budget in (0.0, 0.0, math.inf):  # stopped after one step, and after another
        part = trainer_for(two_levels, tmp_path / "parts")
        if (tmp_path / "parts" / LATEST).exists():
            part.resume()
        monkeypatch.setattr(part, "_validate" if budget == 0 else "report", lambda *_: None)
        part.train(images, images, max_minutes=budget)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    rows = reports(tmp_path / "whole")
    assert all(len(row["r2"]) == 2 and row["bits_per_dim"] > 0 for row in rows)


def test_thumbnails_are_kept_in_the_checkpoint_and_not_in_the_bundle(
    tmp_path, two_levels, squares, as_set, trainer_for
):
    images = as_set(squares, two_levels)
    trainer = trainer_for(two_levels, tmp_path / "run")
    trainer.train(images, images)
    latest, best = (load_checkpoint(tmp_path / "run" / name) for name in (LATEST, BEST))
    names = {"heads.0.weight", "heads.0.bias", "heads.1.weight", "heads.1.bias"}
    assert set(latest.section("auxiliary")) == set(best.section("auxiliary_ema")) == names
    write_bundle(best, tmp_path / "bundle")
    assert not checkpoint_of(Bundle(tmp_path / "bundle")).section("auxiliary_ema")
    again = trainer_for(two_levels, tmp_path / "again")
    again.initialise(best, "run")
    assert again.state.weights["auxiliary.heads.1.weight"].equal(best.section("auxiliary_ema")["heads.1.weight"])


def test_a_thumbnail_comes_to_be_told(tmp_path, make_recipe, two_levels, squares, as_set, trainer_for, reports):
    recipe = changed(two_levels, steps=150, batch_size=16, validate_every=150, cooldown_steps=50)
    images = as_set(squares, recipe)
    trainer = trainer_for(recipe, tmp_path)
    assert max(trainer.evaluate(images).r2) < 0.3
    trainer.train(images, images)
    assert min(reports(tmp_path)[-1]["r2"]) > 0.5


@pytest.mark.parametrize(
    ("thumbnails", "message"),
    [
        ([(4, 0.1)], r"training\.thumbnails must have one entry for each of the 2 levels of latents, not 1"),
        ([(3, 0.1), (2, 0.1)], r"training\.thumbnails\.size=3 does not divide an image of 8x8"),
        ([(4, 0.1), (8, 0.1)], r"training\.thumbnails\.size=8 does not divide what is made of z2, of 4x4"),
        ([(0, 0.1), (2, 0.1)], r"training\.thumbnails\.size=0 must be positive"),
        ([(4, math.nan), (2, 0.1)], r"training\.thumbnails\.sigma=nan must be finite"),
    ],
)
def test_a_thumbnail_that_cannot_be_is_refused(two_levels, thumbnails, message):
    with pytest.raises(PvaeZooError, match=message):
        changed(two_levels, thumbnails=tuple(Thumbnail(size=size, sigma=sigma) for size, sigma in thumbnails))


def test_gates_have_no_places_to_tell_from(make_recipe, make_architecture):
    with pytest.raises(ArchitectureError, match="conditioning=upsample"):
        make_recipe(make_architecture(), thumbnails=(Thumbnail(size=2, sigma=0.1),))


def test_the_images_need_not_be_square(make_recipe, make_architecture):
    architecture = make_architecture((1, 8, 4, 4), conditioning="upsample")
    trainee = Trainee.of(make_recipe(architecture, thumbnails=(Thumbnail(size=4, sigma=0.1),)))
    x = torch.from_numpy(np.zeros((2, 1, 8, 4), np.uint8))
    assert trainee(x, [torch.zeros(2, 2)]).errors[0].shape == (2,)
