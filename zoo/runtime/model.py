"""A PixelVAE ready to use: sample, score, encode, reconstruct, complete, over onnxruntime.

    import pvae_zoo
    model = pvae_zoo.load("mnist")
    images = model.sample(16, seed=0)  # uint8 (16, 1, 28, 28)
    model.nll(images).bits_per_dim  # (16,)

Shapes: N images, C channels, H rows, W columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.bundle import Bundle
from pvae_zoo.errors import PvaeZooError
from pvae_zoo.models.architecture import ImageShape
from pvae_zoo.runtime import noise
from pvae_zoo.runtime.sampler import Draw, Drawn, Progress, StepSampler
from pvae_zoo.runtime.scoring import Gaussian, Scores, log_mean_exp, merge_scores, standard_log_prob
from pvae_zoo.runtime.sessions import Device, active_provider, cores, open_session
from pvae_zoo.runtime.wavefront import Order

Images = NDArray[np.uint8]

SCORE_BATCH = 64
"""Rows of the teacher-forced decoder at once: more fill the caches, not the cores."""

SAMPLE_BATCH = 256
"""Images drawn between two results: bounds the memory of `PixelVAE.sample` for any n."""

COLDEST = 1e-6
"""The lowest temperature: logits divided by much less are infinite in float32, and their softmax is not a number."""


class PixelVAE:
    """A bundle's model on a device.

    Args:
        bundle: the graphs and their contract.
        device: "cpu", "cuda", or "auto" for CUDA where it loads and the CPU elsewhere.
        threads: CPU threads; all cores of this process by default.

    Raises:
        PvaeZooError: if onnxruntime or the device is missing, or a graph is not what was published.
    """

    def __init__(self, bundle: Bundle, device: Device = "auto", threads: int | None = None) -> None:
        self.bundle = bundle
        self.device: Device = device
        self.threads = threads or cores()
        self._sessions: dict[str, Any] = {}
        self._sampler: StepSampler | None = None
        self.provider = active_provider(self._session("encoder"))

    @property
    def name(self) -> str:
        return self.bundle.name

    @property
    def image(self) -> ImageShape:
        """Shape and levels of the images."""
        return self.bundle.config.image

    def sample(
        self,
        n: int,
        *,
        seed: int = 0,
        temperature: float = 1.0,
        first: int = 0,
        batch_size: int | None = None,
        order: Order = "wavefront",
        progress: Progress | None = None,
    ) -> Images:
        """Draw images from the model.

        Image i of a seed is the same whatever ``n``, ``first`` and ``batch_size`` are.

        Args:
            n: how many, at least 1.
            seed: of all noise, 0 to 2^63 - 1.
            temperature: divides the pixels' logits: below 1 smoother, above 1 rougher; 1 is the model itself.
            first: index of the first image.
            batch_size: images drawn at once; bounds the memory.
            order: "wavefront", or "raster" for comparison.
            progress: called with (steps done, steps in all).

        Returns:
            uint8 ``(n, C, H, W)`` with values ``0 .. levels - 1``.
        """
        _check_at_least(1, "n", n)
        _check_at_least(1, "batch_size", batch_size or 1)
        _check_at_least(0, "first", first)
        indices = range(first, first + n)
        batch = batch_size or SAMPLE_BATCH
        chunks = [indices[start : start + batch] for start in range(0, n, batch)]
        steps = [self._stepper().steps(len(chunk), order) for chunk in chunks]
        drawn = []
        for number, chunk in enumerate(chunks):
            report = _part_of(progress, sum(steps[:number]), sum(steps))
            drawn.append(self._draw(self._prior(seed, chunk), chunk, seed, temperature, order=order, progress=report))
        return np.concatenate([d.images for d in drawn])

    def nll(self, images: Images, *, samples: int = 1, seed: int = 0, first: int = 0) -> Scores:
        """Score images.

        Args:
            images: uint8 ``(N, C, H, W)`` with values ``0 .. levels - 1``.
            samples: draws of z an image; more than one add the importance-weighted bound.
            seed: of the draws.
            first: index of the first image, for its noise.
        """
        self._check(images)
        _check_at_least(1, "samples", samples)
        _check_at_least(0, "first", first)
        per_batch = max(1, SCORE_BATCH // samples)
        parts = []
        for start in range(0, len(images), per_batch):
            chunk = images[start : start + per_batch]
            parts.append(self._score(chunk, range(first + start, first + start + len(chunk)), samples, seed))
        return merge_scores(parts)

    def encode(self, images: Images) -> list[Gaussian]:
        """The posterior of each level, bottom first, of uint8 ``(N, C, H, W)``."""
        self._check(images)
        session = self._session("encoder")
        batches = [images[start : start + SCORE_BATCH] for start in range(0, len(images), SCORE_BATCH)]
        outputs = [session.run(None, {"image": np.ascontiguousarray(batch)}) for batch in batches]
        joined = [np.concatenate(column) for column in zip(*outputs, strict=True)]
        return [Gaussian(mean, log_std) for mean, log_std in zip(joined[0::2], joined[1::2], strict=True)]

    def decode(
        self, z1: NDArray[np.float32], *, seed: int = 0, temperature: float = 1.0, progress: Progress | None = None
    ) -> Images:
        """Draw the pixels of given latents ``(N, *latent_shape)``; image i uses the pixel noise of index i."""
        expected = self.bundle.config.latents[0].shape
        if z1.shape[1:] != expected or not len(z1):
            shape = ", ".join(map(str, expected))
            raise PvaeZooError(f"z1 has shape {z1.shape}; {self.name} takes (N, {shape}) with at least one row")
        z1 = np.ascontiguousarray(z1, np.float32)
        return self._draw(z1, range(len(z1)), seed, temperature, progress=progress).images

    def reconstruct(
        self, images: Images, *, seed: int = 0, temperature: float = 1.0, progress: Progress | None = None
    ) -> Images:
        """Encode images and draw new ones from their latents: what z keeps of them."""
        indices = range(len(images))
        z1 = self._posterior(self.encode(images)[0], indices, 1, seed)[:, 0]
        return self._draw(z1, indices, seed, temperature, progress=progress).images

    def complete(
        self,
        images: Images,
        keep: NDArray[np.bool_],
        *,
        seed: int = 0,
        temperature: float = 1.0,
        candidates: int = 64,
        progress: Progress | None = None,
    ) -> Images:
        """Keep a part of each image and draw the rest.

        The latents come from p(z | kept pixels) by sampling-importance-resampling: half of the ``candidates`` are drawn
        from the prior, half from the posterior of the image with its unknown pixels at zero, and one is picked by the
        likelihood of the kept pixels. That likelihood is exact when the kept pixels are the first in raster order (the
        top rows); for other masks each kept pixel is scored beside the zeros, which is an approximation.

        Args:
            images: uint8 ``(N, C, H, W)``.
            keep: where to keep, ``(H, W)`` or ``(N, H, W)``.
            candidates: latents weighed for each image, at least 2.

        Returns:
            uint8 ``(N, C, H, W)``, equal to ``images`` wherever ``keep`` is true.
        """
        self._check(images)
        shape = (len(images), self.image.height, self.image.width)
        if keep.shape not in (shape, shape[1:]):
            raise PvaeZooError(f"the mask has shape {keep.shape}; expected {shape[1:]} or {shape}")
        keep = np.broadcast_to(keep, shape)[:, None]
        known = np.where(keep, images, 0).astype(np.uint8)
        z1 = np.concatenate([
            self._weighed(known[i : i + 1], keep[i : i + 1], i, max(2, candidates), seed) for i in range(len(images))
        ])  # fmt: skip
        given = np.where(keep, images.astype(np.int64), -1)
        return self._draw(z1, range(len(images)), seed, temperature, given=given, progress=progress).images

    def _session(self, role: str) -> Any:
        if role not in self._sessions:
            self._sessions[role] = open_session(self.bundle.read_graph(role), self.device, self.threads)
        return self._sessions[role]

    def _stepper(self) -> StepSampler:
        if self._sampler is None:
            self._sampler = StepSampler(self.bundle, self.device, self.threads)
        return self._sampler

    def _latent(self, level: int) -> tuple[tuple[int, ...], int]:
        shape = self.bundle.config.latents[level - 1].shape
        return shape, math.prod(shape)

    def _prior(self, seed: int, indices: Sequence[int]) -> NDArray[np.float32]:
        shape, size = self._latent(1)
        eps = noise.normals(noise.check_seed(seed), indices, 1, size).reshape(len(indices), *shape)
        z1: NDArray[np.float32] = self._session("prior").run(["z1"], {"z1_noise": eps})[0]
        return z1

    def _posterior(self, q: Gaussian, indices: Sequence[int], samples: int, seed: int) -> NDArray[np.float32]:
        """Draws of z1, ``(N, samples, *latent_shape)``; more samples continue the same stream."""
        shape, size = self._latent(1)
        eps = noise.normals(noise.check_seed(seed), indices, noise.POSTERIOR + 1, samples * size)
        return q.sample(eps.reshape(len(indices), samples, *shape))

    def _context(self, z1: NDArray[np.float32]) -> NDArray[np.float32]:
        context: NDArray[np.float32] = self._session("decoder_context").run(["context"], {"z1": z1})[0]
        return context

    def _draw(
        self,
        z1: NDArray[np.float32],
        indices: Sequence[int],
        seed: int,
        temperature: float,
        *,
        given: NDArray[np.int64] | None = None,
        order: Order = "wavefront",
        progress: Progress | None = None,
    ) -> Drawn:
        if not COLDEST <= temperature < math.inf:
            raise PvaeZooError(
                f"temperature {temperature:g} must be above 0, from {COLDEST:g} on (1 is the model itself)"
            )
        shape = (len(indices), *self.image.chw)
        u = noise.uniforms(noise.check_seed(seed), indices, noise.PIXELS, self.image.dimensions).reshape(shape)
        keep = np.full(shape, -1, np.int64) if given is None else given
        return self._stepper().draw(Draw(self._context(z1), u, keep, temperature), order=order, progress=progress)

    def _teacher_forced(self, images: Images, z1: NDArray[np.float32]) -> NDArray[np.float32]:
        """log p(x|z1) of every value of paired images and latents, ``(N, C, H, W)``, in batches."""
        session = self._session("decoder")
        parts = []
        for start in range(0, len(images), SCORE_BATCH):
            chosen = slice(start, start + SCORE_BATCH)
            feed = {"image": np.ascontiguousarray(images[chosen]), "context": self._context(z1[chosen])}
            parts.append(session.run(["log_prob"], feed)[0])
        return np.concatenate(parts)

    def _score(self, images: Images, indices: Sequence[int], samples: int, seed: int) -> Scores:
        n = len(images)
        q = self.encode(images)[0]
        z = self._posterior(q, indices, samples, seed)  # (n, samples, *latent_shape)
        repeated = np.repeat(images, samples, axis=0) if samples > 1 else images
        log_prob = self._teacher_forced(repeated, z.reshape(n * samples, *z.shape[2:]))
        log_likelihood = log_prob.reshape(n, samples, -1).sum(axis=2, dtype=np.float64)
        log_weights = log_likelihood + standard_log_prob(z) - q.log_prob(z)
        return Scores(
            image=self.image,
            reconstruction_nats=-log_likelihood.mean(axis=1),
            kl_nats=q.kl_from_standard()[:, None],
            iwae_nll_nats=-log_mean_exp(log_weights) if samples > 1 else None,
            log_prob=log_prob.reshape(n, samples, *self.image.chw).mean(axis=1),
        )

    def _weighed(
        self, known: Images, keep: NDArray[np.bool_], index: int, candidates: int, seed: int
    ) -> NDArray[np.float32]:
        """One latent ``(1, *latent_shape)`` from p(z | kept pixels), by sampling-importance-resampling."""
        shape, size = self._latent(1)
        half = candidates // 2
        q = self.encode(known)[0]
        eps = noise.normals(noise.check_seed(seed), [index], 1, half * size).reshape(1, half, *shape)
        z = np.concatenate([eps, self._posterior(q, [index], half, seed)], axis=1)
        log_prob = self._teacher_forced(np.repeat(known, 2 * half, axis=0), z[0])
        log_kept = np.where(keep, log_prob, 0.0).reshape(1, 2 * half, -1).sum(axis=2, dtype=np.float64)
        log_prior = standard_log_prob(z)
        log_weights = (log_kept + log_prior - np.logaddexp(log_prior, q.log_prob(z)))[0]
        weights = np.cumsum(np.exp(log_weights - log_weights.max()))
        u = noise.uniforms(seed, [index], noise.RESAMPLING, 1)[0, 0]
        chosen = int(np.searchsorted(weights, u * weights[-1], side="right"))
        return z[:, min(chosen, 2 * half - 1)]

    def _check(self, images: Images) -> None:
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != self.image.chw or not len(images):
            raise PvaeZooError(
                f"images of type {images.dtype} and shape {images.shape}: {self.name} takes uint8 (N, "
                f"{', '.join(map(str, self.image.chw))}) with at least one image"
            )
        if int(images.max()) >= self.image.levels:
            raise PvaeZooError(f"values up to {int(images.max())}: {self.name} takes 0..{self.image.levels - 1}")


def _check_at_least(least: int, name: str, value: int) -> None:
    if value < least:
        raise PvaeZooError(f"{name} is {value}; it must be at least {least}")


def _part_of(progress: Progress | None, before: int, total: int) -> Progress | None:
    """Progress of one batch as a part of the whole: ``before`` steps are done already."""
    return None if progress is None else lambda done, _: progress(before + done, total)
