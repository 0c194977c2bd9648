import pytest
import torch
from torch.distributions import Bernoulli, Categorical

from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.models.likelihood import pixel_log_prob

BINARY = ImageShape(channels=3, height=2, width=5, levels=2)
GREY = ImageShape(channels=1, height=2, width=5, levels=4)
COLOUR = ImageShape(channels=3, height=2, width=5, levels=4)


def logits_for(image):
    return 2 * torch.randn(7, image.channels * image.logits_per_value, image.height, image.width)


def test_two_levels_are_a_bernoulli():
    logits, x = logits_for(BINARY), torch.randint(2, (7, *BINARY.chw), dtype=torch.uint8)
    torch.testing.assert_close(pixel_log_prob(logits, x, BINARY), Bernoulli(logits=logits).log_prob(x.float()))


@pytest.mark.parametrize("image", [GREY, COLOUR])
def test_more_levels_are_a_softmax_of_each_channels_own_logits(image):
    logits, x = logits_for(image), torch.randint(4, (7, *image.chw), dtype=torch.uint8)
    log_prob = pixel_log_prob(logits, x, image)
    for c in range(image.channels):
        own = logits[:, 4 * c : 4 * (c + 1)].movedim(1, -1)
        torch.testing.assert_close(log_prob[:, c], Categorical(logits=own).log_prob(x[:, c].long()))


@pytest.mark.parametrize("image", [BINARY, GREY, COLOUR])
def test_the_values_of_a_pixel_sum_to_one(image):
    logits = logits_for(image)
    values = [torch.full((7, *image.chw), value) for value in range(image.levels)]
    total = sum(pixel_log_prob(logits, x, image).exp() for x in values)
    torch.testing.assert_close(total, torch.ones_like(total))


@pytest.mark.parametrize("image", [BINARY, COLOUR])
def test_extreme_and_coarse_logits_stay_finite_float32(image):
    x = torch.ones(7, *image.chw, dtype=torch.uint8)
    for scale in (1e4, -1e4):
        log_prob = pixel_log_prob((scale * logits_for(image)).bfloat16(), x, image)
        assert log_prob.dtype == torch.float32 and log_prob.isfinite().all() and (log_prob <= 0).all()
