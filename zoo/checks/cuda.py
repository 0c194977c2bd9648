"""CUDA on this machine: the driver and its GPUs, which CUDA onnxruntime was made for, and whether graphs run there."""

from __future__ import annotations

import ctypes
import importlib.metadata
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.base.nvidia import Driver, nvidia_driver
from pvae_zoo.contract.folder import Bundle
from pvae_zoo.runtime.assignment import CpuNodesWarning, lists_nodes, nodes_elsewhere
from pvae_zoo.runtime.failures import failure_reason
from pvae_zoo.runtime.sessions import CUDA, CudaOptions, installed_distributions, open_session

WORKS = "loads and computes"

_LIBRARIES = {
    "the NVIDIA driver (libcuda.so.1)": "libcuda.so.1",
    "cuDNN 9 (libcudnn.so.9)": "libcudnn.so.9",
    "cuBLAS of CUDA {major} (libcublas.so.{major})": "libcublas.so.{major}",
    "the runtime of CUDA {major} (libcudart.so.{major})": "libcudart.so.{major}",
    "cuRAND (libcurand.so.10)": "libcurand.so.10",
}
_PACKAGES = ("cublas", "cuda-runtime", "cudnn", "curand", "cufft", "cuda-nvrtc")
"""NVIDIA's libraries on PyPI: ``nvidia-cublas-cu12`` of CUDA 12; of 13 ``nvidia-cublas``, but ``nvidia-cudnn-cu13``."""

_OF_CUDA_12 = 'pip install "onnxruntime-gpu[cuda,cudnn]<1.27"'
"""The releases before 1.27 are made for CUDA 12 and bring its libraries, ``nvidia-*-cu12``."""

_DRIVER_OF_CUDA_13 = 580
"""Its first release (NVIDIA, CUDA 13.0 release notes, table of drivers)."""


@dataclass(frozen=True, kw_only=True)
class CudaDiagnosis:
    """What was found of CUDA.

    Attributes:
        driver_cuda: newest CUDA that the NVIDIA driver runs, "13.0"; None without a driver.
        gpus: name and memory of each GPU by its device, "cuda:0".
        built_for: the CUDA that the installed onnxruntime was made for, "13.0"; None if it does not tell or has none.
        libraries: NVIDIA's libraries that pip installed, with their versions.
        state: "loads and computes", or what is in the way: "loads, but fails at its first run: ...".
        nodes_on_cpu: by model, the nodes that the GPU has no kernel for; empty where nothing was asked.
        cuda_graphs: whether steps can be captured as CUDA graphs, or why not; empty where CUDA does not work.
        problems: what keeps a GPU that is there from being used, with the remedy.
    """

    driver_cuda: str | None
    gpus: dict[str, str]
    built_for: str | None
    libraries: dict[str, str]
    state: str
    nodes_on_cpu: dict[str, str]
    cuda_graphs: str
    problems: tuple[str, ...]


def diagnose_cuda(ort: ModuleType, bundles: Sequence[Bundle]) -> CudaDiagnosis:
    """Look at CUDA; what is broken is reported, not raised.

    Args:
        ort: onnxruntime.
        bundles: sound ones, whose graphs may run; the first is tried.
    """
    driver, built_for, libraries = nvidia_driver(), getattr(ort, "cuda_version", "") or None, _installed_libraries()
    if CUDA not in ort.get_available_providers():
        state, remedy = "not in this onnxruntime", ""
    elif not bundles:
        state, remedy = "not tried: there is no sound model", ""
    else:
        state, remedy = _tried(bundles[0], driver, built_for, libraries)
    works = state == WORKS
    return CudaDiagnosis(
        driver_cuda=None if driver is None else version_text(driver.cuda),
        gpus={} if driver is None else _gpus(driver),
        built_for=built_for,
        libraries=libraries,
        state=state,
        nodes_on_cpu=_nodes_on_cpu(ort, bundles) if works else {},
        cuda_graphs=_cuda_graphs(bundles[0]) if works else "",
        problems=(f"{CUDA} {state}: {remedy}",) if remedy else (),
    )


def version_text(cuda: tuple[int, int]) -> str:
    """``(13, 0)`` as "13.0"."""
    return f"{cuda[0]}.{cuda[1]}"


def _gpus(driver: Driver) -> dict[str, str]:
    return {f"cuda:{gpu.number}": f"{gpu.name}, {gpu.memory_bytes / 2**30:.1f} GiB" for gpu in driver.gpus}


def _installed_libraries() -> dict[str, str]:
    found = {}
    for name in (f"nvidia-{package}{suffix}" for package in _PACKAGES for suffix in ("", "-cu12", "-cu13")):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _tried(bundle: Bundle, driver: Driver | None, built_for: str | None, libraries: dict[str, str]) -> tuple[str, str]:
    """What becomes of a graph on CUDA, and the remedy where a GPU is there that does not compute it.

    The graph is the encoder, which has convolutions and products of matrices.
    """
    loads = False
    try:
        session = open_session(bundle.read_graph("encoder"), "cuda")
        loads = True
        session.run(None, _zeros(bundle, "encoder"))
    except Exception as error:  # onnxruntime's own errors too
        why = failure_reason(error.__cause__ or error)
    else:
        return WORKS, ""
    missing = [] if loads else _missing_libraries(built_for)
    if loads:
        state = f"loads, but fails at its first run: {why}"
    elif driver is not None and not driver.gpus:
        state = f"does not load: the NVIDIA driver shows no GPU ({driver.failure or 'none is there'})"
    else:
        state = f"does not load: {', '.join(missing)} missing" if missing else f"does not load: {why}"
    if driver is None or not driver.gpus:
        return state, ""  # without a GPU nothing is broken
    return state, _mismatch(driver, built_for, libraries) or _remedy(why)


def _zeros(bundle: Bundle, role: str) -> dict[str, Any]:
    """Inputs of a whole-image graph for one image."""
    tensors = bundle.config.graphs[role].inputs
    return {t.name: np.zeros([size if isinstance(size, int) else 1 for size in t.shape], t.dtype) for t in tensors}


def _mismatch(driver: Driver | None, built_for: str | None, libraries: dict[str, str]) -> str:
    """Where driver, onnxruntime and libraries are of several CUDAs: which, and the line that mends it; else empty."""
    if built_for is None:
        return ""
    version, major = installed_distributions().get("onnxruntime-gpu", ""), int(built_for.partition(".")[0])
    made = f"onnxruntime-gpu {version} is made for CUDA {major}"
    if driver is not None and 0 < driver.cuda[0] < major:
        return (
            f"{made}, and the NVIDIA driver runs CUDA up to {version_text(driver.cuda)}: install a driver of version "
            f"{_DRIVER_OF_CUDA_13} or later, or run {_OF_CUDA_12}, made for CUDA 12"
        )
    majors = {cuda_of(package, of) for package, of in libraries.items() if "cublas" in package or "cudnn" in package}
    if majors and major not in majors:
        theirs = ", ".join(f"{package} {of}" for package, of in libraries.items())
        return f"{made}, and the libraries are of CUDA {max(majors)} ({theirs}): run {_with_libraries(version)}"
    return ""


def cuda_of(package: str, version: str) -> int:
    """The CUDA that a package of NVIDIA's is for: of its name, or of its version where its name does not tell."""
    suffix = package.rpartition("-cu")[2]
    return int(suffix) if suffix.isdecimal() else int(version.partition(".")[0])


def _with_libraries(version: str) -> str:
    return f'pip install "onnxruntime-gpu[cuda,cudnn]=={version}"'


def _remedy(why: str) -> str:
    version = installed_distributions().get("onnxruntime-gpu", "")
    if "no kernel image" in why:
        return f"onnxruntime-gpu {version} has no kernels for this GPU, but for those since Turing: use --device cpu"
    return f"run {_with_libraries(version)}, update the NVIDIA driver, or use --device cpu"


def _missing_libraries(built_for: str | None) -> list[str]:
    """What the CUDA provider needs and the loader does not find, those that pip installed considered."""
    if sys.platform != "linux":
        return []
    majors = [built_for.partition(".")[0]] if built_for else ["12", "13"]
    return [
        what.format(major=majors[0] if built_for else "12 or 13")
        for what, file in _LIBRARIES.items()
        if not any(_loads(file.format(major=major)) for major in majors)
    ]


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _nodes_on_cpu(ort: ModuleType, bundles: Sequence[Bundle]) -> dict[str, str]:
    if not lists_nodes(ort):
        return {
            bundle.name: f"not known: onnxruntime {ort.__version__} does not tell (1.24 does)" for bundle in bundles
        }
    return {bundle.name: _nodes_of(bundle) for bundle in bundles}


def _nodes_of(bundle: Bundle) -> str:
    found = []
    for role in bundle.config.roles:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", CpuNodesWarning)  # it is what is told here
                nodes = nodes_elsewhere(open_session(bundle.read_graph(role), "cuda"), CUDA)
        except PvaeZooError as error:
            return str(error)
        if nodes:
            found.append(f"{role}: {', '.join(map(str, nodes))}")
    return "; ".join(found) or "none"


def _cuda_graphs(bundle: Bundle) -> str:
    """Whether the provider takes the steps for capture: it refuses graphs with nodes elsewhere or control flow."""
    try:
        open_session(bundle.read_graph("decoder_step"), "cuda", cuda=CudaOptions(graphs=True))
    except Exception as error:
        return f"not used: {failure_reason(error.__cause__ or error)}"
    return "the steps can be captured"
