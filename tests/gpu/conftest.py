"""What all tests of this folder need: a GPU that PyTorch and onnxruntime see."""

import pytest
import torch

from pvae_zoo.runtime.sessions import CUDA, import_onnxruntime


@pytest.fixture(scope="session", autouse=True)
def _gpu():
    if CUDA not in import_onnxruntime().get_available_providers():
        pytest.skip("needs onnxruntime-gpu")
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
