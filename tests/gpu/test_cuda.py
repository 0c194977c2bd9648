"""CUDA computes what the CPU computes. These need a GPU, so that no machine without one can say whether they pass."""

import numpy as np
import pytest

import pvae_zoo
from pvae_zoo.checks.selftest import self_test
from pvae_zoo.runtime import latents
from pvae_zoo.runtime.networks import Networks
from pvae_zoo.runtime.sessions import CUDA
from pvae_zoo.sources.registry import open_bundle

pytestmark = pytest.mark.gpu


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
