"""What onnxruntime raises becomes one line with the remedy. The texts are onnxruntime-gpu 1.31.1's own."""

import numpy as np
import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import EPFail, Fail, InvalidArgument, RuntimeException

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.runtime.failures import DeviceMemoryError, device_failures
from pvae_zoo.runtime.sessions import device_of, open_session, run_options

KERNEL = (
    "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Gemm node. Name:'gemm_1' Status "
    "Message: CUDA failure 209: no kernel image is available for execution on the device ; GPU=0 ; hostname=vm ; "
    "file=/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_utils.cu ; line=96 ; expr=cudaGetLastError();"
)
CUDNN = (
    "[ONNXRuntimeError] : 11 : EP_FAIL : Non-zero status code returned while running Conv node. Name:'conv_4' Status "
    "Message: Failed to initialize CUDNN Frontend: no engine with the cudnn frontend json:\n{...}"
)
ARENA = (
    "/onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:360 void* onnxruntime::BFCArena::AllocateRawInternal("
    "size_t, bool, onnxruntime::Stream*) Failed to allocate memory for requested buffer of size 16000000\n"
)
WHILE_OPENING = f"[ONNXRuntimeError] : 1 : FAIL : Exception during initialization: {ARENA}"
BLAS = "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0 ; hostname=vm ; file=cuda_stream_handle.cc ; line=60 ;"
CAPTURE = (
    "[ONNXRuntimeError] : 1 : FAIL : This session cannot use the graph capture feature as requested by the user  as "
    "all compute graph nodes have not been partitioned to the CUDAExecutionProvider"
)
GONE = "The provided device id doesn't match any available GPUs on the machine."


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Fail(KERNEL), "Gemm gemm_1: CUDA failure 209: no kernel image is available for execution on the device"),
        (EPFail(CUDNN), "Conv conv_4: Failed to initialize CUDNN Frontend: no engine with the cudnn frontend json"),
        (RuntimeError(GONE), GONE),
        (RuntimeException(""), "RuntimeException"),
    ],
)
def test_a_failure_on_a_gpu_names_the_reason_and_the_remedy(error, reason):
    with pytest.raises(PvaeZooError) as caught, device_failures("cuda:1"):
        raise error
    assert str(caught.value) == (
        f"--device cuda:1: CUDA loads, but a graph fails there ({reason}): run pvae-zoo doctor, or use --device cpu"
    )
    assert not isinstance(caught.value, DeviceMemoryError) and caught.value.__cause__ is error


@pytest.mark.parametrize("error", [RuntimeError(ARENA), Fail(WHILE_OPENING), RuntimeException(BLAS)])
def test_memory_that_is_used_up_is_an_error_of_its_own(error):
    line = r"no memory left on the GPU: use a smaller --batch-size, or --device cpu \([^/]*\)$"
    with pytest.raises(DeviceMemoryError, match=line), device_failures("cuda"):
        raise error


def test_what_is_not_of_the_gpu_is_left_as_it_is(gates):
    session = open_session(gates.bundle.read_graph("prior"), "auto")
    assert device_of(session) == "cpu"
    for device, error in (
        ("cpu", Fail(KERNEL)), ("auto", Fail(KERNEL)), ("cuda", KeyError("of ours")), ("cuda", Fail(CAPTURE)),
    ):  # fmt: skip
        with pytest.raises(type(error)), device_failures(device):
            raise error
    with pytest.raises(InvalidArgument), device_failures("cuda"):  # the graph's, on any device
        session.run(None, {"z1_noise": np.ones((2, 99), np.float32)})
    options, feed = run_options(), {"z1_noise": np.ones((2, 3), np.float32)}
    options.terminate = True
    try:
        with pytest.raises(Exception, match="terminate flag") as stopped, device_failures("cuda"):
            session.run(None, feed, options)
    finally:
        options.terminate = False
    assert not isinstance(stopped.value, PvaeZooError)
