import math

import numpy as np
import pytest

from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.runtime.scoring import Gaussian, Scores, bits_per_dim, log_mean_exp, merge_scores, standard_log_prob

SHAPE = ImageShape(channels=3, height=4, width=5, levels=256)


def gaussian(n=2, shape=(3,), seed=0):
    random = np.random.default_rng(seed)
    mean, log_std = random.normal(size=(n, *shape)), random.normal(size=(n, *shape)) * 0.5
    return Gaussian(mean.astype(np.float32), log_std.astype(np.float32))


def standard(n, shape):
    return Gaussian(np.zeros((n, *shape), np.float32), np.zeros((n, *shape), np.float32))


def scores(n, *, iwae=True, start=0.0):
    values = start + np.arange(n, dtype=np.float64)
    surprise = np.broadcast_to(values[:, None, None, None], (n, *SHAPE.chw)).astype(np.float32)
    return Scores(SHAPE, 100 + values, np.stack([values, 2 * values], 1), values if iwae else None, surprise)


@pytest.mark.parametrize("shape", [(3,), (2, 2, 3)])
def test_densities_are_those_of_the_normal_distribution(shape):
    q = gaussian(shape=shape)
    z = np.random.default_rng(1).normal(size=(10, *shape)).astype(np.float32)
    found = q.repeat(5).log_prob(z)
    for k in range(10):
        std, gap = np.exp(q.log_std[k // 5].astype(float)), z[k] - q.mean[k // 5].astype(float)
        expected = np.log(np.exp(-0.5 * (gap / std) ** 2) / (std * math.sqrt(2 * math.pi))).sum()
        assert found[k] == pytest.approx(expected, abs=1e-6)
    np.testing.assert_allclose(standard_log_prob(z), standard(10, shape).log_prob(z))


def test_draws_have_the_posteriors_mean_and_deviation():
    q = gaussian()
    noise = np.random.default_rng(2).normal(size=(80_000, 3)).astype(np.float32)
    z, std = q.repeat(40_000).sample(noise), np.exp(q.log_std)
    assert z.dtype == np.float32 and z.shape == noise.shape
    z = z.reshape(2, 40_000, 3)
    assert (np.abs(z.mean(1) - q.mean) < 5 * std / 200).all()
    assert np.abs(z.std(1) / std - 1).max() < 0.02


@pytest.mark.parametrize("shape", [(3,), (2, 2, 2)])
@pytest.mark.parametrize("prior", [None, "another"])
def test_the_divergence_is_its_monte_carlo_estimate(shape, prior):
    q, count = gaussian(shape=shape), 200_000
    p = gaussian(shape=shape, seed=5) if prior else None
    every = q.repeat(count)
    draws = every.sample(np.random.default_rng(3).normal(size=(2 * count, *shape)).astype(np.float32))
    log_prior = p.repeat(count).log_prob(draws) if p else standard_log_prob(draws)
    ratio = (every.log_prob(draws) - log_prior).reshape(2, count)
    error = 4 * ratio.std(1) / math.sqrt(count)
    assert (error < 0.02 * q.kl(p)).all()
    assert (np.abs(ratio.mean(1) - q.kl(p)) < error).all()


def test_the_divergence_of_a_distribution_from_itself_is_zero():
    assert standard(2, (3,)).kl().tolist() == [0, 0]
    q = gaussian()
    assert q.kl(q).tolist() == [0, 0]
    np.testing.assert_allclose(q.kl(standard(2, (3,))), q.kl())


def test_log_mean_exp_is_stable_where_exp_is_not():
    weights = np.array([[0.0, 1.0, 2.0], [0.5, 0.5, 0.5]])
    expected = np.log(np.exp(weights).mean(-1))
    for shift in (0.0, -1e4, 1e4):
        np.testing.assert_allclose(log_mean_exp(weights + shift), expected + shift, rtol=1e-12)
    assert log_mean_exp(np.array([[-1e4]])).tolist() == [-1e4]


def test_bits_per_dim_divides_by_the_values_and_ln_2_once():
    assert bits_per_dim(60 * math.log(2) * 3.5, SHAPE) == pytest.approx(3.5)
    assert bits_per_dim(60 * math.log(256), SHAPE) == pytest.approx(8)
    s = scores(3)
    np.testing.assert_allclose(s.bits_per_dim, s.nll_nats / 60 / math.log(2))


def test_the_bound_is_reconstruction_plus_every_levels_divergence():
    s = scores(4)
    assert s.nll_nats.tolist() == [100, 104, 108, 112]
    assert s.standard_error_nats == pytest.approx(np.std([100, 104, 108, 112], ddof=1) / 2)
    assert scores(1).standard_error_nats == 0


def test_batches_are_joined_in_order():
    joined = merge_scores([scores(2), scores(1, start=2), scores(3, start=3)])
    whole = scores(6)
    for name in ("reconstruction_nats", "kl_nats", "iwae_nll_nats", "log_prob", "nll_nats"):
        assert np.array_equal(getattr(joined, name), getattr(whole, name))
    assert len(joined) == 6
    assert merge_scores([scores(2, iwae=False)] * 2).iwae_nll_nats is None


def test_repeated_gaussians_stand_in_a_row():
    q = gaussian(3)
    assert len(q.repeat(2)) == 6
    assert np.array_equal(q.repeat(2).mean[2:4], q.mean[[1, 1]])
    assert np.array_equal(q.repeat(2).log_std[4:], q.log_std[[2, 2]])
