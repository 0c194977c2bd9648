"""``selftest`` through the command line: sound where it is sound, and loud where it is not."""

import json

import numpy as np
import pytest

from pvae_zoo.contract.folder import CONFIG, file_spec
from pvae_zoo.runtime.sessions import CPU, CUDA


@pytest.fixture
def other_vectors(eight, copy_bundle):
    """A bundle whose golden vectors are those of nobody, with a config that vouches for them."""
    folder = copy_bundle(eight.bundle)
    with np.load(folder / "golden.npz") as stored:
        golden = dict(stored)
    golden["z1"] = golden["z1"] + 1
    np.savez_compressed(folder / "golden.npz", **golden)
    config = json.loads((folder / CONFIG).read_text())
    spec = file_spec(folder / "golden.npz")
    config["golden"] |= {"size": spec.size, "sha256": spec.sha256}
    (folder / CONFIG).write_text(json.dumps(config))
    return folder


def test_a_sound_machine(run, model, eight):
    result = run("selftest", model)
    assert result.exit_code == 0 and result.stderr == ""
    assert result.stdout.startswith("tiny with onnxruntime ") and "\nCPUExecutionProvider\n" in result.stdout
    assert all(f"  {role} " in result.stdout for role in eight.bundle.config.roles)
    assert result.stdout.splitlines()[-1].startswith("  sound; the same pixels")


def test_as_json(run, model, eight):
    found = json.loads(run("selftest", model, "--device", "cpu", "--json").stdout)
    assert found["ok"] and found["name"] == "tiny" and found["sha256"] == eight.bundle.digest
    assert list(found["runs"]) == ["cpu"] and found["runs"]["cpu"]["verdict"].startswith("sound")


def test_a_machine_that_computes_something_else(run, other_vectors):
    result = run("selftest", other_vectors, "--trust")
    assert result.exit_code == 1 and "PROBLEM: prior: differs by" in result.stdout
    assert "do not use it for figures" in result.stdout
    found = json.loads(run("selftest", other_vectors, "--trust", "--json").stdout)
    assert not found["ok"] and not found["runs"]["cpu"]["ok"]


def test_a_bundle_that_nobody_vouches_for_is_looked_into_first(run, other_vectors):
    result = run("selftest", other_vectors)
    assert result.exit_code == 1 and "not pinned by the registry and not safe to load" in result.stderr


def test_a_device_that_is_not_there(run, model):
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("it is there")
    result = run("selftest", model, "--device", "cuda")
    assert result.exit_code == 1 and result.stderr.startswith("Error: --device cuda: ")


def test_cuda_that_is_listed_and_does_not_load_is_a_problem_beside_the_cpu(run, model, monkeypatch):
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    result = run("selftest", model)
    assert result.exit_code == 1 and "\n  sound; the same pixels" in result.stdout
    assert result.stdout.endswith(
        "\ncuda\n  PROBLEM: --device cuda: CUDA does not load on this machine (no GPU, no driver, or its libraries are "
        "missing): run pvae-zoo doctor to see which; or use --device cpu\n  the graphs did not run\n"
    )
    named = run("selftest", model, "--device", "cuda")
    assert named.exit_code == 1 and named.stdout == "" and "CUDA does not load" in named.stderr
