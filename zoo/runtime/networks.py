"""A bundle's graphs as functions of arrays: posteriors, priors, likelihoods, draws from given noise.

Shapes: N images, C channels, H rows, W columns. Everything is cut into batches that fit the memory; nothing depends on
how.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.bundle import Bundle
from pvae_zoo.runtime.grid import GridDraw, GridSampler, Progress
from pvae_zoo.runtime.sampler import Draw, Drawn, StepSampler
from pvae_zoo.runtime.scoring import Gaussian
from pvae_zoo.runtime.sessions import Device, open_session
from pvae_zoo.runtime.wavefront import Order

Images = NDArray[np.uint8]
Latent = NDArray[np.float32]

SCORE_BATCH = 64
"""Rows of a whole-image graph at once: more fill the caches, not the cores."""

LOGITS_AT_ONCE = 1 << 24
"""Logits of the teacher-forced decoder at once, for a few hundred MiB (a colour image of 64x64 has 3 million)."""


class Networks:
    """The graphs, opened as they are needed.

    Args:
        bundle: the graphs and their contract.
        device: "cpu", "cuda", or "auto" for CUDA where it loads and the CPU elsewhere.
        threads: CPU threads.
    """

    def __init__(self, bundle: Bundle, device: Device, threads: int) -> None:
        self.bundle, self.device, self.threads = bundle, device, threads
        self.config = bundle.config
        self.levels = len(bundle.config.latents)
        self._sessions: dict[str, Any] = {}

    def session(self, role: str) -> Any:
        """The onnxruntime session of a whole-image graph."""
        if role not in self._sessions:
            self._sessions[role] = open_session(self.bundle.read_graph(role), self.device, self.threads)
        return self._sessions[role]

    @cached_property
    def pixel_sampler(self) -> StepSampler:
        return StepSampler(self.bundle, self.device, self.threads)

    @cached_property
    def prior_sampler(self) -> GridSampler:
        return GridSampler(self.bundle, "prior_step", self.device, self.threads)

    def latent_shape(self, level: int) -> tuple[int, ...]:
        """Shape of a level, from 1, for one image."""
        return self.config.latents[level - 1].shape

    def posteriors(self, images: Images) -> list[Gaussian]:
        """q(z_l|x) of each level, bottom first."""
        batches = [images[start : start + SCORE_BATCH] for start in range(0, len(images), SCORE_BATCH)]
        outputs = [self.session("encoder").run(None, {"image": np.ascontiguousarray(batch)}) for batch in batches]
        joined = [np.concatenate(column) for column in zip(*outputs, strict=True)]
        return [Gaussian(mean, log_std) for mean, log_std in zip(joined[0::2], joined[1::2], strict=True)]

    def priors(self, latents: list[Latent]) -> list[Gaussian | None]:
        """p(z_l|z_(l+1)) of each level at the given latents, bottom first; None stands for N(0, I)."""
        if self.levels == 1:
            return [None]
        z1, z2 = latents
        parts = []
        for start in range(0, len(z1), SCORE_BATCH):
            chosen = slice(start, start + SCORE_BATCH)
            feed = {"z1": z1[chosen], "context": self._context("prior_context", "z2", z2[chosen])}
            parts.append(self.session("prior").run(["prior_mean", "prior_log_std"], feed))
        mean, log_std = (np.concatenate(column) for column in zip(*parts, strict=True))
        return [Gaussian(mean, log_std), None]

    def prior_steps(self, count: int) -> int:
        """Runs of the step graph for z1 of ``count`` images; none with one level."""
        return self.prior_sampler.steps(count) if self.levels > 1 else 0

    def draw_z1(self, noise: list[Latent], progress: Progress | None = None) -> Latent:
        """z1 from standard normal noise of each level, bottom first; the noise of the top level is its latent."""
        if self.levels == 1:
            z1: Latent = self.session("prior").run(["z1"], {"z1_noise": noise[0]})[0]
            return z1
        context = self._context("prior_context", "z2", noise[1])
        drawn = self.prior_sampler.draw(GridDraw(context, {"noise": noise[0]}, {}), progress=progress)
        return np.ascontiguousarray(drawn["z1"])

    def log_prob(self, images: Images, z1: Latent) -> NDArray[np.float32]:
        """log p(x|z1) of every value of paired images and latents, teacher-forced, ``(N, C, H, W)``."""
        image = self.config.image
        rows = min(SCORE_BATCH, max(1, LOGITS_AT_ONCE // (image.dimensions * image.logits_per_value)))
        parts = []
        for start in range(0, len(images), rows):
            chosen = slice(start, start + rows)
            context = self._context("decoder_context", "z1", z1[chosen])
            feed = {"image": np.ascontiguousarray(images[chosen]), "context": context}
            parts.append(self.session("decoder").run(["log_prob"], feed)[0])
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
    ) -> Drawn:
        """Pixels of p(x|z1) from uniforms ``(N, C, H, W)``; ``given`` holds values to keep and -1 where to draw."""
        what = Draw(self._context("decoder_context", "z1", z1), uniforms, given, temperature)
        return self.pixel_sampler.draw(what, order=order, progress=progress)

    def _context(self, role: str, name: str, z: Latent) -> NDArray[np.float32]:
        batches = [np.ascontiguousarray(z[start : start + SCORE_BATCH]) for start in range(0, len(z), SCORE_BATCH)]
        return np.concatenate([self.session(role).run(["context"], {name: batch})[0] for batch in batches])
