import json
import shutil
from dataclasses import replace

import pytest

import pvae_zoo
from pvae_zoo.contract.folder import CONFIG, EVALUATION
from pvae_zoo.data.datasets import ImageSet
from pvae_zoo.reporting.evaluation import evaluate, save_evaluation
from pvae_zoo.sources import registry


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


@pytest.mark.parametrize("command", ["info", "pull", "verify"])
def test_a_folder_without_a_bundle_is_one_line(run, tmp_path, command):
    (tmp_path / "x").mkdir()
    result = run(command, "x")
    assert result.exit_code == 1 and "the folder 'x' is no bundle" in result.stderr
