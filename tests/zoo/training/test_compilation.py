import copy

import pytest
import torch
from torch import nn

from pvae_zoo.errors import PvaeZooError
from pvae_zoo.models.pixelvae import Elbo
from pvae_zoo.training.compilation import check_gradients


class Forgetful(nn.Module):
    """The same bound, without a gradient to the encoder by way of the pixels."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x, noise):
        posteriors = self.model.posteriors(x)
        z = [q.rsample(eps) for q, eps in zip(posteriors, noise, strict=True)]
        kl = tuple(q.kl(p) for q, p in zip(posteriors, self.model.prior_of(z), strict=True))
        return Elbo(self.model.log_likelihood(x, z[0].detach()), kl, kl)


@pytest.fixture
def case(levels):
    model = levels.model
    x = torch.randint(4, (5, *model.architecture.image.chw), dtype=torch.uint8)
    return model, x, [torch.randn(5, *shape) for shape in model.architecture.latent_shapes]


@pytest.mark.parametrize("bf16", [False, True])
def test_the_same_network_passes_and_keeps_no_gradients(case, bf16):
    model, x, noise = case
    before = {name: value.clone() for name, value in model.state_dict().items()}
    check_gradients(model, model, x, noise, bf16=bf16)
    assert all(p.grad is None for p in model.parameters()) and not model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("bf16", [False, True])
def test_a_lost_gradient_is_noticed_and_the_parameter_named(case, bf16):
    model, x, noise = case
    with pytest.raises(PvaeZooError, match=r"another gradient than PyTorch for encoder\..*: train without --compile"):
        check_gradients(model, Forgetful(model), x, noise, bf16=bf16)


class Precise(nn.Module):
    """The same bound in float32: as far from bf16's as rounding makes it, and no further."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x, noise):
        with torch.autocast("cpu", enabled=False):
            return self.model(x, noise)


def test_rounding_is_forgiven_where_the_gradient_is_nothing_else(case):
    """At an optimum of the output's bias its gradient is the rounding of bf16."""
    model, x, noise = copy.deepcopy(case)
    bias = model.decoder.pixelcnn.output.bias
    for step in range(300):
        with torch.autocast("cpu", torch.bfloat16):
            elbo = model(x, noise)
        (gradient,) = torch.autograd.grad(-elbo.value.mean(), bias)
        bias.data -= 0.1 * 0.98**step * gradient
    check_gradients(model, Precise(model), x, noise, bf16=True)
