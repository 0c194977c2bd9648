import numpy as np
import pytest

from pvae_zoo.runtime import latents, noise
from pvae_zoo.runtime.model import Model


@pytest.fixture
def networks(levels):
    return Model(levels.bundle, "cpu", 1).networks


def test_noise_is_keyed_by_image_and_level_and_more_samples_continue_it(networks):
    one, many = (latents.prior_noise(networks, 3, [5, 9], samples) for samples in (1, 4))
    for level, (a, b) in enumerate(zip(one, many, strict=True), start=1):
        shape = networks.latent_shape(level)
        assert a.shape == (2, *shape) and b.shape == (8, *shape)
        assert np.array_equal(b[[0, 4]], a)
        assert np.array_equal(a[1].ravel(), noise.normals(3, [9], level, a[1].size)[0])
    posterior = latents.posterior_noise(networks, 3, [5, 9])
    assert not any(np.isin(a, b).any() for a, b in zip(one, posterior, strict=True))


def test_the_great_circle_keeps_the_length_and_turns_evenly():
    a, b = np.random.default_rng(0).normal(size=(2, 1, 50)).astype(np.float32)
    b *= np.linalg.norm(a) / np.linalg.norm(b)
    path = latents.interpolate(a, b, 9)
    np.testing.assert_allclose(path[[0, -1]], np.concatenate([a, b]), atol=1e-5)
    lengths = np.linalg.norm(path, axis=1)
    np.testing.assert_allclose(lengths, lengths[0], rtol=1e-5)
    turns = (path[1:] * path[:-1]).sum(1)
    np.testing.assert_allclose(turns, turns[0], rtol=1e-4)


@pytest.mark.parametrize("factor", [1.0, 3.0, -1.0, 0.0])
def test_ends_without_a_great_circle_of_their_own_are_joined_by_a_line(factor):
    a = np.random.default_rng(0).normal(size=(1, 2, 3)).astype(np.float32)
    path = latents.interpolate(a, factor * a, 5)
    expected = a * np.linspace(1, factor, 5)[:, None, None]
    assert np.isfinite(path).all()
    if factor == 0:  # no direction at all counts as a right angle
        np.testing.assert_allclose(path[[0, -1]], expected[[0, -1]], atol=1e-6)
    else:
        np.testing.assert_allclose(path, expected, atol=1e-5)
