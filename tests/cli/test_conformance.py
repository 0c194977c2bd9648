import json

import pytest

from pvae_zoo.conformance.stored import conformance_table, stored_matrix
from pvae_zoo.contract.folder import CONFORMANCE, Bundle
from pvae_zoo.sources.registry import read_registry, register


def test_the_table_has_a_line_for_each_runtime(run, model):
    result = run("conformance", model, "--runtimes", "onnxruntime,tract")
    assert result.exit_code == 0 and result.stderr == ""
    title, head, first, second = result.stdout.splitlines()
    assert title.startswith("tiny on ") and "256 values in the sample" in title
    assert head.split()[:3] == ["RUNTIME", "VERSION", "encoder"] and "SAME PIXELS" in head
    assert first.split()[0] == "onnxruntime" and first.split()[-4:] == ["all", "1.0", "x", "passed"]
    assert second.split()[0] == "tract" and second.endswith("passed")


def test_json(run, model, eight):
    found = json.loads(run("conformance", model, "--runtimes", "reference", "--json").stdout)
    (row,) = found["runtimes"]
    assert found["ok"] and found["name"] == "tiny" and found["model_sha256"] == eight.bundle.digest
    assert row["name"] == "reference" and row["state"] == "passed" and row["equal"] == 1
    assert [graph["role"] for graph in row["graphs"]] == list(eight.bundle.config.roles)


def test_what_is_not_installed_is_said_with_its_remedy(run, model, tmp_path, monkeypatch):
    monkeypatch.delenv("PVAE_ZOO_NODE_FOLDER", raising=False)
    result = run("conformance", model, "--runtimes", "onnxruntime,onnxruntime-web", "--node-folder", tmp_path)
    assert result.exit_code == 0 and "npm install onnxruntime-web" in result.stdout.splitlines()[-1]
    alone = run("conformance", model, "--runtimes", "onnxruntime-web", "--node-folder", tmp_path)
    assert alone.exit_code == 1  # nothing passes where nothing runs


def test_a_runtime_that_fails_is_said_and_the_code_is_1(run, model, tmp_path, monkeypatch):
    (tmp_path / "tract.py").write_text("raise ImportError('no libtract')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    result = run("conformance", model, "--runtimes", "onnxruntime,tract")
    assert result.exit_code == 1 and "fails" in result.stdout
    assert "PROBLEM: tract: `decoder`: no libtract" in result.stdout and "passed" in result.stdout


def test_a_runtime_that_nobody_knows(run, model):
    result = run("conformance", model, "--runtimes", "tensorrt")
    assert result.exit_code == 2 and "--runtimes: no runtime 'tensorrt': choose from onnxruntime" in result.stderr


@pytest.mark.parametrize("seconds", ["nan", "inf", "0"])
def test_a_time_that_is_none(run, model, seconds):
    assert run("conformance", model, "--seconds", seconds).exit_code == 2


def test_a_runtime_that_takes_longer_than_it_may_is_stopped(run, model):
    result = run("conformance", model, "--runtimes", "reference", "--seconds", "0.01")
    assert result.exit_code == 1 and result.stderr.startswith("Error: onnxruntime draws no sample to compare with: ")
    assert "it takes longer than its time limit" in result.stderr


def test_save_and_card(run, zoo, tmp_path):
    register(Bundle(zoo / "mnist"), license="MIT")
    result = run("conformance", "mnist", "--runtimes", "onnxruntime", "--save", "--card", "card.md")
    assert result.exit_code == 0
    bundle = Bundle(zoo / "mnist")
    assert conformance_table(stored_matrix(bundle)) in (tmp_path / "card.md").read_text()
    assert CONFORMANCE in {file.file for file in read_registry(zoo)["mnist"].files}
