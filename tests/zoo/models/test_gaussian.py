import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from pvae_zoo.models.gaussian import DiagonalGaussian


@pytest.fixture(params=[(3,), (2, 3, 4)], ids=["vector", "map"])
def pair(request):
    """A q and a p of four images, in float64."""
    mean_q, log_std_q, mean_p, log_std_p = torch.randn(4, 4, *request.param, dtype=torch.float64)
    return DiagonalGaussian(mean_q, 0.7 * log_std_q), DiagonalGaussian(mean_p, 0.4 * log_std_p)


def reference(gaussian):
    return Normal(gaussian.mean, gaussian.log_std.exp())


def per_image(values):
    return values.flatten(1).sum(1)


def test_log_prob_is_that_of_torch(pair):
    q, _ = pair
    z = torch.randn_like(q.mean)
    torch.testing.assert_close(q.log_prob(z), per_image(reference(q).log_prob(z)))


def test_kl_is_that_of_torch(pair):
    q, p = pair
    torch.testing.assert_close(q.kl(p), per_image(kl_divergence(reference(q), reference(p))))


def test_kl_agrees_with_monte_carlo(pair):
    q, p = pair
    draws = 10_000
    many_q, many_p = (
        DiagonalGaussian(g.mean.repeat_interleave(draws, 0), g.log_std.repeat_interleave(draws, 0)) for g in pair
    )
    z = many_q.rsample(torch.randn_like(many_q.mean))
    ratios = (many_q.log_prob(z) - many_p.log_prob(z)).view(4, draws)
    standard_error = ratios.std(1) / math.sqrt(draws)
    assert ((ratios.mean(1) - q.kl(p)).abs() < 4 * standard_error).all()


def test_kl_is_zero_of_itself_and_positive_otherwise(pair):
    q, p = pair
    torch.testing.assert_close(q.kl(q), torch.zeros(4, dtype=torch.float64))
    assert (q.kl(p) > 0).all() and not torch.allclose(q.kl(p), p.kl(q))


def test_draws_have_the_mean_and_the_standard_deviation(pair):
    q, _ = pair
    draws = torch.stack([q.rsample(torch.randn_like(q.mean)) for _ in range(4000)])
    torch.testing.assert_close(draws.mean(0), q.mean, rtol=0, atol=float(4.5 * q.log_std.exp().max() / 4000**0.5))
    torch.testing.assert_close(draws.std(0), q.log_std.exp(), rtol=0.06, atol=0)


def test_draws_carry_gradients_to_mean_and_log_std(pair):
    q, _ = pair
    q = DiagonalGaussian(q.mean.requires_grad_(), q.log_std.requires_grad_())
    noise = torch.randn_like(q.mean)
    q.rsample(noise).sum().backward()
    torch.testing.assert_close(q.mean.grad, torch.ones_like(noise))
    torch.testing.assert_close(q.log_std.grad, (q.log_std.exp() * noise).detach())


def test_the_standard_gaussian_is_standard(pair):
    q, _ = pair
    z = torch.randn_like(q.mean)
    standard = Normal(torch.zeros_like(z), torch.ones_like(z))
    torch.testing.assert_close(DiagonalGaussian.standard(z).log_prob(z), per_image(standard.log_prob(z)))
