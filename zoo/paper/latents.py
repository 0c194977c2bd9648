"""Do the latents earn their nats? The decoder of the zoo's 64x64 models with latents and without, trained for the same
images from random weights.

The paper claims it on binary digits (figure 3); this asks it of 64x64 photos. Both models have the same PixelCNN, see
the same views of the same images in the same order, and have the schedule of the recipe `imagenet64`, its lengths
scaled to the steps there are. With latents come encoder, p(z1|z2) and the network above z1, and training's aids.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from pvae_zoo.contract.architecture import Architecture, PixelCNNConfig
from pvae_zoo.data.datasets import ImageSet, load_split
from pvae_zoo.data.image_store import Split
from pvae_zoo.export.bundle import model_of
from pvae_zoo.models.pixelvae import PixelVAE
from pvae_zoo.paper.results import LatentsResult
from pvae_zoo.paper.training import Workshop
from pvae_zoo.reporting.codecs import random_subset
from pvae_zoo.runtime.scoring import bits_per_dim
from pvae_zoo.training.recipe import Recipe, TrainingConfig, load_recipe
from pvae_zoo.training.schedule import latent_noise, step_generator

RECIPE = "imagenet64"
_BATCH = 10
_PER_LEVEL = ("kl_warmup_steps", "thumbnails")


@dataclass(frozen=True, kw_only=True)
class LatentsBudget:
    """What the study may cost.

    Attributes:
        name: "full" or "quick"; results of one are never shown as the other's.
        images: training images of a pair of models, for each pair.
        batch_size: images a step.
        valid_images: validation images that are measured, at most; a random subset.
        small: shrink the networks to nothing, to try the chain.
    """

    name: Literal["full", "quick"]
    images: tuple[int, ...]
    batch_size: int
    valid_images: int
    small: bool = False


FULL_LATENTS = LatentsBudget(name="full", images=(3_000, 12_000), batch_size=16, valid_images=400)
QUICK_LATENTS = LatentsBudget(name="quick", images=(2, 4), batch_size=2, valid_images=3, small=True)


@dataclass(frozen=True)
class LatentsStudy:
    """One model of the comparison: with latents or without, trained for so many images (rounded up to whole steps)."""

    latents: bool
    images: int

    @property
    def name(self) -> str:
        return f"latents-{'with' if self.latents else 'without'}-{self.images}"


def latents_studies(budget: LatentsBudget) -> list[LatentsStudy]:
    """All models, the small budgets first."""
    return [LatentsStudy(latents, images) for images in sorted(budget.images) for latents in (False, True)]


def latents_recipe(study: LatentsStudy, budget: LatentsBudget) -> Recipe:
    """The recipe of a model: that of `RECIPE` for as many steps, with the latents or without."""
    recipe = load_recipe(RECIPE)
    recipe = replace(recipe, model=_small(recipe.model)) if budget.small else recipe
    recipe = replace(recipe, data=replace(recipe.data, crop="random"))  # photos of any size from 64x64 on
    training = _scaled(recipe.training, math.ceil(study.images / budget.batch_size), budget.batch_size)
    if study.latents:
        return replace(recipe, name=study.name, training=training)
    none: dict[str, Any] = dict.fromkeys(_PER_LEVEL, ())
    return replace(recipe, name=study.name, model=without_latents(recipe.model), training=replace(training, **none))


def without_latents(model: Architecture) -> Architecture:
    """The same PixelCNN alone."""
    decoder = replace(model.decoder, conditioning="none", widths=())
    return replace(model, latents=(), encoder=None, prior=None, decoder=decoder)


def _scaled(training: TrainingConfig, steps: int, batch_size: int) -> TrainingConfig:
    """A schedule of another number of steps, validated once, at its end."""

    def share(length: int) -> int:
        return length * steps // training.steps

    return replace(
        training, steps=steps, batch_size=batch_size, validate_every=steps,
        warmup_steps=min(training.warmup_steps, steps // 10), cooldown_steps=max(1, share(training.cooldown_steps)),
        kl_warmup_steps=tuple(map(share, training.kl_warmup_steps)),
    )  # fmt: skip


def _small(model: Architecture) -> Architecture:
    """The same architecture with next to no channels."""

    def thin(pixelcnn: PixelCNNConfig) -> PixelCNNConfig:
        return replace(pixelcnn, channels=6, head=6, layers=1, embedding=min(1, pixelcnn.embedding))

    assert model.encoder is not None and model.prior is not None
    decoder, prior = model.decoder, model.prior
    return replace(
        model,
        encoder=replace(model.encoder, stem=4, widths=(4,) * len(model.encoder.widths)),
        decoder=replace(decoder, widths=(6,) * len(decoder.widths), pixelcnn=thin(decoder.pixelcnn)),
        prior=replace(prior, widths=(6,) * len(prior.widths), pixelcnn=thin(prior.pixelcnn)),
    )


def latents_result(study: LatentsStudy, budget: LatentsBudget, workshop: Workshop, data: Path) -> LatentsResult:
    """Train a model, or finish its training, and measure it on validation images.

    Args:
        data: photos of at least 64x64, with "train" and "valid".

    Raises:
        PvaeZooError: if the data are missing, damaged or too small, or a run of another recipe is in the way.
    """
    recipe = latents_recipe(study, budget)

    def split(which: Split) -> ImageSet:
        return load_split(data, which, recipe.model.image, augmentation=recipe.data)

    def for_training(which: Split) -> ImageSet:
        """All images to learn from; few to validate on, which decides nothing."""
        images = split(which)
        if which == "train":
            return images.held()
        return ImageSet.of(images.read(random_subset(len(images), 2 * _BATCH), None), recipe.model.image)

    checkpoint = workshop.trained(recipe, f"{budget.name}/{study.name}", for_training)
    model, images, progress = model_of(checkpoint).to(workshop.device), split("valid"), checkpoint.progress
    chosen = random_subset(len(images), budget.valid_images)
    nll, kl, others = measured_latents(model, ImageSet.of(images.read(chosen, None), recipe.model.image))

    def bits(nats: float) -> float:
        return float(bits_per_dim(nats, recipe.model.image))

    return LatentsResult(
        latents=study.latents, images=study.images, dataset=data.resolve().name, steps=progress.step,
        batch_size=recipe.training.batch_size, images_seen=progress.images, minutes=round(progress.seconds / 60, 1),
        hardware=progress.hardware, parameters=sum(p.numel() for p in model.parameters()), valid_images=len(nll),
        bits_per_dim=bits(float(nll.mean())),
        standard_error=bits(float(nll.std(ddof=1)) / math.sqrt(len(nll))) if len(nll) > 1 else 0.0,
        kl_nats=tuple(kl), others_bits_per_dim=None if others is None else bits(float(others.mean())),
    )  # fmt: skip


@torch.no_grad()
def measured_latents(
    model: PixelVAE, images: ImageSet
) -> tuple[np.ndarray[Any, np.dtype[np.float64]], list[float], np.ndarray[Any, np.dtype[np.float64]] | None]:
    """The bound, and the bound with the latents of another image.

    Returns:
        -ELBO of each image ``(N,)``, exact without latents; the mean KL of each level; and -ELBO ``(N,)`` where each
        image's pixels are scored given z1 of the image before it (of the last for the first), None without latents.
        All in nats, from one draw of z an image, in float32.
    """
    device, generator = next(model.parameters()).device, step_generator(0, 0)
    parts, z1 = [], []
    for x in _batches(images, device):
        noise = [eps.to(device) for eps in latent_noise(model.architecture, len(x), generator)]
        elbo = model(x, noise)
        parts.append(torch.stack([elbo.log_likelihood, *elbo.kl]).double().cpu())
        z1 += [q.rsample(eps) for q, eps in zip(model.posteriors(x)[:1], noise[:1], strict=True)]
    log_likelihood, *kl = torch.cat(parts, dim=1).numpy()
    if not kl:
        return -log_likelihood, [], None
    before = torch.cat(z1).roll(1, dims=0)
    wrong = [
        model.log_likelihood(x, z).double().cpu()
        for x, z in zip(_batches(images, device), before.split(_BATCH), strict=True)
    ]
    cost = np.sum(kl, axis=0)
    return cost - log_likelihood, [float(nats.mean()) for nats in kl], cost - torch.cat(wrong).numpy()


def _batches(images: ImageSet, device: torch.device) -> list[Tensor]:
    everything = torch.from_numpy(images.read(np.arange(len(images)), None))
    return [part.to(device) for part in everything.split(_BATCH)]
