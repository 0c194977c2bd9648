"""The bounds on the likelihood of images as arrays: ELBO and importance-weighted bound.

References:
    [1] PixelVAE (Gulrajani et al., 2017), arXiv 1611.05013, eq. (1) and (2)
    [2] Importance Weighted Autoencoders (Burda et al., 2016), arXiv 1509.00519, eq. (8)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pvae_zoo.runtime import latents
from pvae_zoo.runtime.networks import Images, Networks
from pvae_zoo.runtime.scoring import Scores, log_mean_exp


def score(networks: Networks, images: Images, indices: Sequence[int], samples: int, seed: int) -> Scores:
    """Score images uint8 ``(N, C, H, W)`` with ``samples`` draws of the latents each.

    The KL of a level below the top depends on the draw above it: it is the mean over the draws.
    """
    n, image = len(images), networks.config.image
    posteriors = networks.posteriors(images)
    z = latents.posterior_draws(networks, posteriors, seed, indices, samples)
    log_prob = networks.log_prob(np.repeat(images, samples, axis=0), z[0])
    log_likelihood = log_prob.reshape(n * samples, -1).sum(axis=1, dtype=np.float64)
    priors, q = networks.priors(z), [level.repeat(samples) for level in posteriors]
    kl = np.stack([level.kl(p) for level, p in zip(q, priors, strict=True)], axis=1)
    log_weights = log_likelihood + latents.log_prior(z, priors) - latents.log_posterior(z, q)
    return Scores(
        image=image,
        reconstruction_nats=-log_likelihood.reshape(n, samples).mean(axis=1),
        kl_nats=kl.reshape(n, samples, -1).mean(axis=1),
        iwae_nll_nats=-log_mean_exp(log_weights.reshape(n, samples)) if samples > 1 else None,
        log_prob=log_prob.reshape(n, samples, *image.chw).mean(axis=1),
    )
