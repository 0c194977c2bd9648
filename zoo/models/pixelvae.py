"""The PixelVAE: encoder, priors and decoder, its evidence lower bound and its importance-weighted bound.

References:
    [1] PixelVAE (Gulrajani et al., 2017), arXiv 1611.05013, section 3, eq. (1) and (2)
    [2] Importance Weighted Autoencoders (Burda et al., 2016), arXiv 1509.00519, eq. (8)

In code ``elbo`` is the lower bound, in nats, larger is better; reports print its negative.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pvae_zoo.contract.architecture import Architecture
from pvae_zoo.models.decoder import Decoder
from pvae_zoo.models.encoder import Encoder
from pvae_zoo.models.gaussian import DiagonalGaussian
from pvae_zoo.models.likelihood import pixel_log_prob
from pvae_zoo.models.pixelcnn import scale_values
from pvae_zoo.models.prior import MapPrior, StandardNormalPrior


@dataclass(frozen=True)
class Elbo:
    """The parts of the bound for one draw of the latents, in nats.

    Attributes:
        log_likelihood: log p(x|z1), ``(B,)``, summed over the image.
        kl: KL(q(z_l|x) || p(z_l|z_(l+1))) of each level, bottom first, each ``(B,)``.
    """

    log_likelihood: Tensor
    kl: tuple[Tensor, ...]

    @property
    def value(self) -> Tensor:
        """log p(x|z1) - sum of the KLs, ``(B,)``; log p(x) itself of a model without latents."""
        return self.log_likelihood - sum(self.kl)


@dataclass(frozen=True)
class LatentTerms:
    """What the bound needs of everything above the pixels, for one draw of the latents.

    Attributes:
        latents: the draws, bottom first, each ``(B, *latent_shape)``.
        kl: as in `Elbo`.
        contexts: what each p(z_l|z_(l+1)) made of the level above it, bottom first; N(0, I) has none.
    """

    latents: tuple[Tensor, ...]
    kl: tuple[Tensor, ...]
    contexts: tuple[Tensor, ...]


class PixelVAE(nn.Module):
    """A PixelVAE: latent levels and their priors are listed from z1, next to the pixels, upwards.

    A model without latents is a PixelCNN: it has no encoder and no prior, and its bound is its log-likelihood.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.encoder = None if architecture.encoder is None else Encoder(architecture, architecture.encoder)
        below = [] if architecture.prior is None else [MapPrior(architecture, architecture.prior)]
        self.priors = nn.ModuleList([*below, StandardNormalPrior()] if architecture.latents else [])
        self.decoder = Decoder(architecture)

    def posteriors(self, x: Tensor) -> list[DiagonalGaussian]:
        """q(z_l|x) of every level for integers ``x`` ``(B, C, H, W)`` in ``0 .. levels - 1``."""
        if self.encoder is None:
            return []
        posteriors: list[DiagonalGaussian] = self.encoder(scale_values(x, self.architecture.image))
        return posteriors

    def prior_of(self, latents: Sequence[Tensor]) -> list[DiagonalGaussian]:
        """p(z_l|z_(l+1)) of every level at the given latents."""
        return [prior(z, up) for prior, z, up in zip(self.priors, latents, _above(latents), strict=True)]

    def log_likelihood(self, x: Tensor, z1: Tensor) -> Tensor:
        """log p(x|z1) in nats, ``(B,)``."""
        return self.log_likelihood_given(x, self.decoder.context(z1))

    def log_likelihood_given(self, x: Tensor, context: Tensor) -> Tensor:
        """log p(x|z1) in nats, ``(B,)``, from what ``decoder.context`` made of z1."""
        logits = self.decoder.pixelcnn(x, context)
        return pixel_log_prob(logits, x, self.architecture.image).flatten(1).sum(1)

    def latent_terms(self, x: Tensor, noise: Sequence[Tensor]) -> LatentTerms:
        """Everything of the bound but the pixels; arguments as those of `forward`."""
        posteriors = self.posteriors(x)
        latents = [q.rsample(eps) for q, eps in zip(posteriors, noise, strict=True)]
        kl, contexts = [], []
        for prior, q, z, up in zip(self.priors, posteriors, latents, _above(latents), strict=True):
            if isinstance(prior, MapPrior) and up is not None:
                contexts.append(prior.context(up))
                kl.append(q.kl(prior.given(z, contexts[-1])))
            else:
                kl.append(q.kl(prior(z, up)))
        return LatentTerms(tuple(latents), tuple(kl), tuple(contexts))

    def forward(self, x: Tensor, noise: Sequence[Tensor]) -> Elbo:
        """The evidence lower bound of integers ``x`` ([1] eq. (1), (2)), one reparameterised draw of each level.

        Args:
            x: ``(B, C, H, W)`` in ``0 .. levels - 1``.
            noise: standard normal draws, one ``(B, *latent_shape)`` for each level, bottom first.
        """
        terms = self.latent_terms(x, noise)
        return Elbo(self.log_likelihood(x, bottom(terms.latents, x)), terms.kl)

    def iwae(self, x: Tensor, samples: int, draw: Callable[[int], Sequence[Tensor]], *, chunk: int = 10) -> Tensor:
        """The importance-weighted bound ([2] eq. (8)), ``(B,)`` in nats; it grows towards log p(x) with ``samples``.

        Args:
            x: ``(B, C, H, W)`` integers.
            samples: number K of importance samples.
            draw: gives standard normal noise for that many images, one ``(n, *latent_shape)`` for each level.
            chunk: importance samples computed at once.
        """
        posteriors = self.posteriors(x)
        log_weights = []
        for start in range(0, samples, chunk):
            k = min(chunk, samples - start)
            noise = draw(k * len(x))
            tiled = [
                DiagonalGaussian(q.mean.repeat_interleave(k, 0), q.log_std.repeat_interleave(k, 0)) for q in posteriors
            ]
            latents = [q.rsample(eps) for q, eps in zip(tiled, noise, strict=True)]
            tiled_x = x.repeat_interleave(k, 0)
            log_weight = self.log_likelihood(tiled_x, bottom(latents, tiled_x))
            for z, q, p in zip(latents, tiled, self.prior_of(latents), strict=True):
                log_weight = log_weight + p.log_prob(z) - q.log_prob(z)
            log_weights.append(log_weight.view(len(x), k))
        return torch.cat(log_weights, dim=1).logsumexp(1) - math.log(samples)


def _above(latents: Sequence[Tensor]) -> list[Tensor | None]:
    """What is above each level; nothing above the top."""
    return [*latents[1:], *([None] if latents else [])]


def bottom(latents: Sequence[Tensor], x: Tensor) -> Tensor:
    """z1, or nothing for each image, ``(B, 0)``."""
    return latents[0] if latents else torch.empty(len(x), 0, device=x.device)
