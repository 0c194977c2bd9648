"""The models of the paper's figures: one network, with and without latents, with more and fewer masked layers.

Reference: PixelVAE (Gulrajani et al., 2017), arXiv 1611.05013, section 4.1, table 1, figures 3 and 4.
Differences: our masked layers are a single stack (see `pvae_zoo.models.masked_conv`), z has 16 dimensions, and the
budget is a CPU's. All models of a figure have the same budget.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pvae_zoo.contract.architecture import (
    Architecture,
    DecoderConfig,
    EncoderConfig,
    ImageShape,
    LatentLevel,
    PixelCNNConfig,
)
from pvae_zoo.training.recipe import Recipe, TrainingConfig

Kind = Literal["pixelvae", "pixelcnn"]

LATENTS = 16


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a study may cost; every model of a figure gets the same.

    Attributes:
        name: "full" or "quick"; results of one are never shown as the other's.
        layers: the numbers of masked layers that are compared.
        steps: optimiser steps of each model.
        batch_size: images a step.
        channels: feature channels of the masked layers.
        images: at most so many images of each split are used; None for all.
        samples: K of the importance-weighted bound.
        weighted_images: images that it is measured on, a random subset.
        probe_images: labelled images that the probe of the latents learns from; it is tested on as many others.
        vae_times: table 1's VAE has no masked layers and trains several times as fast, so there it gets so many times
            the steps; in the figures it has the same as all others.
    """

    name: Literal["full", "quick"]
    layers: tuple[int, ...]
    steps: int
    batch_size: int
    channels: int
    images: int | None
    samples: int
    weighted_images: int
    probe_images: int
    vae_times: int


FULL = Budget(
    name="full", layers=(0, 1, 2, 4, 8, 12), steps=3200, batch_size=64, channels=32, images=None, samples=100,
    weighted_images=250, probe_images=10_000, vae_times=4,
)  # fmt: skip
QUICK = Budget(
    name="quick", layers=(0, 1, 2), steps=8, batch_size=16, channels=8, images=64, samples=4, weighted_images=16,
    probe_images=200, vae_times=2,
)  # fmt: skip


@dataclass(frozen=True)
class Study:
    """One model of a figure.

    Attributes:
        kind: with latents ("pixelvae", with no masked layer a plain VAE) or without ("pixelcnn").
        layers: masked layers, the input layer (mask A) among them.
        times: it is trained so many times the budget's steps.
    """

    kind: Kind
    layers: int
    times: int = 1

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.layers}" + (f"-x{self.times}" if self.times > 1 else "")

    def steps(self, budget: Budget) -> int:
        """Optimiser steps of its training."""
        return budget.steps * self.times


def studies(budget: Budget) -> list[Study]:
    """All models of figures 3 and 4; a PixelCNN without layers is nothing."""
    with_latents = [Study("pixelvae", layers) for layers in budget.layers]
    return with_latents + [Study("pixelcnn", layers) for layers in budget.layers if layers]


def table_studies(budget: Budget) -> list[Study]:
    """The models of table 1, in the order of its rows, without those of the zoo."""
    most = max(budget.layers)
    return [Study("pixelvae", 0, budget.vae_times), Study("pixelcnn", most), Study("pixelvae", most)]


def study_recipe(study: Study, budget: Budget) -> Recipe:
    """The recipe of a study: the same for all but for the latents, the number of masked layers and of steps."""
    image = ImageShape(channels=1, height=28, width=28, levels=2)
    return Recipe(
        name=study.name,
        title=f"{study.kind}, {study.layers} masked layers, static binarised MNIST",
        dataset="Static binarised MNIST (Larochelle & Murray 2011; Salakhutdinov & Murray 2008)",
        model=_with_latents(image, study, budget) if study.kind == "pixelvae" else _without(image, study, budget),
        training=_training(budget, study.steps(budget), levels=1 if study.kind == "pixelvae" else 0),
    )


def _pixelcnn(study: Study, budget: Budget) -> PixelCNNConfig:
    seen = study.layers > 0
    return PixelCNNConfig(
        channels=budget.channels, layers=max(0, study.layers - 1), input_rows=3 if seen else 0, rows=2,
        reach=3 if seen else 0, head=2 * budget.channels, dropout=0.03,
    )  # fmt: skip


def _with_latents(image: ImageShape, study: Study, budget: Budget) -> Architecture:
    narrow, wide = budget.channels, 2 * budget.channels
    return Architecture(
        image=image,
        latents=(LatentLevel(kind="vector", channels=LATENTS, stage=3),),
        encoder=EncoderConfig(stem=narrow, widths=(narrow, wide, wide), dropout=0.03),
        decoder=DecoderConfig(
            conditioning="upsample", widths=(wide, wide, narrow, narrow), pixelcnn=_pixelcnn(study, budget)
        ),
    )


def _without(image: ImageShape, study: Study, budget: Budget) -> Architecture:
    decoder = DecoderConfig(conditioning="none", pixelcnn=_pixelcnn(study, budget))
    return Architecture(image=image, latents=(), decoder=decoder)


def _training(budget: Budget, steps: int, levels: int) -> TrainingConfig:
    return TrainingConfig(
        seed=1, batch_size=budget.batch_size, steps=steps, learning_rate=1.2e-3, warmup_steps=min(300, steps // 4),
        cooldown_steps=steps * 3 // 4, kl_warmup_steps=(steps // 4,) * levels, weight_decay=0.05, clip_norm=30.0,
        ema_decay=0.999, validate_every=max(1, steps // 4),
    )  # fmt: skip
