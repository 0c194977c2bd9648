"""What is trained: a PixelVAE with its auxiliary decoders, or of it what learns in the second stage.

In the second stage (``learns = "prior"``) z1 and the pixels stand still: q(z2|x), which is the encoder above z1's
stage and z2's head, and p(z1|z2) are learnt alone. The pixels' networks are not even run, which makes a step ten
times as fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from pvae_zoo.contract.architecture import Architecture
from pvae_zoo.models.pixelvae import PixelVAE, bottom
from pvae_zoo.training.auxiliary import Auxiliary
from pvae_zoo.training.recipe import Recipe, Thumbnail


@dataclass(frozen=True)
class Terms:
    """The parts of the loss for one draw of the latents, each ``(B,)``.

    Attributes:
        log_likelihood: log p(x|z1) in nats; None where the pixels were not run.
        kl: of each level in nats, bottom first.
        errors: squared errors of each level's thumbnails, bottom first; None of a level that was not run.
    """

    log_likelihood: Tensor | None
    kl: tuple[Tensor, ...]
    errors: tuple[Tensor | None, ...]

    def bound(self) -> Tensor:
        """-ELBO in nats, ``(B,)``; without the pixels the sum of the KLs alone."""
        kl = sum(self.kl, torch.zeros(()))
        return kl if self.log_likelihood is None else kl - self.log_likelihood


class Trainee(nn.Module):
    """A model and its auxiliary decoders as one module, to be compiled and distributed together.

    Args:
        architecture: of the model.
        thumbnails: the auxiliary decoders' images, one a level or none.
        learns: "all", or "prior": then the rest holds still and is not in training mode.
    """

    def __init__(
        self, architecture: Architecture, thumbnails: tuple[Thumbnail, ...], learns: Literal["all", "prior"]
    ) -> None:
        super().__init__()
        self.model = PixelVAE(architecture)
        self.auxiliary = Auxiliary(self.model, thumbnails)
        self.learns = learns
        if learns == "prior":
            for name, parameter in self.named_parameters():
                parameter.requires_grad_(name.startswith(upper_names(architecture)))

    @classmethod
    def of(cls, recipe: Recipe) -> Trainee:
        return cls(recipe.model, recipe.training.thumbnails, recipe.training.learns)

    def forward(self, x: Tensor, noise: Sequence[Tensor], pixels: bool | None = None) -> Terms:
        """The parts of the loss of integers ``x`` ``(B, C, H, W)``; each context is computed once.

        Args:
            x: in ``0 .. levels - 1``.
            noise: standard normal draws, one ``(B, *latent_shape)`` for each level, bottom first.
            pixels: whether to run the pixels' networks; by default if they learn.
        """
        model = self.model
        terms = model.latent_terms(x, noise)
        contexts: list[Tensor | None] = [None, *terms.contexts]
        log_likelihood = None
        if self.learns == "all" if pixels is None else pixels:
            context = model.decoder.context(bottom(terms.latents, x))
            contexts[0], log_likelihood = context, model.log_likelihood_given(x, context)
        levels = range(len(self.auxiliary.heads))
        told = ((level, contexts[level]) for level in levels)
        errors = tuple(None if c is None else self.auxiliary.errors(x, level, c) for level, c in told)
        return Terms(log_likelihood, terms.kl, errors)

    def loss(self, terms: Terms, kl_weights: Sequence[float], aid: float) -> Tensor:
        """Mean nats an image: -log-likelihood, each level's KL times its weight, the thumbnails' nats times ``aid``."""
        charged = [weight * kl for weight, kl in zip(kl_weights, terms.kl, strict=True)]
        told = [aid * self.auxiliary.nats(level, e) for level, e in enumerate(terms.errors) if e is not None]
        pixels = [] if terms.log_likelihood is None else [-terms.log_likelihood]
        return torch.stack([*pixels, *charged, *told]).sum(0).mean()

    def train(self, mode: bool = True) -> Trainee:
        """As `torch.nn.Module.train`; what stands still drops nothing out."""
        super().train(mode)
        encoder, z1 = self.model.encoder, self.model.architecture.latents[:1]
        if self.learns == "prior" and encoder is not None:
            for still in (self.model.decoder, encoder.stem, *encoder.stages[: z1[0].stage], encoder.heads[0]):
                still.train(False)
        return self


def upper_names(architecture: Architecture) -> tuple[str, ...]:
    """What the names of all parameters above z1, in a `Trainee`, begin with."""
    return (*lost_names(architecture), "model.priors.0.")


def lost_names(architecture: Architecture) -> tuple[str, ...]:
    """The same without the masked layers of p(z1|z2), which tell z1 from its neighbours however little z2 says."""
    encoder, z1 = architecture.encoder, architecture.latents[0]
    assert encoder is not None
    stages = tuple(f"model.encoder.stages.{number}." for number in range(z1.stage, len(encoder.widths)))
    return (*stages, "model.encoder.heads.1.", "model.priors.0.context.", "auxiliary.heads.1.")
