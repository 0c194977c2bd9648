"""Sessions whose runs are captured as CUDA graphs: one launch in place of one for each node."""

from __future__ import annotations

import re
from typing import Any

from pvae_zoo.base.devices import Device
from pvae_zoo.runtime.sessions import (
    CPU,
    CUDA,
    CudaOptions,
    active_provider,
    certain_provider,
    import_onnxruntime,
    open_session,
)

CAPTURES_FROM = (1, 31)
"""The first onnxruntime whose kernels were looked into. In older ones GatherND copies from memory of the host, which is
gone when a graph is replayed."""

_REFUSED = re.compile(r"This session cannot use the graph capture[^():\n]*")
_NOT_ON_CPU = "the CPU has none"


def open_capturing(model: bytes, device: Device) -> tuple[Any, str | None]:
    """A session of one CPU thread whose runs CUDA captures, or one that does not and the reason.

    onnxruntime takes graphs alone whose nodes are all CUDA's own, without control flow. Whoever runs such a session
    binds all inputs and outputs to addresses that stay, and gives the runs of each shape a number of their own
    (`pvae_zoo.runtime.sessions.run_options`).

    Args:
        model: a serialised ONNX graph.
        device: where it is to run.

    Returns:
        The session; None, or why nothing is captured.

    Raises:
        PvaeZooError: if the device is missing.
    """
    if certain_provider(device) == CPU:
        return open_session(model, device), _NOT_ON_CPU
    version = import_onnxruntime().__version__
    reason = f"onnxruntime {version} is older than {'.'.join(map(str, CAPTURES_FROM))}"
    if tuple(map(int, re.findall(r"\d+", version)[:2])) >= CAPTURES_FROM:
        try:
            session = open_session(model, device, cuda=CudaOptions(graphs=True))
        except Exception as error:
            refused = _REFUSED.search(str(error))
            if refused is None:
                raise
            reason = refused[0]
        else:
            return session, None if active_provider(session) == CUDA else _NOT_ON_CPU
    session = open_session(model, device)
    return session, reason if active_provider(session) == CUDA else _NOT_ON_CPU
