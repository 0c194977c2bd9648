import ctypes

import pytest

from pvae_zoo.base.nvidia import free_bytes


class Driver:
    """What libcuda does of it, for two GPUs; ``failing`` names the call that does not succeed."""

    def __init__(self, failing=None):
        self.failing, self.calls = failing, []

    def __getattr__(self, name):
        def call(*args):
            self.calls.append(name)
            if name == self.failing:
                return 2
            if name == "cuDeviceGet":
                args[0]._obj.value = args[1] + 10
            if name == "cuDevicePrimaryCtxRetain":
                args[0]._obj.value, self.device = 1, args[1].value
            if name == "cuMemGetInfo_v2":
                args[0]._obj.value, args[1]._obj.value = self.device * 1_000, 1 << 40
            return 0

        return call


@pytest.fixture
def driver(monkeypatch):
    """A function that puts such a driver in the place of libcuda."""

    def put(failing=None):
        made = Driver(failing)
        monkeypatch.setattr(ctypes, "CDLL", lambda name: made)
        return made

    return put


def test_the_free_memory_is_that_of_the_gpu_of_the_number(driver):
    made = driver()
    assert (free_bytes(), free_bytes(1)) == (10_000, 11_000)
    assert made.calls.count("cuDevicePrimaryCtxRetain") == made.calls.count("cuDevicePrimaryCtxRelease_v2") == 2


@pytest.mark.parametrize(
    "failing", ["cuInit", "cuDeviceGet", "cuDevicePrimaryCtxRetain", "cuCtxPushCurrent_v2", "cuMemGetInfo_v2"]
)
def test_a_driver_that_does_not_tell_gives_none_and_keeps_no_context(driver, failing):
    made = driver(failing)
    assert free_bytes() is None
    retained = "cuDevicePrimaryCtxRetain" in made.calls and failing != "cuDevicePrimaryCtxRetain"
    assert made.calls.count("cuDevicePrimaryCtxRelease_v2") == retained
    assert made.calls.count("cuCtxPopCurrent_v2") == (failing == "cuMemGetInfo_v2")


def test_no_driver_gives_none(monkeypatch):
    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert free_bytes() is None
