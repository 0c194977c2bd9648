"""Names of devices: ``auto``, ``cpu``, ``cuda``, and ``cuda:1`` for the second of several GPUs."""

from __future__ import annotations

import os
import re
from typing import Literal

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.base.nvidia import nvidia_driver

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


def check_cuda_number(device: Device) -> None:
    """Refuse a GPU that the driver does not show; without a driver CUDA does not load, which is said elsewhere.

    Raises:
        PvaeZooError: naming those that are there, or why none is.
    """
    _, number = device_parts(device)
    driver = nvidia_driver()
    if driver is None or number < len(driver.gpus):
        return
    if driver.gpus:
        raise no_such_gpu(device, len(driver.gpus))
    why = f"{driver.failure or 'none is there'}{_visible()}"
    raise PvaeZooError(f"--device {device}: the NVIDIA driver shows no GPU ({why}): use --device cpu")


def no_such_gpu(device: Device, count: int) -> PvaeZooError:
    """The error of a number beyond the ``count`` GPUs that this process sees."""
    there = "one GPU, cuda:0" if count == 1 else f"{count} GPUs, cuda:0 to cuda:{count - 1}"
    return PvaeZooError(f"--device {device}: this machine has {there}{_visible()}")


def _visible() -> str:
    """What the environment hides, for a message; the driver numbers those anew that are left."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return "" if visible is None else f"; CUDA_VISIBLE_DEVICES is {visible!r}"
