"""What is measured of an image by itself, before it is compared with any other.

References:
    [1] Input complexity and out-of-distribution detection with likelihood-based generative models (Serra et al., 2020),
        ICLR, arXiv 1909.11480: a likelihood means something beside what a codec needs for the same pixels
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.data.codecs import webp_bits
from pvae_zoo.runtime.model import Model
from pvae_zoo.runtime.networks import Images, Latent
from pvae_zoo.runtime.pictures import to_picture

Array = NDArray[np.float64]

SEED = 0
"""Of the one draw of the latents that an image is scored with: always the same, so that its scores are its own."""


@dataclass(frozen=True)
class Evidence:
    """Of N images; L levels of latents.

    Attributes:
        reconstruction_nats: -log p(x|z1), ``(N,)``.
        kl_nats: KL of each level, bottom first, ``(N, L)``.
        codec_nats: what lossless WebP needs for the same pixels ([1]), ``(N,)``.
        surprise_nats: -log p of every pixel, its channels together, ``(N, H, W)``.
        place_nats: where z1 is a map, the KL of each of its places, ``(N, h, w)``; of other models none, ``(N, 0, 0)``.
        pooled: of each level, bottom first, the means of q(z|x), ``(N, D)``; of a map, their mean over its places.
    """

    reconstruction_nats: Array
    kl_nats: Array
    codec_nats: Array
    surprise_nats: NDArray[np.float32]
    place_nats: Array
    pooled: tuple[Array, ...]

    def __len__(self) -> int:
        return len(self.reconstruction_nats)

    @property
    def bound_nats(self) -> Array:
        """-ELBO, ``(N,)``."""
        total: Array = self.reconstruction_nats + self.kl_nats.sum(axis=1)
        return total

    @property
    def surprise_bits(self) -> NDArray[np.float32]:
        """What each pixel cost, ``(N, H, W)``: the map."""
        return self.surprise_nats / np.float32(np.log(2.0))


def measure(model: Model, images: Images) -> Evidence:
    """Measure images uint8 ``(N, C, H, W)``: one pass of `Model.nll`, and a codec beside it."""
    scores = model.nll(images, seed=SEED)
    bits = [webp_bits(to_picture(image, model.image.levels)) for image in images]
    return Evidence(
        reconstruction_nats=scores.reconstruction_nats,
        kl_nats=scores.kl_nats,
        codec_nats=np.array(bits) * np.log(2.0),
        surprise_nats=-scores.log_prob.sum(axis=1),
        place_nats=np.zeros((len(images), 0, 0)) if scores.kl_places is None else scores.kl_places,
        pooled=tuple(_pooled(posterior.mean) for posterior in scores.posteriors),
    )


def joined(parts: Sequence[Evidence]) -> Evidence:
    """One `Evidence` of several batches of the same model."""
    return Evidence(
        reconstruction_nats=np.concatenate([part.reconstruction_nats for part in parts]),
        kl_nats=np.concatenate([part.kl_nats for part in parts]),
        codec_nats=np.concatenate([part.codec_nats for part in parts]),
        surprise_nats=np.concatenate([part.surprise_nats for part in parts]),
        place_nats=np.concatenate([part.place_nats for part in parts]),
        pooled=tuple(np.concatenate(level) for level in zip(*(part.pooled for part in parts), strict=True)),
    )


def _pooled(means: Latent) -> Array:
    pooled: Array = means.astype(np.float64).reshape(*means.shape[:2], -1).mean(axis=2)
    return pooled
