"""What onnxruntime raises while a graph runs on a GPU, as errors that say what to do.

A provider may load and still fail at its first run (a GPU that is too old, a library that is missing): that is an error
which names the remedy, never a run on the CPU in its place. Memory that is used up is an error of its own, so that a
caller can go on with smaller batches.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from pvae_zoo.base.devices import Device
from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.base.printable import shown

_OUT_OF_MEMORY = re.compile(
    r"Failed to allocate memory|out of memory|_STATUS_ALLOC_FAILED|CUDA failure 2\b|bad_?alloc", re.IGNORECASE
)
_REASON = re.compile(
    r"((?:CUDA|CUBLAS|CUDNN|CURAND) failure \d+: [^;]*\w|Failed to allocate memory for requested buffer of size \d+)"
)
"""What of an error says why; around it stand paths of onnxruntime's sources and names of machines."""

_NODE = re.compile(r"while running (\w+) node\. Name:'([^']*)'(?: Status Message: )?")
_WHERE = re.compile(r"^(?:/\S+:\d+ .*?(?=\[ONNXRuntimeError\]|$))?\[ONNXRuntimeError\] : \d+ : \w+ : ")
_MOST = 200

_NO_FAILURE = ("terminate flag", "graph capture")
"""Of a run that a signal ended, and of a session that cannot capture CUDA graphs: who asked for it opens another."""

_OF_THE_GRAPH = ("InvalidGraph", "InvalidProtobuf", "InvalidArgument", "NoModel")
"""Types of onnxruntime's errors that would be raised on any device. All are kinds of Exception and of nothing else."""


class DeviceMemoryError(PvaeZooError):
    """The memory of the device is used up; less at once may fit."""


@contextmanager
def device_failures(device: Device) -> Iterator[None]:
    """Turn what onnxruntime raises within into errors of this package, where a GPU is meant.

    Args:
        device: that runs what stands within; of a session `pvae_zoo.runtime.sessions.device_of` tells it. Nothing is
            turned on "cpu", nor on "auto", which may be the CPU.

    Raises:
        DeviceMemoryError: if the memory is used up.
        PvaeZooError: of anything else that went wrong on the GPU.
    """
    try:
        yield
    except Exception as error:
        of_onnxruntime = isinstance(error, RuntimeError) or type(error).__module__.startswith("onnxruntime")
        if not of_onnxruntime or not device.startswith("cuda") or type(error).__name__ in _OF_THE_GRAPH:
            raise
        if any(words in str(error) for words in _NO_FAILURE):
            raise
        why = failure_reason(error)
        if _OUT_OF_MEMORY.search(str(error)):
            raise DeviceMemoryError(
                f"--device {device}: no memory left on the GPU: use a smaller --batch-size, or --device cpu ({why})"
            ) from error
        raise PvaeZooError(
            f"--device {device}: CUDA loads, but a graph fails there ({why}): run pvae-zoo doctor, or use --device cpu"
        ) from error


def failure_reason(error: BaseException) -> str:
    """Why onnxruntime failed, in a line: the library's own code and words, and the node that was run."""
    text = str(error)
    node, reason = _NODE.search(text), _REASON.search(text)
    if reason is not None:
        said = reason[1]
    else:
        rest = text[node.end() :] if node is not None else _WHERE.sub("", text)
        said = shown((rest.strip().splitlines() or [type(error).__name__])[0].rstrip(" :"), _MOST)
    return f"{node[1]} {node[2]}: {said}" if node is not None else said
