"""What is free of a GPU's memory, asked of the NVIDIA driver alone."""

from __future__ import annotations

import ctypes


def free_bytes(number: int = 0) -> int | None:
    """Bytes that no process holds of a GPU; None where the driver does not tell.

    It needs a context, and the primary one of the device is the one that onnxruntime computes in: asked while a session
    is open, nothing is made for it.

    Args:
        number: N of ``cuda:N``.
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    device, context, free, total = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_size_t()
    if driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(device), number):
        return None
    if driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), device):
        return None
    try:
        if driver.cuCtxPushCurrent_v2(context):
            return None
        failed = driver.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total))
        driver.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))
        return None if failed else free.value
    finally:
        driver.cuDevicePrimaryCtxRelease_v2(device)
