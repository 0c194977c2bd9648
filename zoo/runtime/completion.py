"""Latents of an image of which a part is known, by sampling-importance-resampling.

A z1 that is a vector, or a map without a level above it, has no part that belongs to the known pixels alone: it is
picked from candidates of the whole. With a map of z1 under z2, the places whose pixels are known take their posterior
and the prior p(z1|z2), autoregressive over the places, draws the others given those.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.runtime import latents, noise
from pvae_zoo.runtime.filling import fill
from pvae_zoo.runtime.grid import Progress
from pvae_zoo.runtime.networks import Images, Latent, Networks
from pvae_zoo.runtime.scoring import Array, Gaussian
from pvae_zoo.runtime.side_by_side import Check, side_by_side

CANDIDATES = 64
"""Latents weighed for each image where they are drawn whole."""

MAP_CANDIDATES = 4
"""The same where the known places of a map are held: candidates differ in the rest, and a 64x64 image takes long."""


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
    chosen = _picked(log_weights, seed, index)
    return z[0][chosen : chosen + 1]


def completed_z1(
    networks: Networks,
    images: Images,
    keep: NDArray[np.bool_],
    indices: Sequence[int],
    candidates: int,
    seed: int,
    temperature: float = 1.0,
    *,
    workers: int = 1,
    progress: Progress | None = None,
) -> Latent:
    """A map of z1 ``(N, *latent_shape)`` for each image, of a model with two levels, given its kept pixels.

    The unknown pixels are filled (`pvae_zoo.runtime.filling`). Of the posterior of the filled image come z2 and the
    places of z1 whose pixels are all known; where nothing is kept, z2 comes from its prior. The candidates of an image
    share those and draw the other places from p(z1|z2), each given all before it in raster order; one is picked with
    weights p(kept pixels|z1) times the prior of the known places, which is p(z1, kept pixels|z2) over the density that
    the others were drawn with. Pixels are scored beside the filled ones, which is exact where the kept ones are first
    in raster order.

    Args:
        images: uint8 ``(N, C, H, W)``; unknown values have no influence.
        keep: ``(N, 1, H, W)``, where they are known.
        indices: of the images, for their noise.
        candidates: at least 1.
        temperature: of the latents, a factor of the priors' standard deviations.
        workers: images scored side by side.
        progress: of the draws of z1.
    """
    single, n = networks.single_threaded, len(images)
    filled, q = _posteriors(single, images, keep)
    z1, z2 = latents.posterior_draws(networks, q, seed, indices)
    free = latents.prior_noise(networks, seed, indices, candidates, temperature)[0]
    nothing = ~keep.any(axis=(1, 2, 3))
    z2[nothing] = latents.prior_noise(networks, seed, indices, temperature=temperature)[1][nothing]
    held = np.broadcast_to(known_places(keep, z1.shape[2:]), z1.shape)
    known, above, held = (np.repeat(each, candidates, axis=0) for each in (np.where(held, z1, np.nan), z2, held))
    drawn = networks.draw_z1([free, above], progress, known)
    if candidates == 1:
        return drawn

    def log_weights(chosen: slice, check: Check) -> Array:
        rows = slice(chosen.start * candidates, chosen.stop * candidates)
        log_prob = single.log_prob(np.repeat(filled[chosen], candidates, axis=0), drawn[rows], check)
        log_kept = np.where(np.repeat(keep[chosen], candidates, axis=0), log_prob, 0.0)
        prior = single.priors([drawn[rows], above[rows]], check)[0]
        assert prior is not None  # two levels
        log_held = prior.widened(temperature).log_prob(drawn[rows], held[rows])
        total: Array = log_kept.reshape(len(log_kept), -1).sum(axis=1, dtype=np.float64) + log_held
        return total.reshape(-1, candidates)

    at_once = max(1, min(single.score_batch // candidates, -(-n // workers)))
    parts = [slice(start, min(start + at_once, n)) for start in range(0, n, at_once)]
    weighed = np.concatenate(side_by_side(log_weights, parts, workers))
    picked = [_picked(row, seed, index) for row, index in zip(weighed, indices, strict=True)]
    chosen: Latent = drawn[np.arange(n) * candidates + picked]
    return chosen


def known_places(keep: NDArray[np.bool_], shape: Sequence[int]) -> NDArray[np.bool_]:
    """The places ``(N, 1, *shape)`` of a map all of whose pixels are kept, of ``(N, 1, H, W)``.

    A map has a side of ceil(H / 2^s) for its stage s; a cell that reaches over the border has the pixels within.
    """
    cells = [_cell(side, places) for side, places in zip(keep.shape[2:], shape, strict=True)]
    missing = [cell * places - side for cell, places, side in zip(cells, shape, keep.shape[2:], strict=True)]
    padded = np.pad(keep, ((0, 0), (0, 0), (0, missing[0]), (0, missing[1])), constant_values=True)
    by_cell = padded.reshape(len(keep), 1, shape[0], cells[0], shape[1], cells[1])
    return np.asarray(by_cell.all(axis=(3, 5)))


def _cell(side: int, places: int) -> int:
    """Pixels a place, a power of two."""
    cell = 1
    while places * cell < side:
        cell *= 2
    return cell


def _posteriors(networks: Networks, images: Images, keep: NDArray[np.bool_]) -> tuple[Images, list[Gaussian]]:
    """Filled images and their posteriors; copies of an image with the same mask are computed once."""
    known = np.where(keep, images, 0)
    content = np.concatenate([known.reshape(len(images), -1), keep.reshape(len(images), -1)], axis=1)
    _, first, copies = np.unique(content, axis=0, return_index=True, return_inverse=True)
    copies = copies.reshape(-1)
    filled = fill(images[first], keep[first], networks.config.image.levels)
    return filled[copies], [Gaussian(q.mean[copies], q.log_std[copies]) for q in networks.posteriors(filled)]


def _picked(log_weights: Array, seed: int, index: int) -> int:
    """A position with probabilities in proportion to exp(log_weights), by the uniform of image ``index``."""
    weights = np.cumsum(np.exp(log_weights - log_weights.max()))
    u = noise.uniforms(seed, [index], noise.RESAMPLING, 1)[0, 0]
    return min(int(np.searchsorted(weights, u * weights[-1], side="right")), len(weights) - 1)
