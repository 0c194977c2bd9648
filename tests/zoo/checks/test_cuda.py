"""What doctor says of CUDA: which of driver, onnxruntime and libraries do not fit, and what a first run came to."""

from types import SimpleNamespace

import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import Fail

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.base.nvidia import Driver, Gpu
from pvae_zoo.checks import cuda
from pvae_zoo.checks.cuda import WORKS, cuda_of, diagnose_cuda
from pvae_zoo.runtime.sessions import CPU, CUDA, open_session

NO_KERNEL = (
    "while running Gemm node. Name:'gemm_1' Status Message: CUDA failure 209: no kernel image is available ; GPU=0"
)
LIBRARIES_13 = {"nvidia-cublas": "13.10.0.20", "nvidia-cudnn-cu13": "9.28.1.4", "nvidia-cufft": "12.5.0.14"}
LIBRARIES_12 = {"nvidia-cublas-cu12": "12.9.3.13", "nvidia-cudnn-cu12": "9.28.0.42"}


@pytest.fixture
def machine(monkeypatch, gates):
    """A function that diagnoses a machine with this driver, these libraries, and sessions that do this."""

    def diagnose(session, *, newest=(13, 0), gpus=1, libraries=LIBRARIES_13, made_for="13.0", missing=()):
        there = tuple(Gpu(number, "NVIDIA H100", 80 << 30) for number in range(gpus))
        driver = None if newest is None else Driver(newest, there, "" if there else "CUDA_ERROR_NO_DEVICE")
        monkeypatch.setattr(cuda, "nvidia_driver", lambda: driver)
        monkeypatch.setattr(cuda, "_installed_libraries", lambda: libraries)
        monkeypatch.setattr(cuda, "installed_distributions", lambda: {"onnxruntime-gpu": "1.31.1"})
        monkeypatch.setattr(cuda, "open_session", session)
        monkeypatch.setattr(cuda, "_loads", lambda name: name not in missing)
        ort = SimpleNamespace(cuda_version=made_for, get_available_providers=lambda: [CUDA, CPU], __version__="1.31.1")
        ort.InferenceSession = object
        return diagnose_cuda(ort, [gates.bundle])

    return diagnose


def unloaded(model, device, **options):
    raise PvaeZooError("--device cuda: CUDA does not load on this machine")


def failing(model, device, **options):
    def run(names, feed):
        raise Fail(NO_KERNEL)

    return SimpleNamespace(run=run)


def on_cpu(model, device, **options):
    return open_session(model, "cpu")


def test_a_gpu_that_computes_is_no_problem(machine):
    found = machine(on_cpu)
    assert found.state == WORKS and found.problems == ()
    assert (found.driver_cuda, found.built_for, found.gpus) == ("13.0", "13.0", {"cuda:0": "NVIDIA H100, 80.0 GiB"})
    assert found.nodes_on_cpu == {"tiny": "not known: onnxruntime 1.31.1 does not tell (1.24 does)"}
    assert found.cuda_graphs == "the steps can be captured"


def test_a_provider_that_loads_and_fails_at_its_first_run_is_a_problem(machine):
    found = machine(failing)
    state = "loads, but fails at its first run: Gemm gemm_1: CUDA failure 209: no kernel image is available"
    assert found.state == state and found.cuda_graphs == "" and found.nodes_on_cpu == {}
    remedy = "onnxruntime-gpu 1.31.1 has no kernels for this GPU, but for those since Turing: use --device cpu"
    assert found.problems == (f"{CUDA} {state}: {remedy}",)


def test_a_driver_of_cuda_12_and_an_onnxruntime_of_13_are_told_apart(machine):
    (problem,) = machine(unloaded, newest=(12, 4)).problems
    assert problem.endswith(
        "onnxruntime-gpu 1.31.1 is made for CUDA 13, and the NVIDIA driver runs CUDA up to 12.4: install a driver of "
        'version 580 or later, or run pip install "onnxruntime-gpu[cuda,cudnn]<1.27", made for CUDA 12'
    )


@pytest.mark.parametrize(("made_for", "libraries", "theirs"), [("13.0", LIBRARIES_12, 12), ("12.8", LIBRARIES_13, 13)])
def test_libraries_of_another_cuda_are_told(machine, made_for, libraries, theirs):
    major = made_for.partition(".")[0]
    found = machine(unloaded, libraries=libraries, made_for=made_for, missing=[f"libcublas.so.{major}"])
    assert found.state == f"does not load: cuBLAS of CUDA {major} (libcublas.so.{major}) missing"
    (problem,) = found.problems
    assert f"is made for CUDA {major}, and the libraries are of CUDA {theirs} (nvidia-cublas" in problem
    assert problem.endswith('run pip install "onnxruntime-gpu[cuda,cudnn]==1.31.1"')


def test_without_a_gpu_nothing_is_broken(machine):
    found = machine(unloaded, newest=None, missing=["libcuda.so.1"])
    assert found.state == "does not load: the NVIDIA driver (libcuda.so.1) missing" and found.problems == ()
    found = machine(unloaded, gpus=0)
    assert found.state == "does not load: the NVIDIA driver shows no GPU (CUDA_ERROR_NO_DEVICE)"
    assert found.problems == () and found.gpus == {}


def test_the_cuda_of_a_library_is_in_its_name_or_its_version():
    assert [cuda_of(*package) for package in (LIBRARIES_12 | LIBRARIES_13).items()][:4] == [12, 12, 13, 13]
