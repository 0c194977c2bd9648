"""Likelihoods of images: the evidence lower bound and the importance-weighted bound, over onnxruntime.

References:
    [1] PixelVAE (Gulrajani et al., 2017), arXiv 1611.05013, eq. (1)
    [2] Importance Weighted Autoencoders (Burda et al., 2016), arXiv 1509.00519, eq. (8)

Everything reported is a negative log-likelihood, positive, smaller is better. Sums are in float64 nats; `bits_per_dim`
divides once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.contract.architecture import ImageShape

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Gaussian:
    """A diagonal Gaussian for each of N images: ``mean`` and ``log_std``, each ``(N, *latent_shape)`` float32."""

    mean: NDArray[np.float32]
    log_std: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.mean)

    def repeat(self, samples: int) -> Gaussian:
        """Each image's Gaussian ``samples`` times in a row."""
        return Gaussian(np.repeat(self.mean, samples, axis=0), np.repeat(self.log_std, samples, axis=0))

    def widened(self, factor: float) -> Gaussian:
        """The same means, the standard deviations times ``factor``."""
        return Gaussian(self.mean, self.log_std + np.float32(math.log(factor)))

    def sample(self, noise: NDArray[np.float32]) -> NDArray[np.float32]:
        """Draws from standard normal noise ``(N, *latent_shape)``, of the same shape."""
        z = self.mean + np.exp(self.log_std) * noise
        return z.astype(np.float32, copy=False)

    def log_prob(self, z: NDArray[np.float32], where: NDArray[np.bool_] | None = None) -> Array:
        """Log-density in nats of ``z`` ``(N, *latent_shape)``, of its values ``where`` alone if given: ``(N,)``."""
        log_std = self.log_std.astype(np.float64)
        standardised = (z - self.mean.astype(np.float64)) * np.exp(-log_std)
        terms = -0.5 * standardised**2 - log_std - 0.5 * math.log(2 * math.pi)
        return _sum(terms if where is None else np.where(where, terms, 0.0))

    def kl(self, prior: Gaussian | None = None) -> Array:
        """KL(self || prior) in nats, ``(N,)``; N(0, I) without a prior."""
        return _sum(self.kl_terms(prior))

    def kl_terms(self, prior: Gaussian | None = None) -> Array:
        """What each latent adds to `kl`, ``(N, *latent_shape)``."""
        mean, log_std = self.mean.astype(np.float64), self.log_std.astype(np.float64)
        if prior is None:
            terms: Array = 0.5 * (mean**2 + np.exp(2 * log_std) - 1) - log_std
            return terms
        log_ratio = prior.log_std - log_std
        scaled_gap = (mean - prior.mean) * np.exp(-prior.log_std.astype(np.float64))
        between: Array = log_ratio + 0.5 * (np.exp(-2 * log_ratio) + scaled_gap**2 - 1)
        return between


@dataclass(frozen=True)
class Evaluated:
    """What a model's graphs make of N images with K draws of the latents each, the draws of an image in a row.

    Attributes:
        posteriors: q(z_l|x) of each level, bottom first, of N images.
        z: draws of each level, ``(N * K, *latent_shape)``.
        priors: p(z_l|z_(l+1)) of each level at these draws, N * K; None stands for N(0, I).
        log_prob: log p(x|z1) of every value, ``(N * K, C, H, W)``.
    """

    posteriors: list[Gaussian]
    z: list[NDArray[np.float32]]
    priors: list[Gaussian | None]
    log_prob: NDArray[np.float32]


def joined(parts: Sequence[Gaussian]) -> Gaussian:
    """The Gaussians of several batches as those of one."""
    return Gaussian(np.concatenate([p.mean for p in parts]), np.concatenate([p.log_std for p in parts]))


def standard_log_prob(z: NDArray[np.float32]) -> Array:
    """Log-density in nats of ``(N, *latent_shape)`` under N(0, I): ``(N,)``."""
    return _sum(-0.5 * z.astype(np.float64) ** 2 - 0.5 * math.log(2 * math.pi))


def log_mean_exp(log_weights: Array) -> Array:
    """``log mean exp`` over the last axis, without overflow."""
    largest = log_weights.max(axis=-1, keepdims=True)
    mean: Array = np.log(np.mean(np.exp(log_weights - largest), axis=-1)) + largest[..., 0]
    return mean


def bits_per_dim(nats: Array | float, image: ImageShape) -> Array | float:
    """Nats an image to bits per dimension: over ``C * H * W * ln 2``."""
    return nats / (image.dimensions * math.log(2.0))


@dataclass(frozen=True)
class Scores:
    """Figures of N images, in nats an image, positive, smaller is better.

    Attributes:
        image: shape of the images, for `bits_per_dim`.
        reconstruction_nats: -log p(x|z1), mean over the draws of z, ``(N,)``.
        kl_nats: KL of each level, bottom first, ``(N, levels)``.
        iwae_nll_nats: minus the importance-weighted bound, ``(N,)``; None with one draw.
        log_prob: log p of every value, mean over the draws, ``(N, C, H, W)``: a map of surprise.
        posteriors: q(z|x) of each level, bottom first; empty where they were not kept.
        kl_places: where z1 is a map, the KL of each of its places, ``(N, h, w)``; None elsewhere.
    """

    image: ImageShape
    reconstruction_nats: Array
    kl_nats: Array
    iwae_nll_nats: Array | None
    log_prob: NDArray[np.float32]
    posteriors: tuple[Gaussian, ...] = ()
    kl_places: Array | None = None

    def __len__(self) -> int:
        return len(self.reconstruction_nats)

    @property
    def nll_nats(self) -> Array:
        """The bound -ELBO, ``(N,)``."""
        total: Array = self.reconstruction_nats + self.kl_nats.sum(axis=1)
        return total

    @property
    def bits_per_dim(self) -> Array:
        """The bound -ELBO in bits per dimension, ``(N,)``."""
        return np.asarray(bits_per_dim(self.nll_nats, self.image))

    @property
    def standard_error_nats(self) -> float:
        """Standard error of the mean of `nll_nats` over the images; 0 for one image."""
        return float(self.nll_nats.std(ddof=1) / math.sqrt(len(self))) if len(self) > 1 else 0.0


def merge_scores(parts: Sequence[Scores]) -> Scores:
    """One `Scores` of several batches of the same model."""
    iwae = [p.iwae_nll_nats for p in parts if p.iwae_nll_nats is not None]
    places = [p.kl_places for p in parts if p.kl_places is not None]
    return Scores(
        image=parts[0].image,
        reconstruction_nats=np.concatenate([p.reconstruction_nats for p in parts]),
        kl_nats=np.concatenate([p.kl_nats for p in parts]),
        iwae_nll_nats=np.concatenate(iwae) if len(iwae) == len(parts) else None,
        log_prob=np.concatenate([p.log_prob for p in parts]),
        posteriors=tuple(joined(level) for level in zip(*(p.posteriors for p in parts), strict=True)),
        kl_places=np.concatenate(places) if len(places) == len(parts) else None,
    )


def _sum(values: Array) -> Array:
    """Sum over all but the first axis."""
    total: Array = values.reshape(len(values), -1).sum(axis=1)
    return total
