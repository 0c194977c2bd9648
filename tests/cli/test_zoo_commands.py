import json
import shutil
from dataclasses import replace

import onnx
import pytest

import pvae_zoo
from pvae_zoo.contract.folder import CONFIG, EVALUATION, Bundle
from pvae_zoo.data.datasets import ImageSet
from pvae_zoo.reporting.evaluation import evaluate, save_evaluation
from pvae_zoo.sources import registry
from pvae_zoo.training.checkpoint import save_checkpoint


@pytest.fixture
def measured(zoo, digits):
    """The zoo's model with two results, of its digits."""
    model = pvae_zoo.load("mnist")
    images = ImageSet.of(digits, model.image)
    for samples in (1, 4):
        result = evaluate(model, images, split="test", samples=samples, limit=None, seed=0, command="pvae-zoo evaluate")
        save_evaluation(model.bundle, result)
    return result


def test_list(run, zoo, eight):
    result = run("list")
    head, row = result.stdout.splitlines()
    assert head.split() == ["MODEL", "IMAGE", "PARAMETERS", "SIZE", "SPLIT", "NLL", "BITS/DIM", "IWAE", "PATH"]
    assert row.split()[:3] == ["mnist", "*", "1x8x8,"] and row.endswith(str(zoo / "mnist"))


def test_list_has_the_measured_figures(run, measured):
    row = run("list").stdout.splitlines()[1].split()
    assert f"{measured.nll_nats:.2f}" in row and f"{measured.iwae_nll_nats:.2f}" in row
    figures = json.loads(run("list", "--json").stdout)["models"][0]["figures"]
    assert figures["nll_nats"] == measured.nll_nats and figures["iwae_samples"] == 4 and figures["images"] == 5
    assert figures["split"] == "test"


def test_list_compares_no_bounds_of_different_images(run, measured):
    few = replace(measured, images=2, samples=64, iwae_nll_nats=1.25)
    save_evaluation(pvae_zoo.load("mnist").bundle, few)
    assert "1.25" not in run("list").stdout and f"{measured.iwae_nll_nats:.2f}" in run("list").stdout


def test_list_has_validation_figures_where_the_test_split_was_not_read(run, measured):
    bundle = pvae_zoo.load("mnist").bundle
    save_evaluation(bundle, replace(measured, split="valid", nll_nats=7.25))
    assert "7.25" not in run("list").stdout
    (bundle.folder / EVALUATION).unlink()
    save_evaluation(bundle, replace(measured, split="valid", nll_nats=7.25))
    row = run("list").stdout.splitlines()[1].split()
    assert "valid" in row and "7.25" in row


def test_list_and_info_tell_other_data_and_jpeg_copies_apart(run, measured):
    bundle = pvae_zoo.load("mnist").bundle
    save_evaluation(bundle, replace(measured, dataset="others.zip", images=99, nll_nats=7.25))
    save_evaluation(bundle, replace(measured, jpeg=75, nll_nats=8.25))
    assert "7.25" not in run("list").stdout and "8.25" not in run("list").stdout
    text = run("info").stdout
    assert "others.zip, test, 99 images: NLL 7.25" in text
    assert "test, as JPEG of quality 75, 5 images: NLL 8.25" in text


def test_list_as_json(run, zoo, eight):
    (model,) = json.loads(run("list", "--json").stdout)["models"]
    assert model["sha256"] == eight.bundle.digest and model["figures"] is None and model["path"] == str(zoo / "mnist")
    assert model["image"] == {"channels": 1, "height": 8, "width": 8, "levels": 2}
    assert model["bytes"] == sum(spec.size for spec in eight.bundle.files())


def test_an_empty_zoo_is_a_broken_installation(run, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "bundles_folder", lambda: tmp_path)
    result = run("list")
    assert result.exit_code == 1 and "install the package again" in result.stderr


def test_info(run, measured, eight):
    text = run("info").stdout
    assert text.startswith("tiny: A tiny model\n") and eight.bundle.digest in text
    for graph in eight.bundle.config.graphs.values():
        assert f"{graph.file}  " in text and graph.sha256 in text
    assert "z1_noise float32 (N, 3)" in text and f"IWAE {measured.iwae_nll_nats:.2f} (K = 4)" in text


def test_info_as_json_is_the_contract(run, model, eight):
    found = json.loads(run("info", model, "--json").stdout)
    assert found["graphs"].keys() == eight.bundle.config.graphs.keys() and found["sha256"] == eight.bundle.digest


def test_pull_says_where_a_shipped_model_is(run, zoo):
    result = run("pull", "mnist")
    assert result.exit_code == 0 and f"tiny is at {zoo / 'mnist'}" in result.stdout and "hashes hold" in result.stdout


def test_pull_copies_a_bundle_that_works(run, zoo, eight):
    found = json.loads(run("pull", "mnist", "--to", "a/b", "--json").stdout)
    assert found["path"] == "a/b" and found["sha256"] == eight.bundle.digest
    assert pvae_zoo.load("a/b").sample(1).shape == (1, 1, 8, 8)
    assert run("pull", "mnist", "--to", "a/b").exit_code == 0  # the same again


def test_pull_brings_the_card(run, zoo, tmp_path, monkeypatch):
    (tmp_path / "mnist.md").write_text("# card")
    monkeypatch.setattr("pvae_zoo.sources.pull.resources.files", lambda package: tmp_path)
    assert run("pull", "mnist", "--to", "copy").exit_code == 0
    assert (tmp_path / "copy" / "README.md").read_text() == "# card"


def test_pull_overwrites_no_other_bundle(run, zoo, make_tiny, tmp_path):
    other = make_tiny(image=(1, 8, 8, 2), latents=2).bundle
    shutil.copytree(other.folder, tmp_path / "there")
    result = run("pull", "mnist", "--to", "there")
    assert result.exit_code == 1 and "there and differs" in result.stderr and "--force" in result.stderr
    assert Bundle(tmp_path / "there").digest == other.digest
    assert run("pull", "mnist", "--to", "there", "--force").exit_code == 0
    assert Bundle(tmp_path / "there").digest == pvae_zoo.load("mnist").bundle.digest
    assert run("verify", "there").exit_code == 0


def test_a_full_disk_leaves_no_bundle(run, zoo, small_disk):
    (small_disk / "filler").write_bytes(bytes(60_000))
    result = run("pull", "mnist", "--to", small_disk / "copy")
    assert result.exit_code == 1 and "the disk is full" in result.stderr
    assert not (small_disk / "copy" / CONFIG).exists() and not list(small_disk.rglob("*.part"))


def test_pull_of_a_damaged_bundle_copies_nothing(run, flipped, tmp_path):
    result = run("pull", flipped, "--to", "copy")
    assert result.exit_code == 1 and "not what was published" in result.stderr and not (tmp_path / "copy").exists()


def test_a_damaged_bundle_does_not_end_the_list(run, measured, zoo):
    for name in ("figures", "config", "graphs"):
        shutil.copytree(zoo / "mnist", zoo / name)
    (zoo / "figures" / EVALUATION).write_text("{")
    (zoo / "config" / CONFIG).write_text("{")
    (zoo / "graphs" / "prior.onnx").unlink()  # verify and doctor say so
    for result, names in (
        (run("list"), lambda result: [line.split()[0] for line in result.stdout.splitlines()[1:]]),
        (run("list", "--json"), lambda result: [model["name"] for model in json.loads(result.stdout)["models"]]),
    ):
        assert result.exit_code == 0 and names(result) == ["mnist", "figures", "graphs"]
        assert f"{EVALUATION} is not valid JSON" in result.stderr and "Note: config is left out: " in result.stderr


ODD = [
    {"hours": "x"}, {"hours": None}, {"hours": [1]}, {"images_seen": "many"}, {"images_seen": 1.5},
    {"images_seen": True}, {"images_seen": 10**400}, {"valid_elbo_nats": "low"}, {"valid_elbo_nats": {}},
    {"crop": 3}, {"crop": None}, {"crop": "upwards"}, {"scale": 3}, {"scale": None}, {"scale": "ab"}, {"scale": [1]},
    {"scale": [1, "x"]}, {"scale": [2.0, 1.0]}, {"hardware": 5}, {"initialised_from": []}, {"steps": "x"},
]  # fmt: skip


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_odd_words_on_the_training_are_one_line(run, eight, copy_bundle, tmp_path, odd):
    folder = copy_bundle(eight.bundle)
    config = json.loads((folder / CONFIG).read_text())
    config["training"] |= odd
    (folder / CONFIG).write_text(json.dumps(config))
    known = odd in ({"crop": "upwards"}, {"scale": [2.0, 1.0]})  # what they mean is known to evaluate alone
    for line in (["info", folder], ["evaluate", folder, "--trust", "--data", tmp_path]):
        result = run(*line)
        if known and line[0] == "info":
            assert result.exit_code == 0
        else:
            assert result.exit_code == 1 and result.stdout == "" and result.stderr.count("\n") == 1
            assert f"{folder / CONFIG} is not valid: " in result.stderr and next(iter(odd)) in result.stderr


def test_a_card_needs_what_it_says_of_the_training(run, eight, copy_bundle):
    folder = copy_bundle(eight.bundle)
    config = json.loads((folder / CONFIG).read_text())
    config["training"] = {}
    (folder / CONFIG).write_text(json.dumps(config))
    assert "training    -" in run("info", folder).stdout
    result = run("push", folder, "org/repo")
    assert result.exit_code == 1 and f"{folder} does not say of its training: images_seen, hours" in result.stderr


def test_info_has_one_sign(run, measured, eight):
    """The ELBO of training was shown beside the NLL of measuring, one negative and one positive."""
    training = next(line for line in run("info").stdout.splitlines() if line.startswith("training"))
    assert eight.bundle.config.training["valid_elbo_nats"] == -12.25
    assert "best validation NLL 12.25 nats" in training and "ELBO" not in training


# ---- verify ----


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


@pytest.mark.parametrize("command", ["info", "pull", "verify"])
def test_a_folder_without_a_bundle_is_one_line(run, tmp_path, command):
    (tmp_path / "x").mkdir()
    result = run(command, "x")
    assert result.exit_code == 1 and "the folder 'x' is no bundle" in result.stderr
