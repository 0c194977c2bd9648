"""``export`` through the command line: which weights, what is proven, what is left where."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from pvae_zoo.contract.folder import CARD, CONFIG, LICENSE, Bundle
from pvae_zoo.export import step
from pvae_zoo.training.checkpoint import BEST, LATEST, Checkpoint, load_checkpoint, save_checkpoint


@pytest.fixture
def trained(levels, tmp_path):
    """A run's folder: the best validation at step 10, the last checkpoint at step 12 with other averaged weights."""
    folder, checkpoint = tmp_path / "run", levels.checkpoint
    best = dataclasses.replace(checkpoint.progress, step=10)
    save_checkpoint(folder / BEST, Checkpoint(checkpoint.recipe, best, checkpoint.tensors))
    moved = {name: value * 1.01 for name, value in checkpoint.tensors.items()}
    weights = {name.replace("ema.", "model."): torch.zeros_like(value) for name, value in checkpoint.tensors.items()}
    save_checkpoint(folder / LATEST, Checkpoint(checkpoint.recipe, checkpoint.progress, moved | weights))
    return folder


def test_the_best_validation_is_exported_and_all_graphs_are_compared(run, trained, levels):
    result = run("export", trained, "--out", "bundle")
    assert result.exit_code == 0 and "tiny: weights of the best validation, at step 10" in result.stdout
    for output in ("log_prob", "decoder_step", "prior_step", "prior_mean", "z1_mean", "z2_log_std"):
        assert f"  {output:<16} differs from PyTorch by at most" in result.stdout
    assert "bundle: 7 graphs, " in result.stdout


def test_a_bundle_is_its_graphs_golden_vectors_config_and_card(run, trained, tmp_path, levels):
    run("export", trained, "--out", "some/where/bundle")
    folder = tmp_path / "some" / "where" / "bundle"
    graphs = [f"{role}.onnx" for role in levels.bundle.config.roles]
    assert sorted(path.name for path in folder.iterdir()) == sorted([*graphs, "golden.npz", CONFIG, CARD, LICENSE])
    assert [path.name for path in folder.parent.iterdir()] == ["bundle"]
    assert Bundle(folder).digest == levels.bundle.digest
    assert run("verify", folder, "--trust").exit_code == 0


def test_a_run_without_a_validation_gives_its_last_average_and_says_so(run, trained, tmp_path, levels):
    (trained / BEST).unlink()
    result = run("export", trained, "--out", "bundle")
    said = "weights of the last checkpoint, at step 12: the run has no validation yet"
    assert result.exit_code == 0 and said in result.stdout
    config = Bundle(tmp_path / "bundle").config
    assert config.progress["step"] == 12 and Bundle(tmp_path / "bundle").digest != levels.bundle.digest


def test_as_json(run, trained):
    found = json.loads(run("export", trained, "--out", "bundle", "--half", "--json").stdout)
    assert found["ok"] and found["problems"] == [] and found["name"] == "tiny" and found["bytes"] > 10_000
    assert found["weights"] == "the best validation, at step 10" and "decoder_step" in found["largest_difference"]


@pytest.mark.parametrize(
    ("name", "said"),
    [("nosuch", "there is no nosuch"), ("empty", "the folder empty holds no training run")],
)
def test_what_is_no_run_says_what_to_name(run, tmp_path, name, said):
    (tmp_path / "empty").mkdir()
    result = run("export", name, "--out", "bundle")
    remedy = "name the folder that pvae-zoo train wrote, or a .safetensors checkpoint"
    assert result.exit_code == 1 and result.stderr == f"Error: {said}: {remedy}\n"
    assert not (tmp_path / "bundle").exists()


def test_a_step_graph_that_lost_its_neighbours_replaces_nothing(run, trained, tmp_path, monkeypatch):
    assert run("export", trained, "--out", "bundle").exit_code == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "bundle").iterdir()}
    taps_of = step._Taps.of

    def lost(conv):
        taps = taps_of(conv)
        return dataclasses.replace(taps, neighbours=np.zeros_like(taps.neighbours))

    monkeypatch.setattr(step._Taps, "of", lost)
    result = run("export", trained / BEST, "--out", "bundle")
    assert result.exit_code == 1 and "decoder_step: differs by" in result.stderr
    assert result.stderr.endswith("nothing was written to bundle\n")
    assert {path.name: path.read_bytes() for path in (tmp_path / "bundle").iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "run"]


def test_a_bundle_that_pytorch_does_not_agree_with_replaces_nothing(run, trained, tmp_path, monkeypatch):
    from pvae_zoo.export import parity

    model_of = parity.model_of

    def other(checkpoint):
        model = model_of(checkpoint)
        with torch.no_grad():
            model.encoder.stem.bias.add_(0.01)
        return model

    monkeypatch.setattr(parity, "model_of", other)
    result = run("export", trained, "--out", "bundle")
    assert result.exit_code == 1
    assert result.stderr == "Error: it does not agree with PyTorch within 1e-4: nothing was written to bundle\n"
    assert not (tmp_path / "bundle").exists()


def test_weights_that_are_not_finite_are_one_line(run, trained, tmp_path):
    checkpoint = load_checkpoint(trained / BEST)
    tensors = dict(checkpoint.tensors)
    tensors["ema.decoder.pixelcnn.output.bias"] = torch.full_like(
        tensors["ema.decoder.pixelcnn.output.bias"], torch.nan
    )
    save_checkpoint(trained / BEST, dataclasses.replace(checkpoint, tensors=tensors))
    result = run("export", trained, "--out", "bundle")
    assert result.exit_code == 1 and "weights of the logits are not finite: the run diverged" in result.stderr
    assert not (tmp_path / "bundle").exists()
