"""onnxruntime sessions: the provider that was asked for, or a clear word why not.

A provider that is listed may still not load, and onnxruntime then falls back to the CPU with no more than a warning.
Here ``cuda`` means CUDA or an error; ``auto`` means CUDA where it works and the CPU elsewhere, and what ran is said.
"""

from __future__ import annotations

import importlib.metadata
import os
import warnings
from functools import cache
from types import ModuleType
from typing import Any, Literal

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.base.interrupts import while_stopping

Device = Literal["auto", "cpu", "cuda"]
DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu")
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"

_CONFLICT = (
    "onnxruntime and onnxruntime-gpu are both installed and overwrite each other's files: run\n"
    "    pip uninstall -y onnxruntime onnxruntime-gpu\n"
    '    pip install "pvae-zoo[cpu]"    (or "pvae-zoo[gpu]")'
)
_MISSING = 'onnxruntime is not installed: run pip install "pvae-zoo[cpu]" (or "pvae-zoo[gpu]" on an NVIDIA GPU)'


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


def open_session(model: bytes, device: Device, threads: int = 1) -> Any:
    """An ``InferenceSession`` from the bytes of a graph.

    Args:
        model: a serialised ONNX graph, already verified.
        device: "cpu", "cuda", or "auto" for CUDA where it loads.
        threads: CPU threads inside one operator.

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
    session = _cuda_session(ort, model, options)
    if CUDA not in session.get_providers() and device == "cuda":
        raise PvaeZooError(
            "--device cuda: CUDA does not load on this machine (no GPU, no driver, or its libraries are missing): "
            "run pvae-zoo doctor to see which; or use --device cpu"
        )
    return session


@cache
def run_options() -> Any:
    """Options for the runs of sessions that a signal is to end between two operators, wherever Python is then."""
    options = import_onnxruntime().RunOptions()
    while_stopping(lambda on: setattr(options, "terminate", on))
    return options


def certain_provider(device: Device) -> str | None:
    """The provider that sessions will have, where that is known before one is opened: CUDA has to be tried.

    Raises:
        PvaeZooError: if onnxruntime is missing, or ``cuda`` was asked for and the installed one has none.
    """
    ort = import_onnxruntime()
    if device == "cpu":
        return CPU
    if CUDA in ort.get_available_providers():
        return None
    if device == "auto":
        return CPU
    raise PvaeZooError(
        "--device cuda: the installed onnxruntime has no CUDA: run pip uninstall -y onnxruntime, then "
        'pip install "pvae-zoo[gpu]"; or use --device cpu'
    )


def active_provider(session: Any) -> str:
    """The provider that really runs a session."""
    provider: str = session.get_providers()[0]
    return provider


def _cuda_session(ort: ModuleType, model: bytes, options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what did not load is asked from the session, not read from warnings
        if hasattr(ort, "preload_dlls"):
            ort.preload_dlls()
        # Plain float32: with TF32 the graphs would differ from the CPU's by 1e-3. "DEFAULT", which is not the default,
        # would take cuDNN's fallback engines, and warn of each convolution that it may be extremely slow.
        cuda = (CUDA, {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"})
        return ort.InferenceSession(model, options, providers=[cuda, CPU])
