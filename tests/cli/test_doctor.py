import json

import pytest

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.checks import diagnosis
from pvae_zoo.runtime.sessions import CPU, CUDA
from pvae_zoo.sources import registry


def test_a_sound_machine(run, zoo):
    result = run("doctor")
    assert result.exit_code == 0 and result.stdout.endswith("All that sampling and scoring need is here.\n")
    found = json.loads(run("doctor", "--json").stdout)
    assert found["ok"] and found["problems"] == [] and found["models"] == {"mnist": "ok"}
    assert found["providers"][CPU] == "loads" and found["cores"] >= 1 and found["distributions"]


def test_torch_is_reported_and_not_imported(spawn, eight):
    before = "import atexit; atexit.register(lambda: print('torch' in sys.modules, file=sys.stderr))"
    assert spawn("doctor", before=before).stderr.splitlines()[-1] == "False"


def test_two_distributions(run, zoo, monkeypatch):
    both = {"onnxruntime": "1.30.0", "onnxruntime-gpu": "1.30.0"}
    for module in ("pvae_zoo.checks.diagnosis", "pvae_zoo.runtime.sessions"):
        monkeypatch.setattr(f"{module}.installed_distributions", lambda: both)
    result = run("doctor")
    assert result.exit_code == 1 and "pip uninstall -y onnxruntime onnxruntime-gpu" in result.stdout
    assert json.loads(run("doctor", "--json").stdout)["distributions"] == both


def test_no_onnxruntime(run, zoo, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    result = run("doctor")
    assert result.exit_code == 1 and 'pip install "pvae-zoo[cpu]"' in result.stdout


def test_a_damaged_model(run, zoo):
    (zoo / "mnist" / "prior.onnx").write_bytes(b"x")
    result = run("doctor")
    assert result.exit_code == 1 and "PROBLEM: the model mnist: " in result.stdout and "prior.onnx" in result.stdout


def test_no_models(run, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "bundles_folder", lambda: tmp_path)
    result = run("doctor")
    assert result.exit_code == 1 and "no models came with the package" in result.stdout


@pytest.mark.parametrize("missing", [True, False])
def test_cuda_that_is_listed_and_does_not_load_says_why(run, zoo, monkeypatch, missing):
    import onnxruntime

    def open_session(model, device, threads=1):
        if device == "cuda":
            raise PvaeZooError("CUDA does not load")

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(diagnosis, "open_session", open_session)
    monkeypatch.setattr(diagnosis, "_loads", lambda library: not (missing and library == "libcuda.so.1"))
    found = json.loads(run("doctor", "--json").stdout)
    assert found["ok"]  # the CPU works
    why = "the NVIDIA driver (libcuda.so.1) missing" if missing else "CUDA does not load"
    assert found["providers"][CUDA] == f"does not load: {why}"
