"""The bounds on the likelihood of images as arrays: ELBO and importance-weighted bound.

References:
    [1] PixelVAE (Gulrajani et al., 2017), arXiv 1611.05013, eq. (1) and (2)
    [2] Importance Weighted Autoencoders (Burda et al., 2016), arXiv 1509.00519, eq. (8)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.runtime import latents
from pvae_zoo.runtime.networks import Images, Latent, Networks
from pvae_zoo.runtime.noise import content_key
from pvae_zoo.runtime.scoring import Array, Evaluated, Scores, log_mean_exp, merge_scores
from pvae_zoo.runtime.sessions import CPU
from pvae_zoo.runtime.side_by_side import Check, side_by_side

Evaluate = Callable[[Images, Sequence[Latent], int, Check], Evaluated]
"""From images ``(N, C, H, W)``, noise of each level ``(N * K, *latent_shape)`` and K to all that a bound needs."""

IN_TURN = 2
"""Batches in hand on a GPU: it works at one while the noise of the next is made and the figures of the last."""

SUMMED_AT_ONCE = 256
"""Draws whose values are summed between two looks at whether the work is still wanted."""


def score(networks: Networks, images: Images, *, samples: int, seed: int, workers: int = 1) -> Scores:
    """Score images uint8 ``(N, C, H, W)`` with ``samples`` draws of the latents each.

    The noise of an image is keyed by its content. On a CPU up to ``workers`` pieces are scored side by side, graph by
    graph; ``networks`` of one thread give the same bits however the images are cut. On CUDA one graph does it all
    (`pvae_zoo.runtime.device_scoring`), and the figures of an image depend on the images beside it by rounding alone.
    An interrupt ends all of them before their next batch of draws.
    """
    if networks.provider == CPU:
        rows = min(networks.score_batch // samples, math.ceil(len(images) / workers))
        evaluate: Evaluate = partial(graph_by_graph, networks)
    else:
        scorer, workers = networks.device_scorer, IN_TURN
        rows, evaluate = scorer.images_at_once(len(images), samples), scorer.evaluate
    return score_pieces(networks, images, evaluate, max(1, rows), samples=samples, seed=seed, workers=workers)


def score_pieces(
    networks: Networks, images: Images, evaluate: Evaluate, rows: int, *, samples: int, seed: int, workers: int
) -> Scores:
    """Score ``rows`` images at once, by what ``evaluate`` makes of them."""
    pieces = [images[start : start + rows] for start in range(0, len(images), rows)]

    def one(piece: Images, check: Check) -> Scores:
        check()
        keys = [content_key(image) for image in piece]
        noise = latents.posterior_noise(networks, seed, keys, samples, check)
        return bounds(evaluate(piece, noise, samples, check), networks.config.image, samples, check)

    return merge_scores(side_by_side(one, pieces, workers))


def graph_by_graph(
    networks: Networks, images: Images, noise: Sequence[Latent], samples: int, check: Check
) -> Evaluated:
    """What a bundle's graphs make of images, one after the other, each in the batches that suit it."""
    posteriors = networks.posteriors(images)
    z = latents.draws_from(posteriors, noise, samples)
    log_prob = networks.log_prob(np.repeat(images, samples, axis=0), z[0], check)
    return Evaluated(posteriors, z, networks.priors(z, check), log_prob)


def bounds(found: Evaluated, image: ImageShape, samples: int, check: Check = lambda: None) -> Scores:
    """The figures of N images from what the graphs give of ``samples`` draws each, in float64.

    The KL of a level below the top depends on the draw above it: it is the mean over the draws.
    """
    n, log_likelihood = len(found.posteriors[0]), _sums(found, check)
    q = [level.repeat(samples) for level in found.posteriors]
    terms = [level.kl_terms(p) for level, p in zip(q, found.priors, strict=True)]
    kl = np.stack([level.reshape(n * samples, -1).sum(axis=1) for level in terms], axis=1)
    of_z1 = terms[0].sum(axis=1)  # of a map (N, channels, h, w), by place
    log_weights = log_likelihood + latents.log_prior(found.z, found.priors) - latents.log_posterior(found.z, q)
    return Scores(
        image=image,
        reconstruction_nats=-log_likelihood.reshape(n, samples).mean(axis=1),
        kl_nats=kl.reshape(n, samples, -1).mean(axis=1),
        iwae_nll_nats=-log_mean_exp(log_weights.reshape(n, samples)) if samples > 1 else None,
        log_prob=found.log_prob.reshape(n, samples, *image.chw).mean(axis=1),
        posteriors=tuple(found.posteriors),
        kl_places=of_z1.reshape(n, samples, *of_z1.shape[1:]).mean(axis=1) if of_z1.ndim == 3 else None,
    )


def _sums(found: Evaluated, check: Check) -> Array:
    """log p(x|z1) of each draw, in nats."""
    # Cast first: NumPy casts while it sums in blocks that do not begin where an image does.
    flat, sums = found.log_prob.reshape(len(found.log_prob), -1), []
    for start in range(0, len(flat), SUMMED_AT_ONCE):
        check()
        sums.append(flat[start : start + SUMMED_AT_ONCE].astype(np.float64).sum(axis=1))
    return np.concatenate(sums)
