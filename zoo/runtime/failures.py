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

_OUT_OF_MEMORY = re.compile(
    r"Failed to allocate memory|out of memory|_STATUS_ALLOC_FAILED|CUDA failure 2\b|bad_?alloc", re.IGNORECASE
)
_STOPPED = "terminate flag"
"""Of a run that a signal ended: not a failure of the device."""


class DeviceMemoryError(PvaeZooError):
    """The memory of the device is used up; less at once may fit."""


@contextmanager
def device_failures(device: Device) -> Iterator[None]:
    """Turn what onnxruntime raises within into errors of this package, where a GPU is meant.

    Raises:
        DeviceMemoryError: if the memory is used up.
        PvaeZooError: of anything else that went wrong on the GPU.
    """
    try:
        yield
    except Exception as error:
        of_onnxruntime = isinstance(error, RuntimeError) or type(error).__module__.startswith("onnxruntime")
        if not of_onnxruntime or not device.startswith("cuda") or _STOPPED in str(error):
            raise
        line = (str(error).splitlines() or [type(error).__name__])[0].strip()
        if _OUT_OF_MEMORY.search(str(error)):
            raise DeviceMemoryError(
                f"--device {device}: no memory left on the GPU: use a smaller --batch-size, or --device cpu ({line})"
            ) from error
        raise PvaeZooError(
            f"--device {device}: CUDA loads, but a graph fails there ({line}): run pvae-zoo doctor, or use --device cpu"
        ) from error
