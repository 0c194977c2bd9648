"""The sizes of the paper's 64x64 models: they build, export and agree with PyTorch, with random weights."""

import os

import pytest
import torch

from pvae_zoo.contract.folder import Bundle
from pvae_zoo.export.bundle import write_bundle
from pvae_zoo.export.parity import check_parity
from pvae_zoo.models.pixelvae import PixelVAE
from pvae_zoo.training.checkpoint import Checkpoint, RunProgress
from pvae_zoo.training.recipe import load_recipe

large = pytest.mark.skipif(
    "PVAE_ZOO_LARGE" not in os.environ, reason="takes minutes and 6 GB of memory: set PVAE_ZOO_LARGE=1"
)


@pytest.mark.parametrize("preset", ["64px_small", pytest.param("64px_big", marks=large)])
def test_a_preset_of_the_paper_agrees_with_torch(preset, tmp_path):
    recipe = load_recipe(preset)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = PixelVAE(recipe.model)
        with torch.no_grad():
            model.decoder.pixelcnn.output.weight.mul_(10)  # probabilities far from even
    weights = {f"ema.{name}": value for name, value in model.state_dict().items()}
    checkpoint = Checkpoint(recipe, RunProgress(), weights)
    write_bundle(checkpoint, tmp_path)
    parity = check_parity(Bundle(tmp_path), checkpoint)
    assert parity.ok and len(parity.largest_difference) == 9
