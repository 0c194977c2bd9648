import json
import re

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.base.nvidia import Driver, Gpu
from pvae_zoo.checks import cuda
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


def test_cuda_without_a_driver_and_cuda_that_does_not_fit(run, zoo, monkeypatch):
    import onnxruntime

    def open_session(model, device, threads=1):
        raise PvaeZooError("CUDA does not load")

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "cuda_version", "13.0")
    monkeypatch.setattr(cuda, "open_session", open_session)
    monkeypatch.setattr(cuda, "_loads", lambda library: library != "libcuda.so.1")
    monkeypatch.setattr(cuda, "nvidia_driver", lambda: None)
    found = json.loads(run("doctor", "--json").stdout)
    assert found["ok"]  # the CPU works
    assert found["providers"][CUDA] == "does not load: the NVIDIA driver (libcuda.so.1) missing"
    gpus = tuple(Gpu(number, "NVIDIA H100", 80 << 30) for number in range(2))
    monkeypatch.setattr(cuda, "nvidia_driver", lambda: Driver((12, 4), gpus))
    monkeypatch.setattr(cuda, "_loads", lambda library: True)
    result = run("doctor")
    assert result.exit_code == 1 and re.search(r"^  cuda:1 +NVIDIA H100, 80.0 GiB$", result.stdout, re.MULTILINE)
    (problem,) = (line for line in result.stdout.splitlines() if line.startswith("PROBLEM"))
    assert problem.startswith("PROBLEM: CUDAExecutionProvider does not load: CUDA does not load: onnxruntime-gpu")
    assert 'pip install "onnxruntime-gpu[cuda,cudnn]<1.27"' in problem
