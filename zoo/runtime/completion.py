"""Latents of an image of which a part is known, by sampling-importance-resampling."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.runtime import latents, noise
from pvae_zoo.runtime.networks import Images, Latent, Networks


def resampled_z1(
    networks: Networks,
    known: Images,
    keep: NDArray[np.bool_],
    index: int,
    candidates: int,
    seed: int,
    temperature: float = 1.0,
) -> Latent:
    """One z1 ``(1, *latent_shape)`` from p(z | kept pixels) of one image.

    Half of the candidates are drawn from the prior, half from the posterior of the image with its unknown pixels at
    zero; each is weighed by the likelihood of the kept pixels, over the mixture that it came from.

    Args:
        known: ``(1, C, H, W)``, zero where nothing is known.
        keep: ``(1, 1, H, W)``, where something is.
        index: of the image, for its noise.
        candidates: at least 2.
        temperature: of the latents, a factor of the priors' standard deviations.
    """
    half = candidates // 2
    eps = latents.prior_noise(networks, seed, [index], half, temperature)
    from_prior = [networks.draw_z1(eps), *eps[1:]]
    q = networks.posteriors(known)
    from_posterior = latents.posterior_draws(networks, q, seed, [index], half)
    z = [np.concatenate(pair) for pair in zip(from_prior, from_posterior, strict=True)]
    log_prob = networks.log_prob(np.repeat(known, 2 * half, axis=0), z[0])
    log_kept = np.where(keep, log_prob, 0.0).reshape(2 * half, -1).sum(axis=1, dtype=np.float64)
    log_prior = latents.log_prior(z, networks.priors(z), temperature)
    log_posterior = latents.log_posterior(z, [level.repeat(2 * half) for level in q])
    log_weights = log_kept + log_prior - np.logaddexp(log_prior, log_posterior)
    weights = np.cumsum(np.exp(log_weights - log_weights.max()))
    u = noise.uniforms(seed, [index], noise.RESAMPLING, 1)[0, 0]
    chosen = min(int(np.searchsorted(weights, u * weights[-1], side="right")), 2 * half - 1)
    return z[0][chosen : chosen + 1]
