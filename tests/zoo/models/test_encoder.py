import pytest
import torch

from pvae_zoo.models.encoder import Encoder, ResidualBlock


@pytest.fixture(params=["vector", "map"])
def architecture(request, make_architecture):
    """7 x 5 pixels, odd at every stage: 4 x 3, then 2 x 2."""
    conditioning = {"vector": "gates", "map": "upsample"}[request.param]
    return make_architecture(
        (3, 7, 5, 4), conditioning, latents=2, kind=request.param, stage=2, widths=(4, 6), encoder_dropout=0.5
    )


def test_posteriors_have_the_shape_of_the_latents(architecture):
    (posterior,) = Encoder(architecture, architecture.encoder)(torch.randn(9, 3, 7, 5))
    (shape,) = architecture.latent_shapes
    assert shape in {(2,), (2, 2, 2)}
    assert posterior.mean.shape == posterior.log_std.shape == (9, *shape)


def test_the_posterior_reads_every_pixel_and_channel(architecture):
    encoder = Encoder(architecture, architecture.encoder).eval()
    scaled = torch.randn(1, 3, 7, 5, requires_grad=True)
    (posterior,) = encoder(scaled)
    for output in (posterior.mean, posterior.log_std):
        (gradient,) = torch.autograd.grad(output.square().sum(), scaled, retain_graph=True)
        assert (gradient != 0).all()


def test_images_of_a_batch_do_not_meet(architecture):
    encoder = Encoder(architecture, architecture.encoder).eval()
    scaled = torch.randn(5, 3, 7, 5)
    (together,), (alone,) = encoder(scaled), encoder(scaled[2:3])
    torch.testing.assert_close(together.mean[2:3], alone.mean)
    torch.testing.assert_close(together.log_std[2:3], alone.log_std)


def test_dropout_acts_in_training_only(architecture):
    encoder, scaled = Encoder(architecture, architecture.encoder), torch.randn(2, 3, 7, 5)
    assert not encoder(scaled)[0].mean.equal(encoder(scaled)[0].mean)
    encoder.eval()
    assert encoder(scaled)[0].mean.equal(encoder(scaled)[0].mean)


def test_a_residual_block_adds_to_its_input():
    block, x = ResidualBlock(4), torch.randn(2, 4, 5, 5)
    torch.nn.init.zeros_(block.second.weight)
    torch.nn.init.zeros_(block.second.bias)
    assert block(x).equal(x)
