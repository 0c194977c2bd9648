"""CUDA computes what the CPU computes. These need a GPU, so that no machine without one can say whether they pass."""

import numpy as np
import pytest
import torch

import pvae_zoo
from pvae_zoo.checks.selftest import self_test
from pvae_zoo.data.datasets import ImageSet
from pvae_zoo.runtime import latents
from pvae_zoo.runtime.networks import Networks
from pvae_zoo.runtime.sessions import CUDA, import_onnxruntime
from pvae_zoo.sources.registry import open_bundle
from pvae_zoo.training.checkpoint import BEST, LATEST, load_checkpoint
from pvae_zoo.training.distributed import World
from pvae_zoo.training.loop import Trainer
from pvae_zoo.training.recipe import Thumbnail

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module", autouse=True)
def _cuda():
    if CUDA not in import_onnxruntime().get_available_providers():
        pytest.skip("needs onnxruntime-gpu")
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")


@pytest.fixture(params=["mnist", "mnist-upsample"])
def name(request):
    return request.param


def test_the_golden_vectors_hold_on_cuda(name):
    result = self_test(open_bundle(name), "auto")
    assert result.ok and set(result.runs) == {"cpu", "cuda"}
    assert result.runs["cuda"].provider == CUDA


def test_cuda_draws_the_images_of_the_cpu_and_scores_them_alike(name):
    on_cpu, on_cuda = pvae_zoo.load(name, device="cpu"), pvae_zoo.load(name, device="cuda")
    assert on_cuda.provider == CUDA
    images = on_cpu.sample(16, seed=5)
    # Where a uniform stands within rounding of a threshold, a pixel falls to the other side, and the rest follows it.
    same = (on_cuda.sample(16, seed=5) == images).all(axis=(1, 2, 3))
    assert same.mean() >= 14 / 16
    expected, found = on_cpu.nll(images, samples=3), on_cuda.nll(images, samples=3)
    np.testing.assert_allclose(found.nll_nats, expected.nll_nats, atol=5e-3)
    np.testing.assert_allclose(found.iwae_nll_nats, expected.iwae_nll_nats, atol=5e-3)


def test_a_seed_draws_the_same_images_on_cuda_for_any_batch_size():
    model = pvae_zoo.load("mnist", device="cuda")
    whole, cut = model.sample(24, seed=1), model.sample(24, seed=1, batch_size=5)
    assert (whole == cut).all(axis=(1, 2, 3)).mean() >= 22 / 24


def test_given_places_of_z1_are_seen_by_the_others_on_the_device(levels):
    on_cpu, on_cuda = Networks(levels.bundle, "cpu", 1), Networks(levels.bundle, "cuda", 1)
    eps = latents.prior_noise(on_cpu, 0, range(3))
    known = np.full_like(eps[0], np.nan)
    known[:, :, 1] = 3.0
    expected = on_cpu.draw_z1(eps, known=known)
    np.testing.assert_allclose(on_cuda.draw_z1(eps, known=known), expected, atol=1e-3)
    assert not np.allclose(on_cuda.draw_z1(eps)[:, :, 2:], expected[:, :, 2:], atol=1e-3)


def test_a_model_trains_on_cuda_and_goes_on_from_its_checkpoint(tmp_path, make_recipe):
    recipe = make_recipe(steps=60, validate_every=20, batch_size=16)
    images = np.zeros((64, *recipe.model.image.chw), np.uint8)
    images[:, :, ::2] = 1
    images = ImageSet.of(images, recipe.model.image)

    def trainer():
        return Trainer(recipe, tmp_path, world=World(), device="cuda")

    first = trainer()
    assert not first.train(images, images, max_minutes=0)
    second = trainer()
    second.resume()
    assert second.progress.step == first.progress.step >= 1
    assert second.train(images, images)
    best = load_checkpoint(tmp_path / BEST).progress
    assert best.best_elbo > -3 and load_checkpoint(tmp_path / LATEST).progress.step == 60
    assert best.hardware == torch.cuda.get_device_name()


def test_a_compiled_model_with_thumbnails_trains_on_cuda(tmp_path, make_recipe, make_architecture):
    thumbnails = (Thumbnail(size=4, sigma=0.1), Thumbnail(size=2, sigma=0.15))
    recipe = make_recipe(make_architecture((3, 8, 8, 4), top=3), steps=40, batch_size=16, thumbnails=thumbnails)
    images = np.random.default_rng(0).integers(0, 4, (64, 3, 2, 2), np.uint8).repeat(4, 2).repeat(4, 3)
    images = ImageSet.of(images, recipe.model.image)
    trainer = Trainer(recipe, tmp_path, world=World(), device="cuda", compile_model=True)
    before = trainer.evaluate(images)
    assert trainer.train(images, images)
    assert trainer.evaluate(images).elbo > before.elbo
