"""Names of devices, and GPUs that are there or not."""

import ctypes

import pytest

from pvae_zoo.base import devices, nvidia
from pvae_zoo.base.devices import check_cuda_number, device_parts
from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.base.nvidia import Driver, Gpu, nvidia_driver


def gpus(count):
    return tuple(Gpu(number, "NVIDIA H100", 80 << 30) for number in range(count))


@pytest.fixture
def driver(monkeypatch):
    """A function that pretends that the driver of this machine is this one."""
    return lambda found: monkeypatch.setattr(devices, "nvidia_driver", lambda: found)


def test_a_device_is_a_kind_and_a_number():
    assert [device_parts(name) for name in ("auto", "cpu", "cuda", "cuda:0", "cuda:12")] == [
        ("auto", 0), ("cpu", 0), ("cuda", 0), ("cuda", 0), ("cuda", 12),
    ]  # fmt: skip
    for name in ("cuda:", "cuda:x", "cuda:-1", "cuda:1234", "gpu", "cpu:0", "CUDA", ""):
        with pytest.raises(PvaeZooError, match=r"choose auto, cpu, cuda, or cuda:1"):
            device_parts(name)


def test_a_gpu_that_is_not_there_is_refused_with_those_that_are(driver, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    driver(Driver((13, 0), gpus(2)))
    check_cuda_number("cuda:1")
    with pytest.raises(PvaeZooError, match=r"^--device cuda:2: this machine has 2 GPUs, cuda:0 to cuda:1$"):
        check_cuda_number("cuda:2")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")  # the driver numbers anew what it shows
    driver(Driver((13, 0), gpus(1)))
    with pytest.raises(PvaeZooError, match=r"has one GPU, cuda:0; CUDA_VISIBLE_DEVICES is '3'$"):
        check_cuda_number("cuda:3")


def test_a_driver_without_gpus_is_refused_and_no_driver_is_left_to_onnxruntime(driver, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    driver(Driver((12, 4), (), "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"))
    with pytest.raises(PvaeZooError, match=r"shows no GPU \(CUDA_ERROR_SYSTEM_DRIVER_MISMATCH\): use --device cpu"):
        check_cuda_number("cuda")
    driver(None)
    check_cuda_number("cuda:7")


class Library:
    """The driver's functions that are used, over ctypes' arguments."""

    def __init__(self, count, start=0):
        self.count, self.start = count, start

    def cuDriverGetVersion(self, version):
        version._obj.value = 12040
        return 0

    def cuInit(self, flags):
        return self.start

    def cuDeviceGetCount(self, count):
        count._obj.value = self.count
        return 0

    def cuDeviceGet(self, device, number):
        device._obj.value = 40 + number
        return 0

    def cuDeviceGetName(self, name, most, device):
        name.value = f"GPU {device.value}".encode()
        return 0

    def cuDeviceTotalMem_v2(self, memory, device):
        memory._obj.value = device.value << 30
        return 0

    def cuGetErrorName(self, code, name):
        name._obj.value = b"CUDA_ERROR_NO_DEVICE" if code == 100 else None
        return 0


def test_the_driver_tells_its_cuda_and_its_gpus(monkeypatch):
    monkeypatch.setattr(nvidia.ctypes, "CDLL", lambda name: Library(2))
    assert nvidia_driver() == Driver((12, 4), (Gpu(0, "GPU 40", 40 << 30), Gpu(1, "GPU 41", 41 << 30)))
    for code, name in ((100, "CUDA_ERROR_NO_DEVICE"), (7777, "error 7777")):
        monkeypatch.setattr(nvidia.ctypes, "CDLL", lambda name, code=code: Library(2, code))
        assert nvidia_driver() == Driver((12, 4), (), name)


@pytest.mark.skipif(nvidia_driver() is not None, reason="there is a driver")
def test_a_machine_without_a_driver_has_none():
    with pytest.raises(OSError):
        ctypes.CDLL("libcuda.so.1")
    assert nvidia_driver() is None
