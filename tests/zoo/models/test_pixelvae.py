import math
from itertools import product

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from pvae_zoo.models.gaussian import DiagonalGaussian
from pvae_zoo.models.pixelvae import PixelVAE, StandardNormalPrior

SIZES = [(1, 2, 2, 2), (1, 2, 2, 4), (1, 2, 1, 3), (3, 1, 1, 2), (3, 1, 2, 2), (3, 1, 1, 4)]


@pytest.fixture(params=["gates", "upsample"])
def conditioning(request):
    return request.param


def strong(architecture):
    """A model, untrained, whose latents matter and whose posteriors are off the prior and a little wider."""
    model = PixelVAE(architecture).eval()
    with torch.no_grad():
        for head in model.encoder.heads:
            head.output.bias.view(2, -1).copy_(torch.tensor([[1.0], [0.3]]))
        context = model.decoder.context
        (context.linear if hasattr(context, "linear") else context.grow).weight.mul_(3)
    return model


def all_images(image):
    values = list(product(range(image.levels), repeat=image.dimensions))
    return torch.tensor(values, dtype=torch.uint8).view(-1, *image.chw)


@torch.no_grad()
def exact_log_prob(model, x):
    """log p(x) of a model with one latent dimension, by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    log_weights = torch.from_numpy(np.log(weights / math.sqrt(2 * math.pi)))
    z = torch.from_numpy(nodes).float().view(-1, *(1 for _ in model.architecture.latent_shapes[0]))
    given = [model.log_likelihood(image.expand(len(z), -1, -1, -1), z).double() for image in x]
    return torch.stack([(log_weights + log_prob).logsumexp(0) for log_prob in given])


@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_probabilities_of_all_images_sum_to_one_at_every_z(size, conditioning, make_architecture):
    model = strong(make_architecture(size, conditioning, embedding=2))
    x = all_images(model.architecture.image)
    for z in 2 * torch.randn(3, 1, 2):
        assert model.log_likelihood(x, z.expand(len(x), -1)).double().exp().sum() == pytest.approx(1, abs=1e-5)


def test_probabilities_sum_to_one_without_the_latent(conditioning, make_architecture):
    model = strong(make_architecture((1, 2, 2, 2), conditioning, latents=1))
    log_prob = exact_log_prob(model, all_images(model.architecture.image))
    assert log_prob.exp().sum() == pytest.approx(1, abs=1e-5)
    assert log_prob.std() > 0.05


@torch.no_grad()
def test_the_bounds_are_ordered_and_stay_below_the_evidence(conditioning, make_architecture):
    """E ELBO = E IWAE_1 < E IWAE_2 < E IWAE_8 < E IWAE_32 <= log p(x), each pair on the same noise."""
    model = strong(make_architecture((1, 2, 2, 2), conditioning, latents=1))
    x = torch.tensor([[0, 1], [1, 0]], dtype=torch.uint8).expand(3000, 1, 2, 2)
    noise = torch.randn(len(x), 32, 1)
    elbo = model(x, [noise[:, 0]]).value
    iwae = {k: model.iwae(x, k, lambda n, k=k: [noise[:, :k].reshape(n, 1)], chunk=k) for k in (1, 2, 8, 32)}

    def mean_and_error(difference):
        return float(difference.mean()), 4 * float(difference.std()) / math.sqrt(len(x))

    gap, error = mean_and_error(iwae[1] - elbo)
    assert abs(gap) < error
    for fewer, more in ((1, 2), (2, 8), (8, 32)):
        # The mean over all groups of `fewer` draws, in place of the first group, is the same bound with less noise.
        groups = torch.cat([noise[:, i : i + fewer] for i in range(0, more, fewer)])
        tiled = x[:1].expand(len(groups), -1, -1, -1)
        bound = model.iwae(tiled, fewer, lambda n, g=groups: [g.reshape(n, 1)], chunk=fewer)
        gap, error = mean_and_error(iwae[more] - bound.view(-1, len(x)).mean(0))
        assert gap > error
    gap, error = mean_and_error(exact_log_prob(model, x[:1]) - iwae[32])
    assert gap > -error
    assert gap < 0.05
    gap, error = mean_and_error(exact_log_prob(model, x[:1]) - elbo)
    assert gap > error


@torch.no_grad()
def test_the_evidence_is_exact_when_the_posterior_is(make_architecture):
    """A decoder that ignores z and q = p: every bound is log p(x)."""
    model = PixelVAE(make_architecture((1, 2, 2, 2), latents=1)).eval()
    model.decoder.context.linear.weight.zero_()
    model.encoder.heads[0].output.weight.zero_()
    x = all_images(model.architecture.image)
    log_prob = exact_log_prob(model, x).float()
    torch.testing.assert_close(model(x, [torch.randn(16, 1)]).value, log_prob)
    torch.testing.assert_close(model.iwae(x, 5, lambda n: [torch.randn(n, 1)]), log_prob)


@torch.no_grad()
def test_the_importance_weighted_bound_is_its_formula(make_architecture):
    model = strong(make_architecture((3, 4, 4, 4)))
    x = torch.randint(4, (5, 3, 4, 4), dtype=torch.uint8)
    noise = torch.randn(5, 7, 2)
    (q,) = model.posteriors(x)
    q, p = Normal(q.mean, q.log_std.exp()), Normal(0.0, 1.0)
    weights = []
    for k in range(7):
        z = q.mean + q.stddev * noise[:, k]
        weights.append(model.log_likelihood(x, z) + p.log_prob(z).sum(1) - q.log_prob(z).sum(1))
    expected = torch.stack(weights).logsumexp(0) - math.log(7)
    bound = model.iwae(x, 7, lambda n: [noise.reshape(n, 2)])
    torch.testing.assert_close(bound, expected)


@torch.no_grad()
def test_chunks_do_not_change_the_importance_weighted_bound(make_architecture):
    model = strong(make_architecture())
    x, noise = torch.randint(2, (5, 1, 4, 4), dtype=torch.uint8), torch.randn(5, 7, 2)
    drawn = iter(noise.split([3, 3, 1], dim=1))
    bound = model.iwae(x, 7, lambda n: [next(drawn).reshape(n, 2)], chunk=3)
    torch.testing.assert_close(bound, model.iwae(x, 7, lambda n: [noise.reshape(n, 2)]))


@torch.no_grad()
def test_the_elbo_is_the_likelihood_less_the_divergence(conditioning, make_architecture):
    model = strong(make_architecture((3, 4, 4, 4), conditioning))
    x, noise = torch.randint(4, (5, 3, 4, 4), dtype=torch.uint8), torch.randn(5, 2)
    (q,) = model.posteriors(x)
    elbo = model(x, [noise])
    torch.testing.assert_close(elbo.kl[0], q.kl(DiagonalGaussian.standard(noise)))
    torch.testing.assert_close(elbo.log_likelihood, model.log_likelihood(x, q.mean + q.log_std.exp() * noise))
    torch.testing.assert_close(elbo.value, elbo.log_likelihood - elbo.kl[0])
    assert elbo.value.shape == (5,) and (elbo.kl[0] > 0).all()


def test_the_bound_reaches_every_parameter(conditioning, make_architecture):
    architecture = make_architecture((3, 4, 4, 4), conditioning, embedding=2)
    model = PixelVAE(architecture)
    x = torch.randint(4, (8, 3, 4, 4), dtype=torch.uint8)
    model(x, [torch.randn(8, 2)]).value.sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_evaluation_is_deterministic_and_dropout_is_not(make_architecture):
    model = PixelVAE(make_architecture(encoder_dropout=0.5, dropout=0.5))
    x, noise = torch.randint(2, (5, 1, 4, 4), dtype=torch.uint8), [torch.randn(5, 2)]
    assert not model(x, noise).value.equal(model(x, noise).value)
    model.eval()
    assert model(x, noise).value.equal(model(x, noise).value)


def test_the_top_level_has_nothing_above_it():
    with pytest.raises(ValueError, match="nothing above"):
        StandardNormalPrior()(torch.zeros(1, 2), torch.zeros(1, 2))
