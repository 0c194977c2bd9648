"""onnxruntime sessions: the provider that was asked for, or a clear word why not.

A provider that is listed may still not load, and onnxruntime then falls back to the CPU with no more than a warning.
Here ``cuda`` means CUDA or an error; ``auto`` means CUDA where it works and the CPU elsewhere, and what ran is said.
"""

from __future__ import annotations

import importlib.metadata
import io
import os
import warnings
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, Literal

from pvae_zoo.base.devices import Device, check_cuda_number, device_parts
from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.base.interrupts import while_stopping
from pvae_zoo.runtime.assignment import record_nodes, warn_of_nodes_elsewhere
from pvae_zoo.runtime.failures import device_failures

DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu")
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"

_CONFLICT = (
    "onnxruntime and onnxruntime-gpu are both installed and overwrite each other's files: run\n"
    "    pip uninstall -y onnxruntime onnxruntime-gpu\n"
    '    pip install "pvae-zoo[cpu]"    (or "pvae-zoo[gpu]")'
)
_MISSING = 'onnxruntime is not installed: run pip install "pvae-zoo[cpu]" (or "pvae-zoo[gpu]" on an NVIDIA GPU)'


@dataclass(frozen=True)
class CudaOptions:
    """How CUDA computes a graph.

    Attributes:
        graphs: runs of one shape are captured as CUDA graphs and replayed. Every node must be CUDA's own, and all
            inputs and outputs bound to addresses that stay; a session of another graph does not open.
        tf32: products of matrices and convolutions in TF32; off, since the graphs would differ from the CPU's by 1e-3.
        search: how cuDNN's algorithm is found for each shape of a convolution: "HEURISTIC" asks cuDNN, "EXHAUSTIVE"
            tries all. ("DEFAULT", which is not the default, would take fallback engines.)
        memory_bytes: of the GPU, at most; all that is free by itself.
    """

    graphs: bool = False
    tf32: bool = False
    search: Literal["HEURISTIC", "EXHAUSTIVE"] = "HEURISTIC"
    memory_bytes: int | None = None

    def for_provider(self, number: int) -> dict[str, str]:
        """The provider's options on the GPU of this number."""
        options = {"device_id": str(number), "use_tf32": str(int(self.tf32)), "cudnn_conv_algo_search": self.search}
        if self.graphs:
            options["enable_cuda_graph"] = "1"
        if self.memory_bytes is not None:
            options["gpu_mem_limit"] = str(self.memory_bytes)
        return options


@dataclass(frozen=True)
class Placement:
    """Where the tensors of a session live: what onnxruntime calls the device, and the number of the GPU."""

    name: Literal["cpu", "cuda"]
    number: int = 0


def installed_distributions() -> dict[str, str]:
    """The onnxruntime distributions on this machine, with their versions."""
    found = {}
    for name in DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def import_onnxruntime() -> ModuleType:
    """The onnxruntime module.

    Raises:
        PvaeZooError: if none or both of its distributions are installed, with the pip lines that mend it.
    """
    if len(installed_distributions()) > 1:
        raise PvaeZooError(_CONFLICT)
    try:
        import onnxruntime
    except ImportError as error:
        raise PvaeZooError(
            _MISSING if error.name == "onnxruntime" else f"onnxruntime does not load: {error}"
        ) from error
    if not hasattr(onnxruntime, "InferenceSession"):
        raise PvaeZooError(_MISSING)
    os.environ.pop("ORT_LOAD_CONFIG_FROM_MODEL", None)  # a graph does not configure what opens it
    module: ModuleType = onnxruntime
    return module


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def open_session(model: bytes, device: Device, threads: int = 1, cuda: CudaOptions = CudaOptions()) -> Any:
    """An ``InferenceSession`` from the bytes of a graph.

    Args:
        model: a serialised ONNX graph, already verified.
        device: "cpu", "cuda", "cuda:1", or "auto" for CUDA where it loads.
        threads: CPU threads inside one operator.
        cuda: how CUDA computes it.

    Raises:
        PvaeZooError: if ``cuda`` was asked for and does not load.
    """
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # its errors are raised, and its log is in colours and the words of the graph
    # Idle threads sleep: spinning ones would take the cores from the sessions beside them.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if certain_provider(device) == CPU:
        # Without its fallback, which would try the CPU once more and say so on standard output, amidst our own.
        return ort.InferenceSession(model, options, providers=[CPU], enable_fallback=0)
    kind, number = device_parts(device)
    if kind == "auto":
        with suppress(PvaeZooError):  # a GPU whose driver is too old, or that others fill: the CPU, as is said then
            session = _cuda_session(ort, model, options, "cuda", cuda.for_provider(0))
            if CUDA in session.get_providers():
                return session
        return ort.InferenceSession(model, options, providers=[CPU], enable_fallback=0)
    check_cuda_number(device)
    session = _cuda_session(ort, model, options, device, cuda.for_provider(number))
    if CUDA not in session.get_providers():
        raise PvaeZooError(
            f"--device {device}: CUDA does not load on this machine (no GPU, no driver, or its libraries are missing): "
            "run pvae-zoo doctor to see which; or use --device cpu"
        )
    return session


@cache
def run_options(graph: int | None = None, *, waits: bool = True) -> Any:
    """Options for the runs of sessions that a signal is to end between two operators, wherever Python is then.

    Args:
        graph: number, from 1, of the CUDA graph that such a run captures the first time and replays from then on.
        waits: for the GPU before a run returns; else whoever binds the outputs waits for them.
    """
    options = import_onnxruntime().RunOptions()
    if graph is not None:
        options.add_run_config_entry("gpu_graph_id", str(graph))
    if not waits:
        options.add_run_config_entry("disable_synchronize_execution_providers", "1")
    while_stopping(lambda on: setattr(options, "terminate", on))
    return options


def certain_provider(device: Device) -> str | None:
    """The provider that sessions will have, where that is known before one is opened: CUDA has to be tried.

    Raises:
        PvaeZooError: if onnxruntime is missing, or ``cuda`` was asked for and the installed one has none.
    """
    ort, (kind, _) = import_onnxruntime(), device_parts(device)
    if kind == "cpu":
        return CPU
    if CUDA in ort.get_available_providers():
        return None
    if kind == "auto":
        return CPU
    raise PvaeZooError(
        f"--device {device}: the installed onnxruntime has no CUDA: run pip uninstall -y onnxruntime, then "
        'pip install "pvae-zoo[gpu]"; or use --device cpu'
    )


def active_provider(session: Any) -> str:
    """The provider that really runs a session."""
    provider: str = session.get_providers()[0]
    return provider


def placement(session: Any) -> Placement:
    """Where the tensors of a session live."""
    if active_provider(session) != CUDA:
        return Placement("cpu")
    return Placement("cuda", int(session.get_provider_options()[CUDA].get("device_id", 0)))


def device_of(session: Any) -> Device:
    """The device that runs a session, by its name: what ``auto`` became; "cuda" for the first GPU, else "cuda:1"."""
    where = placement(session)
    return f"cuda:{where.number}" if where.number else where.name


def _cuda_session(ort: ModuleType, model: bytes, options: Any, device: Device, cuda: dict[str, str]) -> Any:
    """A session on CUDA, or on the CPU alone where the provider does not load."""
    # The provider logs in colours what its errors say too, while it loads and at runs; they become one line of ours.
    ort.set_default_logger_severity(4)
    record_nodes(options)
    if hasattr(ort, "preload_dlls"):
        _load_libraries(ort)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what did not load is asked from the session, not read from warnings
        with device_failures(device):
            session = ort.InferenceSession(model, options, providers=[(CUDA, cuda), CPU], enable_fallback=0)
    if CUDA in session.get_providers():
        warn_of_nodes_elsewhere(session, CUDA)
    return session


@cache
def _load_libraries(ort: ModuleType) -> None:
    """Load CUDA and cuDNN from where pip put them; what is missing would be printed, and is for `doctor` to say."""
    with redirect_stdout(io.StringIO()):
        ort.preload_dlls()
