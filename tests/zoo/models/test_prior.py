import pytest
import torch
from torch.distributions import Normal

from pvae_zoo.models.gaussian import STD_LIMIT, DiagonalGaussian, limited_log_std
from pvae_zoo.models.pixelvae import PixelVAE
from pvae_zoo.models.prior import MapPrior, StandardNormalPrior


@pytest.fixture
def model(levels):
    return levels.model


def parameters(prior, z1, z2):
    p = prior(z1, z2)
    return torch.stack([p.mean, p.log_std])


def normal(gaussian):
    return Normal(gaussian.mean, gaussian.log_std.exp())


def test_a_location_of_z1_depends_on_those_before_it_and_on_all_of_z2(model):
    (channels, height, width), (top,) = model.architecture.latent_shapes
    prior = model.priors[0]
    z1, z2 = torch.randn(1, channels, height, width), torch.randn(1, top)
    with torch.no_grad():
        before = parameters(prior, z1, z2)
        seen = set()
        for y in range(height):
            for x in range(width):
                for c in range(channels):
                    other = z1.clone()
                    other[0, c, y, x] += 1
                    changed = (parameters(prior, other, z2) != before).any((0, 1, 2)).flatten()
                    assert not changed[: y * width + x + 1].any()
                    seen |= {int(i) - (y * width + x) for i in changed.nonzero()}
        assert {1, width} <= seen
        for d in range(top):
            other = z2.clone()
            other[0, d] += 1
            assert (parameters(prior, z1, other) != before).all()


def test_the_divergence_of_both_levels_is_their_monte_carlo_estimate(model):
    """E over q(z1, z2 | x) of log q - log p is the sum of the KLs that the bound is made of."""
    (x,) = torch.randint(4, (1, 1, *model.architecture.image.chw), dtype=torch.uint8)
    count = 20_000
    with torch.no_grad():
        posteriors = [DiagonalGaussian(q.mean.expand(count, *q.mean.shape[1:]), q.log_std) for q in model.posteriors(x)]
        z = [q.rsample(torch.randn_like(q.mean)) for q in posteriors]
        kl = torch.stack([q.kl(p) for q, p in zip(posteriors, model.prior_of(z), strict=True)]).sum(0)
        ratio = torch.stack([
            (normal(q).log_prob(v) - normal(p).log_prob(v)).flatten(1).sum(1)
            for q, p, v in zip(posteriors, model.prior_of(z), z, strict=True)
        ]).sum(0)  # fmt: skip
    error = 4.5 * (ratio - kl).std() / count**0.5
    assert error < 0.2 * kl.mean()
    assert (ratio - kl).mean().abs() < error


def test_bounds_are_ordered_and_below_the_exact_likelihood(make_architecture):
    """With two levels: ELBO <= IWAE(4) <= IWAE(64) <= log p(x), the latter by a long run of the prior."""
    model = PixelVAE(make_architecture((1, 2, 2, 2), top=1, latents=1)).eval()
    with torch.no_grad():
        for head in model.encoder.heads:  # wide posteriors, or the weights have no finite variance
            head.output.weight.mul_(0.2)
    images = torch.cartesian_prod(*[torch.tensor([0, 1], dtype=torch.uint8)] * 4).view(16, 1, 2, 2)

    def draw(n):
        return [torch.randn(n, *shape) for shape in model.architecture.latent_shapes]

    with torch.no_grad():
        few = torch.stack([model.iwae(images, 4, draw) for _ in range(200)])
        many = torch.stack([model.iwae(images, 64, draw) for _ in range(100)])
        elbo = torch.stack([model(images, draw(16)).value for _ in range(400)])
        exact = log_prob_by_the_prior(model, images, 20_000)
    assert exact.exp().sum().item() == pytest.approx(1, abs=1e-5)
    assert (elbo.mean(0) <= few.mean(0) + 0.02).all() and (few.mean(0) <= many.mean(0) + 0.02).all()
    assert (many.mean(0) <= exact + 0.02).all() and (many.mean(0) - exact).abs().max() < 0.1


def log_prob_by_the_prior(model, images, count):
    z2 = torch.randn(count, *model.architecture.latent_shapes[1])
    z1 = model.priors[0](torch.zeros(count, 1, 1, 1), z2).rsample(torch.randn(count, 1, 1, 1))
    given = [model.log_likelihood(x.expand(count, 1, 2, 2), z1) for x in images[:, None]]
    return torch.stack(given).logsumexp(1) - torch.tensor(float(count)).log()


def test_the_top_has_nothing_above_it_and_the_map_has(model):
    assert isinstance(model.priors[0], MapPrior) and isinstance(model.priors[1], StandardNormalPrior)
    z1, z2 = (torch.zeros(2, *shape) for shape in model.architecture.latent_shapes)
    with pytest.raises(ValueError, match="needs z2"):
        model.priors[0](z1, None)
    with pytest.raises(ValueError, match="nothing above"):
        model.priors[1](z2, z2)


def test_standard_deviations_are_limited_above_and_always_have_a_gradient():
    s = torch.linspace(-60, 60, 241, requires_grad=True)
    std = limited_log_std(s).exp()
    assert limited_log_std(torch.zeros(1)).item() == pytest.approx(0, abs=1e-6)
    assert std.max() <= STD_LIMIT and (std.diff() >= 0).all() and torch.isfinite(limited_log_std(s)).all()
    (gradient,) = torch.autograd.grad(limited_log_std(s[:121]).sum(), s)
    assert (gradient[:121] > 0).all()
