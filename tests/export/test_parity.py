import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from pvae_zoo.bundle import WEIGHTS
from pvae_zoo.errors import PvaeZooError
from pvae_zoo.export.parity import Parity, check_parity
from pvae_zoo.runtime.model import PixelVAE
from pvae_zoo.training.checkpoint import save_checkpoint


def write_split(folder, images):
    rows = [" ".join(map(str, image.ravel())) for image in images]
    (folder / "binarized_mnist_valid.amat").write_text("\n".join(rows) + "\n")


def test_a_fresh_export_agrees_with_torch(tiny):
    parity = check_parity(tiny.bundle, tiny.bundle.folder / WEIGHTS)
    assert parity.ok and parity.images == 4
    posteriors = {f"z{level}_{part}" for level in range(1, len(tiny.model.priors) + 1) for part in ("mean", "log_std")}
    assert parity.largest_difference.keys() == {"log_prob"} | posteriors
    assert max(parity.largest_difference.values()) < 2e-5 and parity.elbo_bits_per_dim_difference < 1e-5


def test_a_change_of_any_weight_is_noticed(colour, tmp_path):
    for name, value in colour.checkpoint.tensors.items():
        changed = colour.checkpoint.tensors | {name: value + 0.05 * torch.randn(value.shape)}
        save_checkpoint(tmp_path / "changed.safetensors", replace(colour.checkpoint, tensors=changed))
        assert not check_parity(colour.bundle, tmp_path / "changed.safetensors").ok, name


def test_images_of_a_data_set_are_compared_too(gates, tmp_path):
    images = np.random.default_rng(0).integers(2, size=(12, 42), dtype=np.uint8)
    write_split(tmp_path, images)
    parity = check_parity(gates.bundle, gates.bundle.folder / WEIGHTS, tmp_path)
    assert parity.ok and parity.images == 12


def test_a_large_data_set_is_compared_at_images_spread_over_the_whole(square, tmp_path, monkeypatch):
    images = np.zeros((2500, 4), np.uint8)
    images[:, 0], images[:, 1] = np.arange(2500) % 3 == 0, np.arange(2500) > 1200
    write_split(tmp_path, images)
    seen, nll = [], PixelVAE.nll
    monkeypatch.setattr(PixelVAE, "nll", lambda self, x: seen.append(x) or nll(self, x))
    assert check_parity(square.bundle, square.bundle.folder / WEIGHTS, tmp_path).images == 1000
    assert np.array_equal(seen[0].reshape(1000, 4), images[0:2000:2])


def test_a_checkpoint_of_other_images_is_refused(gates, square):
    with pytest.raises(PvaeZooError, match="is a checkpoint of other images than the bundle tiny's"):
        check_parity(gates.bundle, square.bundle.folder / WEIGHTS)


def test_a_missing_checkpoint_is_an_error(gates, tmp_path):
    with pytest.raises(PvaeZooError, match="no checkpoint at"):
        check_parity(gates.bundle, tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    ("differences", "elbo", "ok"),
    [((0.9e-4, 0.0), 0.9e-4, True), ((0.0, 1.1e-4), 0.0, False), ((0.0, 0.0), 1.1e-4, False),
     ((math.nan, 0.0), 0.0, False), ((0.0, math.nan), 0.0, False), ((0.0, 0.0), math.nan, False)],
)  # fmt: skip
def test_every_difference_must_be_small_and_a_number(differences, elbo, ok):
    beyond = {name: float(not d <= 1e-4) for name, d in zip("ab", differences, strict=True)}
    assert Parity(dict(zip("ab", differences, strict=True)), beyond, elbo, 4).ok is ok


@pytest.mark.parametrize(
    ("largest", "share", "ok"),
    [(9e-4, 9e-4, True), (2e-3, 1e-6, False), (2e-4, 2e-3, False), (2e-4, math.nan, False)],
)
def test_single_values_may_be_further_apart_but_not_by_much(largest, share, ok):
    assert Parity({"log_prob": largest}, {"log_prob": share}, 1e-6, 1000).ok is ok
