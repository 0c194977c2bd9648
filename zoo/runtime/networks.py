"""A bundle's graphs as functions of arrays: posteriors, priors, likelihoods, draws from given noise.

Shapes: N images, C channels, H rows, W columns. Everything is cut into batches that fit the memory; nothing depends on
how.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.base.devices import Device
from pvae_zoo.contract.folder import Bundle
from pvae_zoo.runtime.contexts import DeviceContext
from pvae_zoo.runtime.device_scoring import DeviceScorer
from pvae_zoo.runtime.failures import device_failures
from pvae_zoo.runtime.fixed_point import FixedPointSampler
from pvae_zoo.runtime.grid import GridDraw, GridSampler, Progress
from pvae_zoo.runtime.orders import Chosen, PixelOrder, chosen_order
from pvae_zoo.runtime.precisions import FLOAT32, ScorePrecision, in_float16
from pvae_zoo.runtime.sampler import DrawnPixels, PixelDraw, StepSampler
from pvae_zoo.runtime.scoring import Gaussian
from pvae_zoo.runtime.sessions import (
    CPU,
    CUDA,
    CudaOptions,
    active_provider,
    certain_provider,
    device_of,
    open_session,
    run_options,
)
from pvae_zoo.runtime.side_by_side import Check
from pvae_zoo.runtime.wavefront import Order

Images = NDArray[np.uint8]
Latent = NDArray[np.float32]

SCORE_BATCH = {CPU: 16, CUDA: 256}
"""Rows of a whole-image graph at once: more than that leave a CPU's caches, fewer do not fill a GPU."""

ROWS = 16
"""Rows of a whole-image graph are filled up to a multiple of this: as many as a vector register of a CPU has float32.

onnxruntime computes what is left over at the end of a tensor by other instructions, which round otherwise; where every
tensor is a whole number of registers, a row's results are the same to the last bit at any place of any batch.
"""

CONTEXT_AT_ONCE = 1 << 14
"""Pixels of the context at once on a CPU: of 64x64, four images."""

LOGITS_AT_ONCE = 1 << 24
"""Logits of the teacher-forced decoder at once, for a few hundred MiB (a colour image of 64x64 has 3 million)."""


class Networks:
    """The graphs, opened as they are needed.

    Args:
        bundle: the graphs and their contract.
        device: "cpu", "cuda", "cuda:1", or "auto" for CUDA where it loads and the CPU elsewhere.
        threads: CPU threads.
        cuda: how CUDA computes the graphs of whole images.
        precision: that the graphs of whole images compute in; those of steps are what they are.

    Attributes:
        device: what "auto" became, once `provider` has been asked for.
    """

    def __init__(
        self,
        bundle: Bundle,
        device: Device,
        threads: int,
        cuda: CudaOptions = CudaOptions(),  # noqa: B008
        precision: ScorePrecision = FLOAT32,
    ) -> None:
        self.bundle, self.device, self.threads = bundle, device, threads
        self.cuda = replace(cuda, tf32=True) if precision == "tf32" else cuda
        self.precision: ScorePrecision = precision
        self.config = bundle.config
        self.levels = len(bundle.config.latents)
        self._sessions: dict[str, Any] = {}
        self._opening = Lock()

    @property
    def score_batch(self) -> int:
        """Rows of a whole-image graph at once."""
        return SCORE_BATCH[self.provider]

    @cached_property
    def provider(self) -> str:
        """What runs the graphs. No graph is opened to learn it but where CUDA has to be tried, on one that all need.

        Raises:
            PvaeZooError: if onnxruntime or the device is missing.
        """
        found = certain_provider(self.device) or active_provider(self.session("decoder_context"))
        if self.device == "auto":  # what it became, for all graphs: none runs elsewhere than the first
            self.device = "cpu" if found == CPU else device_of(self.session("decoder_context"))
        return found

    def session(self, role: str) -> Any:
        """The onnxruntime session of a whole-image graph."""
        with self._opening:
            if role not in self._sessions:
                self._sessions[role] = open_session(self.graph(role), self.device, self.threads, self.cuda)
            return self._sessions[role]

    def graph(self, role: str) -> bytes:
        """A whole-image graph, verified, in this precision."""
        data = self.bundle.read_graph(role)
        return in_float16(data, str(self.bundle.folder / f"{role}.onnx")) if self.precision == "float16" else data

    @cached_property
    def device_scorer(self) -> DeviceScorer:
        """The graphs that score as one, for CUDA."""
        return DeviceScorer(self.graph, self.config, self.device, self.cuda)

    @cached_property
    def single_threaded(self) -> Networks:
        """The same networks on one thread, to be run side by side.

        onnxruntime's own threads cut a product of matrices where its size says, and the cut changes the last bits: on
        more than one thread a row's figures depend on how many rows there are.
        """
        if self.threads == 1 or self.provider == CUDA:
            return self
        provider = self.provider
        alone = Networks(self.bundle, self.device, 1, self.cuda, self.precision)
        alone.provider = provider
        return alone

    @cached_property
    def pixel_sampler(self) -> StepSampler:
        return StepSampler(self.bundle, self.device, self.threads)

    @cached_property
    def fixed_point_sampler(self) -> FixedPointSampler:
        image = self.config.image
        return FixedPointSampler(self.bundle, self.device, self.threads, _multiple(image.height, image.width))

    @cached_property
    def prior_sampler(self) -> GridSampler:
        return GridSampler(self.bundle, "prior_step", self.device, self.threads)

    def latent_shape(self, level: int) -> tuple[int, ...]:
        """Shape of a level, from 1, for one image."""
        return self.config.latents[level - 1].shape

    def posteriors(self, images: Images) -> list[Gaussian]:
        """q(z_l|x) of each level, bottom first."""
        outputs = [self._run("encoder", None, {"image": images[part]}) for part in self._parts(len(images))]
        joined = [np.concatenate(column) for column in zip(*outputs, strict=True)]
        return [Gaussian(mean, log_std) for mean, log_std in zip(joined[0::2], joined[1::2], strict=True)]

    def priors(self, latents: list[Latent], check: Check = lambda: None) -> list[Gaussian | None]:
        """p(z_l|z_(l+1)) of each level at the given latents, bottom first; None stands for N(0, I).

        Args:
            check: called before each batch; what it raises ends the work.
        """
        if self.levels == 1:
            return [None]
        z1, z2 = latents
        parts = []
        for chosen in self._parts(len(z1)):
            check()
            feed = {"z1": z1[chosen], "context": self._context("prior_context", "z2", z2[chosen])}
            parts.append(self._run("prior", ["prior_mean", "prior_log_std"], feed))
        mean, log_std = (np.concatenate(column) for column in zip(*parts, strict=True))
        return [Gaussian(mean, log_std), None]

    def prior_steps(self, count: int) -> int:
        """Runs of the step graph for z1 of ``count`` images; none with one level."""
        return self.prior_sampler.steps(count) if self.levels > 1 else 0

    def pixel_order(self, order: PixelOrder, count: int) -> Chosen:
        """The order in which the pixels of ``count`` images are drawn.

        "auto" is the wavefront where the arithmetic is coarse: there the single-step graph and the teacher-forced one
        are not the same distribution to the last digit, and what is published is what the steps draw.
        """
        if order == "auto" and not self.config.numbers.is_float32:
            return "wavefront"
        image = self.config.image
        return chosen_order(order, "cpu" if self.provider == CPU else "cuda", image.height * image.width, count)

    def pixel_steps(self, count: int, order: PixelOrder = "auto") -> int:
        """What `draw_images` reports when it is done: runs of the step graph, or values that have settled."""
        chosen = self.pixel_order(order, count)
        if chosen == "fixed-point":
            return count * self.config.image.dimensions
        return self.pixel_sampler.steps(count, chosen)

    def draw_images(
        self,
        z1: Latent,
        uniforms: NDArray[np.float32],
        given: NDArray[np.int64],
        temperature: float,
        *,
        order: PixelOrder = "auto",
        progress: Progress | None = None,
    ) -> Images:
        """As `draw_pixels`, in any order, and the images alone."""
        chosen = self.pixel_order(order, len(z1))
        if chosen != "fixed-point":
            return self.draw_pixels(z1, uniforms, given, temperature, order=chosen, progress=progress).images
        what = PixelDraw(self._context("decoder_context", "z1", z1), uniforms, given, temperature)
        return self.fixed_point_sampler.draw(what, progress=progress).images

    def draw_z1(self, noise: list[Latent], progress: Progress | None = None, known: Latent | None = None) -> Latent:
        """z1 from standard normal noise of each level, bottom first; the noise of the top level is its latent.

        Args:
            known: of a model with two levels, values of z1 that are not drawn and that the others are drawn given,
                NaN where z1 is drawn.
        """
        if self.levels == 1:
            z1: Latent = self._outputs("prior", ["z1"], {"z1_noise": noise[0]})[0]
            return z1
        context = self._context_of_steps("prior_context", "z2", noise[1], self.prior_sampler)
        what = GridDraw(context, {"noise": noise[0]}, {}, known)
        drawn = self.prior_sampler.draw(what, progress=progress)
        return np.ascontiguousarray(drawn["z1"])

    def log_prob(self, images: Images, z1: Latent, check: Check = lambda: None) -> NDArray[np.float32]:
        """log p(x|z1) of every value of paired images and latents, teacher-forced, ``(N, C, H, W)``.

        Args:
            check: called before each batch; what it raises ends the work.
        """
        image = self.config.image
        most = max(1, LOGITS_AT_ONCE // (image.dimensions * image.logits_per_value))
        parts = []
        for chosen in self._parts(len(images), most):
            check()
            context = self._context("decoder_context", "z1", z1[chosen])
            feed = {"image": images[chosen], "context": context}
            parts.append(self._run("decoder", ["log_prob"], feed, min(_multiple(image.height, image.width), most))[0])
        return np.concatenate(parts)

    def draw_pixels(
        self,
        z1: Latent,
        uniforms: NDArray[np.float32],
        given: NDArray[np.int64],
        temperature: float,
        *,
        order: Order = "wavefront",
        progress: Progress | None = None,
    ) -> DrawnPixels:
        """Pixels of p(x|z1) from uniforms ``(N, C, H, W)``; ``given`` holds values to keep and -1 where to draw."""
        context = self._context_of_steps("decoder_context", "z1", z1, self.pixel_sampler.grid)
        what = PixelDraw(context, uniforms, given, temperature)
        return self.pixel_sampler.draw(what, order=order, progress=progress)

    def _context_of_steps(
        self, role: str, name: str, z: Latent, grid: GridSampler
    ) -> NDArray[np.float32] | DeviceContext:
        """A context for steps, on a GPU one that never leaves it."""
        if self.provider == CPU:
            return self._context(role, name, z)
        return DeviceContext(self.session(role), name, z, grid.spec.context, self.score_batch)

    def _context(self, role: str, name: str, z: Latent) -> NDArray[np.float32]:
        image, multiple = self.config.image, _multiple(*z.shape[2:]) if z.ndim == 4 else ROWS
        # Maps that need no filling up are grown a few at a time, so that an interrupt never waits long.
        few = multiple == 1 and self.provider == CPU
        most = max(1, CONTEXT_AT_ONCE // (image.height * image.width)) if few else sys.maxsize
        parts = [self._run(role, ["context"], {name: z[part]}, multiple)[0] for part in self._parts(len(z), most)]
        return np.concatenate(parts)

    def _parts(self, count: int, most: int = sys.maxsize) -> list[slice]:
        """How ``count`` rows are cut: `score_batch` at once, and no more than ``most``."""
        rows = min(self.score_batch, most)
        return [slice(start, start + rows) for start in range(0, count, rows)]

    def _run(self, role: str, names: list[str] | None, feed: dict[str, Any], multiple: int = ROWS) -> list[Any]:
        """Outputs of a whole-image graph for rows filled up with copies of the last one."""
        count = len(next(iter(feed.values())))
        rows = np.minimum(np.arange(count + -count % multiple), count - 1)
        types = {tensor.name: tensor.dtype for tensor in self.config.graphs[role].inputs}  # images may be float32
        whole = {name: values[rows].astype(types[name], copy=False) for name, values in feed.items()}
        return [output[:count] for output in self._outputs(role, names, whole)]

    def _outputs(self, role: str, names: list[str] | None, feed: dict[str, Any]) -> list[Any]:
        """Outputs of a whole-image graph.

        Raises:
            PvaeZooError: if it fails on a GPU; `DeviceMemoryError` if the memory there is used up.
        """
        with device_failures(self.device):
            outputs: list[Any] = self.session(role).run(names, feed, run_options())
        return outputs


def _multiple(height: int, width: int) -> int:
    """To a multiple of how many rows a batch of maps is filled up.

    Maps of whole registers need none: a batch of them is computed map by map.
    """
    return 1 if height * width % ROWS == 0 else ROWS
