"""Names of devices: ``auto``, ``cpu``, ``cuda``, and ``cuda:1`` for the second of several GPUs."""

from __future__ import annotations

import ctypes
import re
from typing import Literal

from pvae_zoo.base.errors import PvaeZooError

Device = str
Kind = Literal["auto", "cpu", "cuda"]

_NAME = re.compile(r"(auto|cpu|cuda)|cuda:(\d{1,3})")


def device_parts(device: Device) -> tuple[Kind, int]:
    """What a name asks for: ``("cuda", 1)`` of "cuda:1"; the number is 0 where none is given.

    Raises:
        PvaeZooError: if it is no name of a device.
    """
    found = _NAME.fullmatch(device)
    if found is None:
        raise PvaeZooError(f"--device {device}: choose auto, cpu, cuda, or cuda:1 for the second of several GPUs")
    return found[1] or "cuda", int(found[2] or 0)  # type: ignore[return-value]


def cuda_count() -> int | None:
    """GPUs that the NVIDIA driver shows this process, ``CUDA_VISIBLE_DEVICES`` considered; None without a driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value


def check_cuda_number(device: Device) -> None:
    """Refuse the number of a GPU that is not there.

    Raises:
        PvaeZooError: naming those that are.
    """
    _, number = device_parts(device)
    count = cuda_count()
    if count is not None and 0 < count <= number:
        raise PvaeZooError(f"--device {device}: this machine has {named_gpus(count)}")


def named_gpus(count: int) -> str:
    """The GPUs of a machine in words, with the names that they have."""
    return "one GPU, cuda:0" if count == 1 else f"{count} GPUs, cuda:0 to cuda:{count - 1}"
