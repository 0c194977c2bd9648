"""What the NVIDIA driver says of itself and its GPUs, asked of ``libcuda`` alone: it is known where CUDA fails too."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from typing import Any

_DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
_NAME_BYTES = 256


@dataclass(frozen=True)
class Gpu:
    """One of the GPUs that a process sees.

    Attributes:
        number: N of ``cuda:N``.
        memory_bytes: all of it, free or not.
    """

    number: int
    name: str
    memory_bytes: int


@dataclass(frozen=True)
class Driver:
    """An NVIDIA driver.

    Attributes:
        cuda: the newest CUDA that it runs, ``(13, 0)``.
        gpus: those that it shows this process, ``CUDA_VISIBLE_DEVICES`` considered.
        failure: why it shows none, by its own name of the error; empty where it starts.
    """

    cuda: tuple[int, int]
    gpus: tuple[Gpu, ...]
    failure: str = ""


def nvidia_driver() -> Driver | None:
    """The driver of this machine; None without one."""
    try:
        library = ctypes.CDLL(_DRIVER)
    except OSError:
        return None
    version, count = ctypes.c_int(), ctypes.c_int()
    library.cuDriverGetVersion(ctypes.byref(version))  # needs no start of the driver
    cuda = (version.value // 1000, version.value % 1000 // 10)
    code = library.cuInit(0) or library.cuDeviceGetCount(ctypes.byref(count))
    if code:
        return Driver(cuda, (), _error_name(library, code))
    return Driver(cuda, tuple(_gpu(library, number) for number in range(count.value)))


def _gpu(library: Any, number: int) -> Gpu:
    device, memory, name = ctypes.c_int(), ctypes.c_size_t(), ctypes.create_string_buffer(_NAME_BYTES)
    library.cuDeviceGet(ctypes.byref(device), number)
    library.cuDeviceGetName(name, _NAME_BYTES, device)
    library.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    return Gpu(number, name.value.decode(errors="replace"), memory.value)


def _error_name(library: Any, code: int) -> str:
    name = ctypes.c_char_p()
    library.cuGetErrorName(code, ctypes.byref(name))
    return (name.value or b"").decode() or f"error {code}"
