"""Latents of every level: noise for them, draws from the posteriors, densities under prior and posterior.

A list of latents has one array a level, bottom first: z1, then z2 where there are two. The draws of an image stand in
a row: K draws of N images are ``(N * K, *latent_shape)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.runtime import noise
from pvae_zoo.runtime.networks import Latent, Networks
from pvae_zoo.runtime.scoring import Gaussian, standard_log_prob

Array = NDArray[np.float64]


def prior_noise(
    networks: Networks, seed: int, indices: Sequence[int], samples: int = 1, temperature: float = 1.0
) -> list[Latent]:
    """Normal noise of each level for images by index; more samples continue each image's stream.

    Args:
        temperature: standard deviation of the noise, and so a factor of that of every prior; 1 is the model itself.
    """
    levels = range(1, networks.levels + 1)
    return [np.float32(temperature) * _normals(networks, seed, indices, level, level, samples) for level in levels]


def posterior_noise(
    networks: Networks, seed: int, indices: Sequence[int], samples: int = 1, check: Callable[[], None] = lambda: None
) -> list[Latent]:
    """As `prior_noise`, for draws from the posteriors: scoring and sampling share no noise.

    Args:
        check: called now and then; what it raises ends the work.
    """
    levels = range(1, networks.levels + 1)
    return [_normals(networks, seed, indices, level, noise.POSTERIOR + level, samples, check) for level in levels]


def posterior_draws(
    networks: Networks,
    posteriors: Sequence[Gaussian],
    seed: int,
    indices: Sequence[int],
    samples: int = 1,
    check: Callable[[], None] = lambda: None,
) -> list[Latent]:
    """Draws of every level from q(z|x); see `posterior_noise` for ``check``."""
    return draws_from(posteriors, posterior_noise(networks, seed, indices, samples, check), samples)


def draws_from(posteriors: Sequence[Gaussian], eps: Sequence[Latent], samples: int = 1) -> list[Latent]:
    """Draws of every level from standard normal noise, ``samples`` of each of the N images that posteriors are of."""
    return [q.repeat(samples).sample(level) for q, level in zip(posteriors, eps, strict=True)]


def log_prior(latents: Sequence[Latent], priors: Sequence[Gaussian | None], temperature: float = 1.0) -> Array:
    """log p(z1|z2) + log p(z2) of each draw, in nats, the priors' standard deviations times ``temperature``."""
    terms = [
        standard_log_prob(z / np.float32(temperature)) - z[0].size * math.log(temperature)
        if p is None
        else p.widened(temperature).log_prob(z)
        for z, p in zip(latents, priors, strict=True)
    ]
    total: Array = np.sum(terms, axis=0)
    return total


def log_posterior(latents: Sequence[Latent], posteriors: Sequence[Gaussian]) -> Array:
    """log q(z1|x) + log q(z2|x) of each draw, in nats; ``posteriors`` repeated as the draws are."""
    total: Array = np.sum([q.log_prob(z) for z, q in zip(latents, posteriors, strict=True)], axis=0)
    return total


def interpolate(start: Latent, end: Latent, steps: int) -> Latent:
    """A path on the great circle between two latents ``(1, *latent_shape)``, both ends included: ``(steps, ...)``.

    A straight line would pass closer to the origin than draws from N(0, I) ever are.
    """
    a, b = start.ravel().astype(np.float64), end.ravel().astype(np.float64)
    cosine = float(a @ b) / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-12)
    angle = math.acos(min(1.0, max(-1.0, cosine)))
    t = np.linspace(0.0, 1.0, steps)[:, None]
    if min(angle, math.pi - angle) < 1e-3:  # the same direction, or opposite ones, have no great circle of their own
        path = (1 - t) * a + t * b
    else:
        path = (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / math.sin(angle)
    return path.reshape(steps, *start.shape[1:]).astype(np.float32)


def _normals(
    networks: Networks,
    seed: int,
    indices: Sequence[int],
    level: int,
    stage: int,
    samples: int,
    check: Callable[[], None] = lambda: None,
) -> NDArray[np.float32]:
    shape = networks.latent_shape(level)
    drawn = noise.normals(noise.check_seed(seed), indices, stage, samples * math.prod(shape), check)
    return drawn.reshape(len(indices) * samples, *shape)
