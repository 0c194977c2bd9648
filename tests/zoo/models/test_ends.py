"""The models at the ends of the family: a PixelCNN without latents, a VAE without a PixelCNN."""

from dataclasses import replace
from itertools import product

import pytest
import torch

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.data.datasets import ImageSet
from pvae_zoo.export.bundle import write_bundle
from pvae_zoo.models.pixelvae import PixelVAE
from pvae_zoo.training.checkpoint import Checkpoint, RunProgress
from pvae_zoo.training.distributed import World
from pvae_zoo.training.loop import Trainer

BLIND = {"conditioning": "upsample", "layers": 0, "input_rows": 0, "reach": 0}


@pytest.fixture
def pixelcnn(make_architecture):
    architecture = make_architecture((1, 2, 3, 2))
    return replace(architecture, latents=(), encoder=None, decoder=replace(architecture.decoder, conditioning="none"))


@pytest.fixture
def vae(make_architecture):
    return make_architecture((1, 2, 3, 2), **BLIND)


def all_images():
    return torch.tensor(list(product(range(2), repeat=6)), dtype=torch.uint8).view(-1, 1, 2, 3)


@torch.no_grad()
def test_a_pixelcnn_s_bound_is_its_likelihood_and_sums_to_one(pixelcnn):
    model, x = PixelVAE(pixelcnn).eval(), all_images()
    elbo = model(x, [])
    assert elbo.kl == () and elbo.value.double().exp().sum() == pytest.approx(1, abs=1e-5)
    assert elbo.value.std() > 0.05
    torch.testing.assert_close(model.iwae(x, 3, lambda n: []), elbo.value)


@torch.no_grad()
def test_the_pixels_of_a_vae_are_independent_given_z(vae):
    model, x = PixelVAE(vae).eval(), all_images()
    z = torch.randn(1, 2)
    logits = model.decoder(x, z.expand(len(x), -1))
    assert logits.std(dim=0).max() == 0 and logits[0].std() > 0
    assert model.log_likelihood(x, z.expand(len(x), -1)).double().exp().sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("kind", ["pixelcnn", "vae"])
def test_both_train_and_resume_on_the_same_path(kind, request, make_recipe, tmp_path):
    recipe = make_recipe(request.getfixturevalue(kind))
    x = ImageSet.of(all_images().numpy(), recipe.model.image)

    def trainer(folder, steps):
        short = replace(recipe, training=replace(recipe.training, steps=steps))
        return Trainer(short, tmp_path / folder, world=World())

    whole = trainer("whole", 12)
    assert whole.train(x, x)
    trainer("parts", 12).train(x, x, max_minutes=0)
    parts = trainer("parts", 12)
    parts.resume()
    assert parts.progress.step == 1 and parts.train(x, x)
    for name, value in whole.state.average.items():
        assert torch.equal(value, parts.state.average[name])
    start = {f"model.{k}": v for k, v in PixelVAE(recipe.model).state_dict().items()}
    assert any(not torch.equal(value, start[name]) for name, value in whole.state.average.items())


@pytest.mark.parametrize(("kind", "lacks"), [("pixelcnn", "latents"), ("vae", "autoregressive layers")])
def test_neither_is_exported(kind, lacks, request, make_recipe, tmp_path):
    recipe = make_recipe(request.getfixturevalue(kind))
    ema = {f"ema.{name}": value for name, value in PixelVAE(recipe.model).state_dict().items()}
    with pytest.raises(PvaeZooError, match=f"tiny has no {lacks}: bundles hold PixelVAEs"):
        write_bundle(Checkpoint(recipe, RunProgress(), ema), tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()
