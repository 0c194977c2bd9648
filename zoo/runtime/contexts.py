"""What a step graph reads of latents, computed into the memory from which it reads.

The context of 256 photos is half a gigabyte. On a GPU it would take longer to bring it to the host and back than to
draw from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.contract.config import ContextSpec
from pvae_zoo.runtime.sessions import Placement, import_onnxruntime, run_options


@dataclass(frozen=True)
class DeviceContext:
    """The context of N images, not computed yet.

    Attributes:
        session: of ``decoder_context`` or ``prior_context``, on the device of the steps.
        name: of the graph's input.
        z: latents ``(N, *latent_shape)`` float32.
        spec: rows and channels of an image's context.
        at_once: images of a run.
    """

    session: Any
    name: str
    z: NDArray[np.float32]
    spec: ContextSpec
    at_once: int

    def __len__(self) -> int:
        return len(self.z)

    def memory(self, place: Placement) -> Any:
        """An ``OrtValue`` ``(N * rows, channels)`` that holds it on a device."""
        shape = [len(self.z) * self.spec.rows, self.spec.channels]
        return import_onnxruntime().OrtValue.ortvalue_from_shape_and_type(shape, np.float32, place.name, place.number)

    def fill(self, memory: Any, place: Placement) -> None:
        """Compute it, a part of the images at a time, each at its place of `memory`."""
        size = 4 * self.spec.rows * self.spec.channels
        for start in range(0, len(self.z), self.at_once):
            z = np.ascontiguousarray(self.z[start : start + self.at_once], np.float32)
            binding = self.session.io_binding()
            binding.bind_cpu_input(self.name, z)
            shape = [len(z), self.spec.rows, self.spec.channels]
            binding.bind_output(
                "context", place.name, place.number, np.float32, shape, memory.data_ptr() + start * size
            )  # fmt: skip
            self.session.run_with_iobinding(binding, run_options())
