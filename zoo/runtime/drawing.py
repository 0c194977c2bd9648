"""Images from given noise: latents from that of their levels, pixels from their own."""

from __future__ import annotations

import gc
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.base.errors import PvaeZooError, PvaeZooWarning
from pvae_zoo.runtime import noise
from pvae_zoo.runtime.failures import DeviceMemoryError
from pvae_zoo.runtime.grid import Progress
from pvae_zoo.runtime.networks import Images, Latent, Networks
from pvae_zoo.runtime.wavefront import Order

COLDEST = 1e-6
"""The lowest temperature but 0: what is narrower than that is the mode, which pixels have at 0."""

HOTTEST = 1e6
"""The highest: all values are as likely as each other long before, and float32 ends not far above."""


@dataclass(frozen=True)
class PixelNoise:
    """The uniforms that pixels are drawn with.

    Attributes:
        seed: 0 to 2^63 - 1.
        indices: of the images whose noise it is; one may stand there several times.
        temperature: divides the logits; 1 is the model itself, at 0 each value is the most probable one.

    Raises:
        PvaeZooError: if the temperature is neither 0 nor between `COLDEST` and `HOTTEST`.
    """

    seed: int
    indices: Sequence[int]
    temperature: float

    def __post_init__(self) -> None:
        if self.temperature != 0:
            check_temperature("temperature", self.temperature)


def check_temperature(name: str, value: float) -> None:
    """Refuse a temperature out of range.

    Raises:
        PvaeZooError: naming it, if it is not between `COLDEST` and `HOTTEST`.
    """
    if not COLDEST <= value <= HOTTEST:
        raise PvaeZooError(f"{name} {value:g} must be from {COLDEST:g} to {HOTTEST:g} (1 is the model itself)")


def draw_steps(networks: Networks, count: int, order: Order = "wavefront") -> int:
    """Runs of step graphs that draw ``count`` images, latents included."""
    return networks.prior_steps(count) + networks.pixel_sampler.steps(count, order)


def draw_from_noise(
    networks: Networks,
    eps: list[Latent],
    pixels: PixelNoise,
    *,
    order: Order = "wavefront",
    progress: Progress | None = None,
) -> Images:
    """Images ``(N, C, H, W)`` from standard normal noise of each level, bottom first, and the pixels' noise."""
    before = networks.prior_steps(len(pixels.indices))
    total = draw_steps(networks, len(pixels.indices), order)
    z1 = networks.draw_z1(eps, part_of(progress, 0, total))
    return draw_from_z1(networks, z1, pixels, order=order, progress=part_of(progress, before, total))


def draw_from_z1(
    networks: Networks,
    z1: Latent,
    pixels: PixelNoise,
    *,
    given: NDArray[np.int64] | None = None,
    order: Order = "wavefront",
    progress: Progress | None = None,
) -> Images:
    """Images ``(N, C, H, W)`` of p(x|z1); ``given`` holds values to keep and -1 where to draw."""
    image = networks.config.image
    shape = (len(pixels.indices), *image.chw)
    seed = noise.check_seed(pixels.seed)
    u = noise.uniforms(seed, pixels.indices, noise.PIXELS, image.dimensions).reshape(shape)
    keep = np.full(shape, -1, np.int64) if given is None else given
    return networks.draw_pixels(z1, u, keep, pixels.temperature, order=order, progress=progress).images


class Slices:
    """Draws any number of images a slice at a time, so that the memory is that of a slice.

    Where that is more than a device has left, the slice is drawn again in halves, and so is all that comes after: what
    did not fit once is not tried again. No image is another for it, and none that was drawn before is lost.
    """

    def __init__(self) -> None:
        self._most = sys.maxsize

    def draw(
        self,
        count: int,
        batch: int,
        draw: Callable[[range, Progress | None], Images],
        steps: Callable[[int], int],
        progress: Progress | None = None,
    ) -> Images:
        """Images ``(count, C, H, W)``.

        Args:
            count: images in all, at least 1.
            batch: of them drawn at once, at most.
            draw: gives the images of a range of ``0 .. count - 1``; reports to what it is given beside.
            steps: runs of step graphs that it reports for so many images.
            progress: called with (steps done, steps in all).

        Raises:
            DeviceMemoryError: if there is no memory for a single image.

        Warns:
            PvaeZooWarning: once, if slices are halved.
        """
        drawn: list[Images] = []
        start = done = 0
        while start < count:
            at_once = min(batch, self._most)
            slices = [range(first, min(first + at_once, count)) for first in range(start, count, at_once)]
            total = done + sum(steps(len(part)) for part in slices)
            images = self._tried(draw, slices[0], part_of(progress, done, total))
            if images is None:
                gc.collect()  # a failed draw leaves cycles of frames, which hold memory of the device
                continue
            drawn.append(images)
            start, done = slices[0].stop, done + steps(len(slices[0]))
        return np.concatenate(drawn)

    def _tried(
        self, draw: Callable[[range, Progress | None], Images], part: range, progress: Progress | None
    ) -> Images | None:
        """The images of one slice, or None if they were too many and fewer may fit."""
        try:
            return draw(part, progress)
        except DeviceMemoryError:
            if len(part) == 1:
                raise
            if self._most == sys.maxsize:
                line = f"no memory left on the GPU to draw {len(part)} images at once: they are drawn in halves"
                warnings.warn(line, PvaeZooWarning, stacklevel=2)
            self._most = -(-len(part) // 2)
            return None


def part_of(progress: Progress | None, before: int, total: int) -> Progress | None:
    """Progress of one part as that of the whole: ``before`` steps are done already."""
    return None if progress is None else lambda done, _: progress(before + done, total)
