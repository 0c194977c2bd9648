import hashlib
import json
import math
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.folder import CONFIG, Bundle
from pvae_zoo.export.parity import Parity, check_parity
from pvae_zoo.runtime.model import Model


def write_split(folder, images):
    rows = [" ".join(map(str, image.ravel())) for image in images]
    (folder / "binarized_mnist_valid.amat").write_text("\n".join(rows) + "\n")


def test_a_fresh_export_agrees_with_torch(tiny):
    parity = check_parity(tiny.bundle, tiny.checkpoint)
    assert parity.ok and parity.images == 4
    levels = range(1, len(tiny.model.priors) + 1)
    expected = {f"z{level}_{part}" for level in levels for part in ("mean", "log_std")}
    expected |= {"prior_mean", "prior_log_std", "prior_step"} if len(levels) > 1 else set()
    assert parity.largest_difference.keys() == {"log_prob", "decoder_step"} | expected
    assert max(parity.largest_difference.values()) < 2e-5 and parity.elbo_bits_per_dim_difference < 1e-5


def test_a_change_of_any_weight_is_noticed(colour):
    for name, value in colour.checkpoint.tensors.items():
        changed = colour.checkpoint.tensors | {name: value + 0.05 * torch.randn(value.shape)}
        assert not check_parity(colour.bundle, replace(colour.checkpoint, tensors=changed)).ok, name


def spoiled(folder, role, name):
    """The bundle of a folder after one constant of a graph has become zeros, its hash stated anew."""
    path = folder / f"{role}.onnx"
    graph = onnx.load(path)
    (tensor,) = [tensor for tensor in graph.graph.initializer if tensor.name == name]
    tensor.CopyFrom(numpy_helper.from_array(np.zeros_like(numpy_helper.to_array(tensor)), name))
    path.write_bytes(graph.SerializeToString(deterministic=True))
    config = json.loads((folder / CONFIG).read_text())
    config["graphs"][role] |= {"size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    (folder / CONFIG).write_text(json.dumps(config))
    return Bundle(folder)


SPOILED = [
    ("decoder_step", "input.neighbours.weight"),
    ("decoder_step", "layer0.conv.neighbours.weight"),
    ("decoder_step", "layer1.conv.centre.group2.weight"),
    ("prior_step", "input.neighbours.weight"),
    ("prior_step", "layer1.conv.neighbours.weight"),
    ("prior", "head.weight"),
    ("prior_context", "grow.weight"),
]


@pytest.mark.parametrize(("role", "name"), SPOILED)
def test_a_graph_that_lost_a_weight_does_not_agree(levels, copy_bundle, role, name):
    parity = check_parity(spoiled(copy_bundle(levels.bundle), role, name), levels.checkpoint)
    assert not parity.ok
    if role.endswith("_step"):
        beyond = {output for output, difference in parity.largest_difference.items() if difference > 1e-4}
        assert beyond == {role}


def test_images_of_a_data_set_are_compared_too(gates, tmp_path):
    images = np.random.default_rng(0).integers(2, size=(12, 42), dtype=np.uint8)
    write_split(tmp_path, images)
    parity = check_parity(gates.bundle, gates.checkpoint, tmp_path)
    assert parity.ok and parity.images == 12


def test_a_large_data_set_is_compared_at_images_spread_over_the_whole(square, tmp_path, monkeypatch):
    images = np.zeros((2500, 4), np.uint8)
    images[:, 0], images[:, 1] = np.arange(2500) % 3 == 0, np.arange(2500) > 1200
    write_split(tmp_path, images)
    seen, nll = [], Model.nll
    monkeypatch.setattr(Model, "nll", lambda self, x: seen.append(x) or nll(self, x))
    assert check_parity(square.bundle, square.checkpoint, tmp_path).images == 1000
    assert np.array_equal(seen[0].reshape(1000, 4), images[0:2000:2])


def test_a_checkpoint_of_other_images_is_refused(gates, square):
    with pytest.raises(PvaeZooError, match="the checkpoint of tiny is of other images than the bundle tiny's"):
        check_parity(gates.bundle, square.checkpoint)


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
