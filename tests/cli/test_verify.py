import json
from dataclasses import replace

import onnx
import pytest

from pvae_zoo.contract.folder import CONFIG
from pvae_zoo.sources import registry
from pvae_zoo.training.checkpoint import save_checkpoint


def test_verify_says_whether_the_registry_vouches(run, model, eight, monkeypatch):
    assert "  registry         vouches for this bundle\n" in run("verify", model).stdout
    assert json.loads(run("verify", model, "--json").stdout)["pinned"] is True
    monkeypatch.setattr(registry, "pinned_configs", frozenset)
    assert "  registry         does not know this bundle" in run("verify", model, "--trust").stdout
    assert json.loads(run("verify", model, "--trust", "--json").stdout)["pinned"] is False


def test_verify_finds_nothing_wrong(run, model):
    result = run("verify", model)
    assert result.exit_code == 0 and result.stdout.endswith("everything holds\n")
    assert "6 of 6 have the size" in result.stdout and "0 of 256 drawn values differ" in result.stdout


def test_verify_as_json(run, tiny):
    found = json.loads(run("verify", tiny.bundle.folder, "--json").stdout)
    assert found["ok"] and found["problems"] == [] and found["parity"]["ok"] and found["differing_pixels"] == 0
    assert set(found["largest_difference"]) == set(tiny.bundle.config.graphs)
    assert max(found["largest_difference"].values()) <= 1e-4


def test_verify_names_each_damaged_file(run, flipped):
    (flipped / "golden.npz").unlink()
    result = run("verify", flipped)
    assert result.exit_code == 1 and result.stdout.endswith("does not hold\n")
    assert "4 of 6" in result.stdout and result.stdout.count("PROBLEM") == 2
    assert not json.loads(run("verify", flipped, "--json").stdout)["ok"]


def rewrite(folder, role, change):
    """Change a graph and state its new hash, as a bad export would."""
    import hashlib

    config = json.loads((folder / CONFIG).read_text())
    path = folder / config["graphs"][role]["file"]
    graph = onnx.load(path)
    change(graph.graph)
    path.write_bytes(graph.SerializeToString())
    config["graphs"][role] |= {"size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    (folder / CONFIG).write_text(json.dumps(config))


def _shift_weights(graph):
    weights = next(w for w in graph.initializer if len(w.dims) > 1 and w.data_type == onnx.TensorProto.FLOAT)
    values = onnx.numpy_helper.to_array(weights) + 0.01
    weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))


@pytest.mark.parametrize("role", ["encoder", "decoder_context", "decoder", "decoder_step"])
def test_verify_finds_other_weights_behind_right_hashes(run, eight, copy_bundle, role):
    folder = copy_bundle(eight.bundle)
    rewrite(folder, role, _shift_weights)
    result = run("verify", folder, "--trust")
    assert result.exit_code == 1 and f"{role}: differs by" in result.stdout


def _rename_output(graph):
    for node in graph.node:
        node.output[:] = ["zz" if name == "log_prob" else name for name in node.output]
        node.input[:] = ["zz" if name == "log_prob" else name for name in node.input]
    next(o for o in graph.output if o.name == "log_prob").name = "zz"


def test_verify_finds_a_broken_contract(run, eight, copy_bundle):
    folder = copy_bundle(eight.bundle)
    rewrite(folder, "decoder", _rename_output)
    result = run("verify", folder, "--trust")
    assert result.exit_code == 1 and "PROBLEM          decoder: its outputs are zz" in result.stdout


def test_verify_finds_a_wrong_shape_in_the_config(run, eight, copy_bundle):
    folder = copy_bundle(eight.bundle)
    config = json.loads((folder / CONFIG).read_text())
    config["graphs"]["prior"]["inputs"][0]["shape"] = ["N", 4]
    (folder / CONFIG).write_text(json.dumps(config))
    result = run("verify", folder, "--trust")
    assert result.exit_code == 1 and "config.json says float32 ['N', 4]" in result.stdout


def test_verify_survives_what_is_no_graph(run, eight, copy_bundle):
    import hashlib

    folder = copy_bundle(eight.bundle)
    config = json.loads((folder / CONFIG).read_text())
    for spec in (config["graphs"]["prior"], config["golden"]):
        (folder / spec["file"]).write_bytes(b"nothing")
        spec |= {"size": 7, "sha256": hashlib.sha256(b"nothing").hexdigest()}
    (folder / CONFIG).write_text(json.dumps(config))
    result = run("verify", folder, "--trust")
    assert result.exit_code == 1 and "prior: onnxruntime does not load it" in result.stdout
    assert "golden.npz cannot be read" in result.stdout


def test_verify_compares_with_the_weights_in_the_graphs_or_those_of_a_checkpoint(run, eight, tmp_path):
    result = run("verify", eight.bundle.folder)
    assert result.exit_code == 0 and "PyTorch          with the weights that the graphs hold\n" in result.stdout
    assert "decoder_step     differs from PyTorch by at most" in result.stdout
    save_checkpoint(tmp_path / "own.safetensors", eight.checkpoint)
    result = run("verify", eight.bundle.folder, "--checkpoint", "own.safetensors")
    assert result.exit_code == 0 and "with the weights of own.safetensors\n" in result.stdout
    moved = {name: value + 0.1 for name, value in eight.checkpoint.tensors.items()}
    save_checkpoint(tmp_path / "other.safetensors", replace(eight.checkpoint, tensors=moved))
    result = run("verify", eight.bundle.folder, "--checkpoint", "other.safetensors", "--json")
    parity = json.loads(result.stdout)["parity"]
    assert result.exit_code == 1 and not parity["ok"] and parity["weights"] == "with the weights of other.safetensors"


def test_verify_with_a_checkpoint_that_is_not_there_says_what_to_give(run, eight):
    result = run("verify", eight.bundle.folder, "--checkpoint", "nosuch")
    assert result.exit_code == 1
    assert result.stderr == "Error: no checkpoint at nosuch: name a .safetensors file that pvae-zoo train wrote\n"


def test_a_bundle_of_an_older_make_holds_without_pytorch_and_says_how_to_compare(run, eight, copy_bundle, tmp_path):
    folder = copy_bundle(eight.bundle)
    config = json.loads((folder / CONFIG).read_text())
    del config["recipe"], config["progress"]
    (folder / CONFIG).write_text(json.dumps(config))
    result = run("verify", folder, "--trust")
    assert result.exit_code == 0 and "not compared: the bundle is of an older make" in result.stdout
    result = run("verify", folder, "--trust", "--data", tmp_path)
    assert result.exit_code == 1 and f"pvae-zoo export RUN --out {folder}" in result.stderr


def test_parity_without_torch_says_what_to_install(spawn, eight):
    path = eight.bundle.folder
    hide = "sys.modules['torch'] = None"
    done = spawn("verify", path, before=hide)
    assert done.returncode == 0 and "PyTorch          not compared: torch is not installed" in done.stdout
    done = spawn("verify", path, "--checkpoint", path / "own.safetensors", before=hide)
    assert done.returncode == 1 and 'pip install "pvae-zoo[train]"' in done.stderr and "Traceback" not in done.stderr


def test_data_without_a_checkpoint_means_the_bundles_own_weights(run, model, tmp_path):
    result = run("verify", model, "--data", str(tmp_path))
    assert result.exit_code == 1 and f"no valid split in {tmp_path}" in result.stderr
