from dataclasses import replace

import numpy as np
import pytest
import torch

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.data.datasets import ImageSet
from pvae_zoo.models.pixelvae import PixelVAE
from pvae_zoo.paper.latents import (
    FULL_LATENTS,
    QUICK_LATENTS,
    RECIPE,
    LatentsStudy,
    latents_recipe,
    latents_result,
    latents_studies,
    measured_latents,
)
from pvae_zoo.paper.training import Workshop
from pvae_zoo.training.checkpoint import LATEST
from pvae_zoo.training.recipe import load_recipe
from pvae_zoo.training.schedule import latent_noise, step_generator

WITH, WITHOUT = LatentsStudy(True, 2), LatentsStudy(False, 2)


@pytest.mark.parametrize("budget", [FULL_LATENTS, QUICK_LATENTS], ids=["full", "quick"])
def test_a_pair_differs_in_its_latents_alone(budget):
    for images in budget.images:
        found, alone = (latents_recipe(LatentsStudy(latents, images), budget) for latents in (True, False))
        assert found.model.decoder.pixelcnn == alone.model.decoder.pixelcnn and found.data == alone.data
        assert alone.model.latents == () and alone.model.decoder.conditioning == "none"
        same = {key: getattr(found.training, key) for key in vars(found.training) if key not in vars_of_levels(found)}
        assert same.items() <= vars(alone.training).items()
        assert -(-images // budget.batch_size) == found.training.steps == found.training.validate_every


def vars_of_levels(recipe):
    """Options that have an entry for each level of latents."""
    options = vars(recipe.training)
    return {key for key, value in options.items() if isinstance(value, tuple)}


def test_the_full_study_is_of_the_zoo_s_network_and_its_schedule_is_scaled():
    shipped, recipe = load_recipe(RECIPE), latents_recipe(LatentsStudy(True, 12_000), FULL_LATENTS)
    assert recipe.model == shipped.model and recipe.training.learning_rate == shipped.training.learning_rate
    assert recipe.training.steps == 750 and recipe.training.warmup_steps <= 75
    share = shipped.training.cooldown_steps / shipped.training.steps
    assert recipe.training.cooldown_steps == pytest.approx(750 * share, abs=1)
    for option in vars_of_levels(shipped) - {"kl_warmup_steps"}:
        assert getattr(recipe.training, option) == getattr(shipped.training, option)


def test_small_budgets_come_first():
    order = [(study.images, study.latents) for study in latents_studies(replace(FULL_LATENTS, images=(9, 5)))]
    assert order == [(5, False), (5, True), (9, False), (9, True)]


def test_another_image_s_latents_are_those_of_the_image_before(make_architecture):
    architecture = make_architecture((3, 8, 8, 4), top=2)
    model = PixelVAE(architecture).eval()
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(1.5)
    values = np.random.default_rng(0).integers(0, 4, (23, 3, 8, 8), np.uint8)
    nll, kl, others = measured_latents(model, ImageSet.of(values, architecture.image))
    generator, x, parts = step_generator(0, 0), torch.from_numpy(values), []
    with torch.no_grad():
        for part in x.split(10):
            parts.append(latent_noise(architecture, len(part), generator))
        noise = [torch.cat(level) for level in zip(*parts, strict=True)]
        elbo, q = model(x, noise), model.posteriors(x)[0]
        before = torch.stack([q.rsample(noise[0])[i - 1] for i in range(23)])
        expected = sum(elbo.kl) - model.log_likelihood(x, before)
    np.testing.assert_allclose(nll, -elbo.value, rtol=1e-5)
    np.testing.assert_allclose(others, expected, rtol=1e-5)
    assert kl == pytest.approx([float(nats.mean()) for nats in elbo.kl], rel=1e-5)
    assert np.abs(others - nll).max() > 0.1


def test_without_latents_the_figure_is_exact(make_architecture):
    architecture = latents_recipe(WITHOUT, QUICK_LATENTS).model
    values = np.random.default_rng(0).integers(0, 256, (2, 3, 64, 64), np.uint8)
    model = PixelVAE(architecture).eval()
    nll, kl, others = measured_latents(model, ImageSet.of(values, architecture.image))
    with torch.no_grad():
        exact = -model.log_likelihood(torch.from_numpy(values), torch.empty(2, 0))
    np.testing.assert_allclose(nll, exact, rtol=1e-5)
    assert kl == [] and others is None


def test_a_stopped_run_goes_on_and_a_finished_one_is_measured_alone(photos, tmp_path, monkeypatch):
    workshop = Workshop(tmp_path)
    first = latents_result(WITH, QUICK_LATENTS, workshop, photos)
    assert first.dataset == "photos" and first.images_seen == 2 and first.valid_images == 3
    assert 5 < first.bits_per_dim < 12 and len(first.kl_nats) == 2 and first.others_bits_per_dim > 5
    monkeypatch.setattr("pvae_zoo.training.loop.Trainer.train", None)
    assert latents_result(WITH, QUICK_LATENTS, workshop, photos) == first
    with pytest.raises(PvaeZooError, match="holds a run of another recipe"):
        latents_result(WITH, replace(QUICK_LATENTS, batch_size=1), workshop, photos)
    assert (tmp_path / "quick" / WITH.name / LATEST).exists()
