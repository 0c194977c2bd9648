"""The bounds on the likelihood of images as arrays: ELBO and importance-weighted bound.

References:
    [1] PixelVAE (Gulrajani et al., 2017), arXiv 1611.05013, eq. (1) and (2)
    [2] Importance Weighted Autoencoders (Burda et al., 2016), arXiv 1509.00519, eq. (8)
"""

from __future__ import annotations

import math

import numpy as np

from pvae_zoo.runtime import latents
from pvae_zoo.runtime.networks import Images, Networks
from pvae_zoo.runtime.noise import content_key
from pvae_zoo.runtime.scoring import Scores, log_mean_exp, merge_scores
from pvae_zoo.runtime.side_by_side import Check, side_by_side


def score(networks: Networks, images: Images, *, samples: int, seed: int, workers: int = 1) -> Scores:
    """Score images uint8 ``(N, C, H, W)`` with ``samples`` draws of the latents each.

    The noise of an image is keyed by its content. Up to ``workers`` pieces are scored side by side; ``networks`` of one
    thread give the same bits however the images are cut. An interrupt ends all of them before their next batch of
    draws.
    """
    rows = max(1, min(networks.score_batch // samples, math.ceil(len(images) / workers)))
    pieces = [images[start : start + rows] for start in range(0, len(images), rows)]

    def one(piece: Images, check: Check) -> Scores:
        return _score(networks, piece, samples=samples, seed=seed, check=check)

    return merge_scores(side_by_side(one, pieces, workers))


def _score(networks: Networks, images: Images, *, samples: int, seed: int, check: Check) -> Scores:
    """The KL of a level below the top depends on the draw above it: it is the mean over the draws."""
    n, image = len(images), networks.config.image
    check()
    posteriors = networks.posteriors(images)
    keys = [content_key(one) for one in images]
    z = latents.posterior_draws(networks, posteriors, seed, keys, samples, check)
    log_prob = networks.log_prob(np.repeat(images, samples, axis=0), z[0], check)
    # Cast first: NumPy casts while it sums in blocks that do not begin where an image does.
    flat, sums = log_prob.reshape(n * samples, -1), []
    for start in range(0, len(flat), networks.score_batch):
        check()
        sums.append(flat[start : start + networks.score_batch].astype(np.float64).sum(axis=1))
    log_likelihood = np.concatenate(sums)
    priors, q = networks.priors(z, check), [level.repeat(samples) for level in posteriors]
    terms = [level.kl_terms(p) for level, p in zip(q, priors, strict=True)]
    kl = np.stack([level.reshape(n * samples, -1).sum(axis=1) for level in terms], axis=1)
    of_z1 = terms[0].sum(axis=1)  # of a map (N, channels, h, w), by place
    log_weights = log_likelihood + latents.log_prior(z, priors) - latents.log_posterior(z, q)
    return Scores(
        image=image,
        reconstruction_nats=-log_likelihood.reshape(n, samples).mean(axis=1),
        kl_nats=kl.reshape(n, samples, -1).mean(axis=1),
        iwae_nll_nats=-log_mean_exp(log_weights.reshape(n, samples)) if samples > 1 else None,
        log_prob=log_prob.reshape(n, samples, *image.chw).mean(axis=1),
        posteriors=tuple(posteriors),
        kl_places=of_z1.reshape(n, samples, *of_z1.shape[1:]).mean(axis=1) if of_z1.ndim == 3 else None,
    )
