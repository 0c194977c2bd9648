"""A PixelVAE ready to use: sample, score, encode, reconstruct, vary, complete, over onnxruntime.

    import pvae_zoo
    model = pvae_zoo.load("mnist")
    images = model.sample(16, seed=0)  # uint8 (16, 1, 28, 28)
    model.nll(images).bits_per_dim  # (16,)

Shapes: N images, C channels, H rows, W columns.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.base.devices import Device
from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.contract.folder import Bundle
from pvae_zoo.runtime import completion, latents
from pvae_zoo.runtime.bounds import score
from pvae_zoo.runtime.drawing import (
    PixelNoise,
    Slices,
    check_temperature,
    draw_from_noise,
    draw_from_z1,
    draw_steps,
    part_of,
)
from pvae_zoo.runtime.grid import Progress
from pvae_zoo.runtime.networks import Images, Latent, Networks
from pvae_zoo.runtime.scoring import Gaussian, Scores
from pvae_zoo.runtime.sessions import CPU, CUDA, cores
from pvae_zoo.runtime.wavefront import Order

Level = Literal["top", "bottom", "pixels"]

SAMPLE_BATCH = {CPU: 256, CUDA: 1024}
"""Images drawn at once, at most. A GPU draws 1,024 digits in twice the time of one (benchmarks/RESULTS-cuda.md)."""

SAMPLE_BYTES = {CPU: 384 << 20, CUDA: 3 << 30}
"""Memory for the images drawn at once, of the device: bounds that of drawing any number."""


class Model:
    """A bundle's model on a device.

    Args:
        bundle: the graphs and their contract.
        device: "cpu", "cuda", "cuda:1", or "auto" for CUDA where it loads and the CPU elsewhere.
        threads: CPU threads; all cores of this process by default.

    Graphs are read, checked and opened when they are first needed; what is not what was published is refused then.

    Raises:
        PvaeZooError: if onnxruntime or the device is missing.
    """

    def __init__(self, bundle: Bundle, device: Device = "auto", threads: int | None = None) -> None:
        self.bundle = bundle
        self.threads = threads or cores()
        self.networks = Networks(bundle, device, self.threads)
        self.provider = self.networks.provider
        self._slices = Slices()

    @property
    def device(self) -> Device:
        """What computes: "cpu", "cuda" or "cuda:1"; never "auto"."""
        return self.networks.device

    @property
    def where(self) -> str:
        """The provider, and the GPU if it is not the first: "CUDAExecutionProvider on cuda:1"."""
        return f"{self.provider} on {self.device}" if ":" in self.device else self.provider

    @property
    def name(self) -> str:
        return self.bundle.name

    @property
    def image(self) -> ImageShape:
        """Shape and levels of the images."""
        return self.bundle.config.image

    @property
    def levels(self) -> tuple[Level, ...]:
        """What noise an image is drawn from, top first: z2 ("top"), z1 ("bottom"), pixels; one level has no bottom."""
        return ("top", "pixels") if self.networks.levels == 1 else ("top", "bottom", "pixels")

    @property
    def sample_batch(self) -> int:
        """Images that `sample` draws at once by itself."""
        fitting = SAMPLE_BYTES[self.provider] // self.networks.pixel_sampler.grid.bytes_per_image
        return min(SAMPLE_BATCH[self.provider], max(1, fitting))

    def sample(
        self,
        n: int,
        *,
        seed: int = 0,
        temperature: float = 1.0,
        latent_temperature: float = 1.0,
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
            temperature: divides the pixels' logits: below 1 smoother, above 1 rougher; 1 is the model itself, and at 0
                each value is the most probable one, given those before it.
            latent_temperature: a factor of the standard deviations of p(z2) and p(z1|z2): below 1 nearer to the mean
                image; 1 is the model itself.
            first: index of the first image.
            batch_size: images drawn at once, which bounds the memory; by itself as many as fit `SAMPLE_BYTES`.
            order: "wavefront", or "raster" for comparison.
            progress: called with (steps done, steps in all).

        Returns:
            uint8 ``(n, C, H, W)`` with values ``0 .. levels - 1``.

        Example:
            >>> model.sample(2, seed=7).shape
            (2, 1, 28, 28)
        """
        _check_at_least(1, "n", n)
        _check_at_least(1, "batch_size", batch_size or 1)
        _check_at_least(0, "first", first)
        check_temperature("latent_temperature", latent_temperature)

        def draw(part: range, progress: Progress | None) -> Images:
            indices = _shifted(part, first)
            eps = latents.prior_noise(self.networks, seed, indices, temperature=latent_temperature)
            pixels = PixelNoise(seed, indices, temperature)
            return draw_from_noise(self.networks, eps, pixels, order=order, progress=progress)

        steps = partial(draw_steps, self.networks, order=order)
        return self._slices.draw(n, batch_size or self.sample_batch, draw, steps, progress)

    def nll(self, images: Images, *, samples: int = 1, seed: int = 0) -> Scores:
        """Score images.

        The figures of an image depend on nothing but the image, the model, ``samples`` and ``seed``: neither on the
        images beside it nor on ``threads``.

        Args:
            images: uint8 ``(N, C, H, W)`` with values ``0 .. levels - 1``.
            samples: draws of z an image; more than one add the importance-weighted bound.
            seed: of the draws.

        Example:
            >>> scores = model.nll(images, samples=2)
            >>> bool((scores.iwae_nll_nats <= scores.nll_nats + 1e-9).all())  # the tighter bound is the smaller one
            True
        """
        self._check(images)
        _check_at_least(1, "samples", samples)
        workers = self.threads if self.provider == CPU else 1
        return score(self.networks.single_threaded, images, samples=samples, seed=seed, workers=workers)

    def encode(self, images: Images) -> list[Gaussian]:
        """The posterior of each level, bottom first, of uint8 ``(N, C, H, W)``.

        Example:
            >>> model.encode(images)[0].mean.shape
            (2, 16)
        """
        self._check(images)
        return self.networks.posteriors(images)

    def decode(
        self,
        z1: Latent,
        *,
        seed: int = 0,
        temperature: float = 1.0,
        batch_size: int | None = None,
        progress: Progress | None = None,
    ) -> Images:
        """Draw the pixels of given z1 ``(N, *latent_shape)``; image i uses the pixel noise of index i.

        Args:
            batch_size: images drawn at once, which bounds the memory and changes no image.

        Example:
            >>> z1 = model.encode(images)[0].mean
            >>> model.decode(z1, seed=1).shape
            (2, 1, 28, 28)
        """
        expected = self.networks.latent_shape(1)
        _check_at_least(1, "batch_size", batch_size or 1)
        if z1.shape[1:] != expected or not len(z1):
            shape = ", ".join(map(str, expected))
            raise PvaeZooError(f"z1 has shape {z1.shape}; {self.name} takes (N, {shape}) with at least one row")
        z1 = np.ascontiguousarray(z1, np.float32)

        def draw(part: range, progress: Progress | None) -> Images:
            pixels = PixelNoise(seed, part, temperature)
            return draw_from_z1(self.networks, z1[part.start : part.stop], pixels, progress=progress)

        steps = self.networks.pixel_sampler.steps
        return self._slices.draw(len(z1), batch_size or self.sample_batch, draw, steps, progress)

    def reconstruct(
        self,
        images: Images,
        *,
        level: Level = "bottom",
        seed: int = 0,
        temperature: float = 1.0,
        latent_temperature: float = 1.0,
        first: int = 0,
        batch_size: int | None = None,
        progress: Progress | None = None,
    ) -> Images:
        """Encode images and draw new ones from their latents: what z keeps of them.

        Args:
            images: uint8 ``(N, C, H, W)``.
            level: "bottom" keeps z1; "top", of a model with two levels, keeps z2 and draws z1 anew.
            latent_temperature: a factor of the standard deviation of p(z1|z2), where z1 is drawn anew.
            first: index of the first image's noise.
            batch_size: images drawn at once, which bounds the memory and changes no image.

        Example:
            >>> bool((model.reconstruct(images) == images).mean() > 0.8)  # z keeps most of a digit
            True
        """
        self._check(images)
        _check_at_least(0, "first", first)
        _check_at_least(1, "batch_size", batch_size or 1)
        check_temperature("latent_temperature", latent_temperature)
        if level not in ("top", "bottom"):
            raise PvaeZooError(f"level {level!r}: images are reconstructed from the top or the bottom latents")

        def draw(part: range, progress: Progress | None) -> Images:
            indices = _shifted(part, first)
            posteriors = self.networks.posteriors(images[part.start : part.stop])
            z = latents.posterior_draws(self.networks, posteriors, seed, indices)
            z1 = z[0]
            if level == "top" and len(z) > 1:
                eps = latents.prior_noise(self.networks, seed, indices, temperature=latent_temperature)
                z1 = self.networks.draw_z1([eps[0], z[1]])
            return draw_from_z1(self.networks, z1, PixelNoise(seed, indices, temperature), progress=progress)

        steps = self.networks.pixel_sampler.steps
        return self._slices.draw(len(images), batch_size or self.sample_batch, draw, steps, progress)

    def vary(
        self,
        level: Level,
        n: int = 8,
        *,
        seed: int = 0,
        temperature: float = 1.0,
        latent_temperature: float = 1.0,
        first: int = 0,
        batch_size: int | None = None,
        progress: Progress | None = None,
    ) -> Images:
        """Draw images that share all noise but that of one level (PixelVAE, section 4.2 and figure 5).

        Noise is shared, not what is drawn from it: where z2 varies, z1 and the pixels follow it. The first image is
        ``sample(1, seed=seed, first=first)``, whatever the level.

        Args:
            level: whose noise differs: "top" (z2, or the z of a model with one level), "bottom" (z1), "pixels".
            n: how many.
            latent_temperature: a factor of the standard deviations of p(z2) and p(z1|z2): below 1 nearer to the mean
                image; 1 is the model itself.
            first: index of the image whose noise is shared.
            batch_size: images drawn at once, which bounds the memory and changes no image.

        Returns:
            uint8 ``(n, C, H, W)``.

        Example:
            >>> row = model.vary("pixels", 3, seed=1)
            >>> bool((row[0] == model.sample(1, seed=1)[0]).all())
            True
        """
        _check_at_least(1, "n", n)
        _check_at_least(0, "first", first)
        _check_at_least(1, "batch_size", batch_size or 1)
        check_temperature("latent_temperature", latent_temperature)
        if level not in self.levels:
            raise PvaeZooError(f"{self.name} has no noise of level {level!r}: choose {' or '.join(self.levels)}")

        def draw(part: range, progress: Progress | None) -> Images:
            held, varied = [first] * len(part), _shifted(part, first)
            fixed, free = (
                latents.prior_noise(self.networks, seed, indices, temperature=latent_temperature)
                for indices in (held, varied)
            )
            position = {"top": len(free) - 1, "bottom": 0}.get(level)
            eps = [b if number == position else a for number, (a, b) in enumerate(zip(fixed, free, strict=True))]
            pixels = PixelNoise(seed, varied if level == "pixels" else held, temperature)
            return draw_from_noise(self.networks, eps, pixels, progress=progress)

        steps = partial(draw_steps, self.networks)
        return self._slices.draw(n, batch_size or self.sample_batch, draw, steps, progress)

    def interpolate(
        self,
        ends: Images | None = None,
        steps: int = 8,
        *,
        seed: int = 0,
        temperature: float = 1.0,
        latent_temperature: float = 1.0,
        first: int = 0,
        batch_size: int | None = None,
        progress: Progress | None = None,
    ) -> Images:
        """Draw images on a path between two top latents, all other noise held.

        Args:
            ends: two images uint8 ``(2, C, H, W)``, whose posterior means are the ends; or None for the latents of
                ``sample(2, seed=seed, first=first)``.
            steps: images on the path, its ends included.
            latent_temperature: a factor of the standard deviations of p(z2) and p(z1|z2): below 1 nearer to the mean
                image; 1 is the model itself.
            first: index of the image whose noise is held.
            batch_size: images drawn at once, which bounds the memory and changes no image.

        Returns:
            uint8 ``(steps, C, H, W)``.

        Example:
            >>> model.interpolate(images, steps=3).shape
            (3, 1, 28, 28)
        """
        _check_at_least(2, "steps", steps)
        _check_at_least(0, "first", first)
        _check_at_least(1, "batch_size", batch_size or 1)
        check_temperature("latent_temperature", latent_temperature)
        if ends is None:
            top = latents.prior_noise(self.networks, seed, [first, first + 1], temperature=latent_temperature)[-1]
        else:
            self._check(ends)
            if len(ends) != 2:
                raise PvaeZooError(f"{len(ends)} images: a path has two ends")
            top = self.networks.posteriors(ends)[-1].mean
        path = latents.interpolate(top[:1], top[1:], steps)

        def draw(part: range, progress: Progress | None) -> Images:
            held = [first] * len(part)
            eps = latents.prior_noise(self.networks, seed, held, temperature=latent_temperature)
            eps[-1] = path[part.start : part.stop]
            return draw_from_noise(self.networks, eps, PixelNoise(seed, held, temperature), progress=progress)

        runs = partial(draw_steps, self.networks)
        return self._slices.draw(steps, batch_size or self.sample_batch, draw, runs, progress)

    def complete(
        self,
        images: Images,
        keep: NDArray[np.bool_],
        *,
        seed: int = 0,
        temperature: float = 1.0,
        latent_temperature: float = 1.0,
        candidates: int | None = None,
        first: int = 0,
        batch_size: int | None = None,
        progress: Progress | None = None,
    ) -> Images:
        """Keep a part of each image and draw the rest.

        The latents come from p(z | kept pixels) by sampling-importance-resampling: one of ``candidates`` is picked by
        the likelihood of the kept pixels. With one level, half of the candidates are drawn from the prior, half from
        the posterior of the image with its unknown pixels at zero. With two, the posterior of the image with its
        unknown pixels filled (`pvae_zoo.runtime.filling`) gives z2 and the places of z1 whose pixels are known, and
        the candidates draw the other places from p(z1|z2) given those (`pvae_zoo.runtime.completion`). The likelihood
        is exact when the kept pixels are the first in raster order (the top rows); for other masks each kept pixel is
        scored beside the zeros or the filled pixels, which is an approximation.

        What is drawn for image i depends on the image, its mask, ``seed`` and i alone.

        Args:
            images: uint8 ``(N, C, H, W)``.
            keep: where to keep, ``(H, W)`` or ``(N, H, W)``.
            latent_temperature: a factor of the standard deviations of p(z2) and p(z1|z2): below 1 nearer to the mean
                image; 1 is the model itself.
            candidates: latents weighed for each image: at least 2 and 64 by default with one level, at least 1 and 4 by
                default with two.
            first: index of the first image's noise.
            batch_size: images drawn at once, which bounds the memory and changes no image.

        Returns:
            uint8 ``(N, C, H, W)``, equal to ``images`` wherever ``keep`` is true.

        Example:
            >>> top = np.arange(28)[:, None].repeat(28, 1) < 14
            >>> completed = model.complete(images, keep=top)
            >>> bool((completed[:, :, :14] == images[:, :, :14]).all())
            True
        """
        self._check(images)
        _check_at_least(0, "first", first)
        _check_at_least(1, "batch_size", batch_size or 1)
        check_temperature("latent_temperature", latent_temperature)
        shape = (len(images), self.image.height, self.image.width)
        if keep.shape not in (shape, shape[1:]):
            raise PvaeZooError(f"the mask has shape {keep.shape}; expected {shape[1:]} or {shape}")
        keep = np.broadcast_to(keep, shape)[:, None]
        batch = batch_size or self.sample_batch
        if self.networks.levels > 1:
            batch = min(batch, self.networks.score_batch)  # so that progress never rests long
            weighed = max(1, candidates or completion.MAP_CANDIDATES)
        else:
            weighed = max(2, candidates or completion.CANDIDATES)

        def prior_steps(count: int) -> int:
            return self.networks.prior_steps(count * weighed)

        def steps(count: int) -> int:
            return prior_steps(count) + self.networks.pixel_sampler.steps(count)

        def draw(part: range, progress: Progress | None) -> Images:
            some, kept = images[part.start : part.stop], keep[part.start : part.stop]
            indices, total = _shifted(part, first), steps(len(part))
            z1 = self._completed_z1(some, kept, indices, weighed, seed, latent_temperature, part_of(progress, 0, total))
            pixels, given = PixelNoise(seed, indices, temperature), np.where(kept, some.astype(np.int64), -1)
            report = part_of(progress, prior_steps(len(part)), total)
            return draw_from_z1(self.networks, z1, pixels, given=given, progress=report)

        return self._slices.draw(len(images), batch, draw, steps, progress)

    def _completed_z1(
        self,
        images: Images,
        keep: NDArray[np.bool_],
        indices: range,
        candidates: int,
        seed: int,
        temperature: float,
        progress: Progress | None,
    ) -> Latent:
        if self.networks.levels > 1:
            workers = self.threads if self.provider == CPU else 1
            return completion.completed_z1(
                self.networks, images, keep, indices, candidates, seed, temperature, workers=workers, progress=progress
            )
        known = np.where(keep, images, 0).astype(np.uint8)
        return np.concatenate([
            completion.resampled_z1(
                self.networks, known[i : i + 1], keep[i : i + 1], index, candidates, seed, temperature
            )
            for i, index in enumerate(indices)
        ])  # fmt: skip

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


def _shifted(part: range, by: int) -> range:
    return range(part.start + by, part.stop + by)
