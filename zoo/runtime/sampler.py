"""Drawing the pixels of images from p(x|z1) with the single-step decoder (`pvae_zoo.runtime.grid` has the loop)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.base.devices import Device
from pvae_zoo.contract.folder import Bundle
from pvae_zoo.runtime.contexts import DeviceContext
from pvae_zoo.runtime.grid import GridDraw, GridSampler, Progress, Strategy
from pvae_zoo.runtime.plan import Arrays
from pvae_zoo.runtime.wavefront import Order


@dataclass(frozen=True)
class PixelDraw:
    """What to draw.

    Attributes:
        context: ``decoder_context``'s output, ``(N, rows, channels)`` float32 (`pvae_zoo.runtime.grid.GridDraw`).
        uniforms: in [0, 1), ``(N, C, H, W)`` float32.
        given: values to keep, -1 where to draw, ``(N, C, H, W)`` int64.
        temperature: divides the logits; 1 is the model itself.
    """

    context: NDArray[np.float32] | DeviceContext
    uniforms: NDArray[np.float32]
    given: NDArray[np.int64]
    temperature: float = 1.0


@dataclass(frozen=True)
class DrawnPixels:
    """Values ``(N, C, H, W)`` uint8 and their log-probabilities at temperature 1, float32, in nats."""

    images: NDArray[np.uint8]
    log_prob: NDArray[np.float32]


class StepSampler:
    """Drives ``decoder_step.onnx``.

    Args:
        bundle: verified on opening.
        device: where the steps run; canvases stay there from step to step.
        workers: sessions that work side by side, on the CPU, at most.
        strategy: how steps are fed (`pvae_zoo.runtime.grid.GridSampler`).
    """

    def __init__(
        self, bundle: Bundle, device: Device = "cpu", workers: int = 1, strategy: Strategy | None = None
    ) -> None:
        self.grid = GridSampler(bundle, "decoder_step", device, workers, strategy)

    def steps(self, count: int, order: Order = "wavefront") -> int:
        """Runs of the step graph for ``count`` images, of all workers together."""
        return self.grid.steps(count, order)

    def draw(self, what: PixelDraw, *, order: Order = "wavefront", progress: Progress | None = None) -> DrawnPixels:
        """Draw the pixels of ``what``.

        Args:
            order: "wavefront", or "raster" for one position an image and step: slower, the same pixels.
            progress: called with (steps done, steps in all) after each step.
        """
        values: Arrays = {"uniforms": what.uniforms, "given": what.given}
        constants = {"temperature": np.array([what.temperature], np.float32)}
        drawn = self.grid.draw(GridDraw(what.context, values, constants), order=order, progress=progress)
        return DrawnPixels(drawn["pixels"].astype(np.uint8), drawn["log_prob"])
