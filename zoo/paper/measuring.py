"""Training a study and measuring it on the test set."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.data.datasets import ImageSet, load_split
from pvae_zoo.data.image_store import Split
from pvae_zoo.export.bundle import model_of
from pvae_zoo.models.pixelvae import PixelVAE
from pvae_zoo.paper.probe import Digits, probe_accuracy
from pvae_zoo.paper.results import StudyResult
from pvae_zoo.paper.studies import Budget, Study, study_recipe
from pvae_zoo.paper.training import Workshop
from pvae_zoo.reporting.codecs import random_subset
from pvae_zoo.training.schedule import latent_noise, step_generator

_BATCH = 100
_SEED = 0


@dataclass(frozen=True)
class Laboratory:
    """Where studies are trained, and how.

    Attributes:
        data: folder of the static binarised MNIST.
        digits: labelled images for the probe; None to leave it out.
        workshop: trains the models.
    """

    data: Path
    digits: Digits | None
    workshop: Workshop

    def result(self, study: Study, budget: Budget) -> StudyResult:
        """Train a study, or finish its training, and measure it."""
        recipe, folder = study_recipe(study, budget), f"{budget.name}/{study.name}"
        checkpoint = self.workshop.trained(recipe, folder, lambda split: self._split(split, budget))
        model = model_of(checkpoint).to(self._device)
        test = self._split("test", budget)
        every = np.arange(len(test))
        parts = bound(model, test, every, self._device)
        nll = -(parts[0] - sum(parts[1:]))
        weighted = random_subset(len(test), budget.weighted_images) if parts[1:] else None
        probe = self.digits if parts[1:] else None
        progress = checkpoint.progress
        return StudyResult(
            kind=study.kind,
            layers=study.layers,
            times=study.times,
            parameters=sum(p.numel() for p in model.parameters()),
            steps=progress.step,
            images_seen=progress.images,
            minutes=round(progress.seconds / 60, 1),
            hardware=progress.hardware,
            test_images=len(test),
            nll_nats=float(nll.mean()),
            standard_error_nats=float(nll.std(ddof=1) / math.sqrt(len(nll))),
            reconstruction_nats=float(-parts[0].mean()),
            kl_nats=float(np.sum(parts[1:], axis=0).mean()) if parts[1:] else None,
            samples=None if weighted is None else budget.samples,
            weighted_images=None if weighted is None else len(weighted),
            iwae_nll_nats=None if weighted is None else self._weighted(model, test, weighted, budget.samples),
            weighted_nll_nats=None if weighted is None else float(nll[weighted].mean()),
            probe_accuracy=None if probe is None else probe_accuracy(model, probe, budget.probe_images),
            probe_images=None if probe is None else probe.used(budget.probe_images),
        )

    @property
    def _device(self) -> str:
        return self.workshop.device

    def _split(self, split: Split, budget: Budget) -> ImageSet:
        image: ImageShape = study_recipe(Study("pixelcnn", 1), budget).model.image
        images = load_split(self.data, split, image, binarize="threshold")
        if budget.images is None or len(images) <= budget.images:
            return images
        return ImageSet.of(images.read(random_subset(len(images), budget.images), None), image)

    @torch.no_grad()
    def _weighted(self, model: PixelVAE, images: ImageSet, chosen: NDArray[np.int64], samples: int) -> float:
        generator = step_generator(_SEED, 1)

        def draw(count: int) -> list[Tensor]:
            return [eps.to(self._device) for eps in latent_noise(model.architecture, count, generator)]

        bounds = [
            model.iwae(torch.from_numpy(images.read(part, None)).to(self._device), samples, draw, chunk=20)
            for part in np.array_split(chosen, max(1, len(chosen) // 10))
        ]
        return -float(torch.cat(bounds).double().mean())


@torch.no_grad()
def bound(model: PixelVAE, images: ImageSet, chosen: NDArray[np.int64], device: str) -> list[NDArray[np.float64]]:
    """log p(x|z1) and the KL of each level of the chosen images, each ``(N,)`` in nats, from one draw of z an image."""
    generator, parts = step_generator(_SEED, 0), []
    for start in range(0, len(chosen), _BATCH):
        x = torch.from_numpy(images.read(chosen[start : start + _BATCH], None)).to(device)
        elbo = model(x, [eps.to(device) for eps in latent_noise(model.architecture, len(x), generator)])
        parts.append(torch.stack([elbo.log_likelihood, *elbo.kl]).double().cpu().numpy())
    return list(np.concatenate(parts, axis=1))
