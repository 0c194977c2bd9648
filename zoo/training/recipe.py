"""Recipes: one TOML file says everything about a model and its training."""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import dacite

from pvae_zoo.errors import PvaeZooError
from pvae_zoo.models.architecture import Architecture, ArchitectureError
from pvae_zoo.training.augmentation import NO_AUGMENTATION, Augmentation


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How a model is trained.

    Attributes:
        seed: of the initial weights, the order of the images and all noise.
        batch_size: images a step and process.
        steps: optimiser steps in all.
        learning_rate: peak of the schedule: linear warm-up, constant, linear cool-down to zero.
        warmup_steps: length of the warm-up.
        cooldown_steps: length of the cool-down at the end.
        kl_warmup_steps: for each level, bottom first: steps over which the weight of its KL grows from 0 to 1
            (PixelVAE, section 4.1).
        free_nats: for each level: nats an image that its KL may have without its posterior being charged, so that a
            decoder has time to find a use for z (Kingma et al., 2016, arXiv 1606.04934, appendix C.8); 0 where it is
            left out.
        encoder_rate: learning rate of the encoder and of p(z1|z2), as a share of the others'. At 2.2e-3, which a masked
            network of 64x64 images likes, the encoder's features grew a thousandfold within a thousand steps and died.
        weight_decay: decoupled, on weights but not on biases.
        clip_norm: gradients of -ELBO (nats an image) are scaled down to this global norm.
        ema_decay: of the exponential moving average of the weights; the average is what is validated and exported.
        validate_every: steps between validations.
    """

    seed: int
    batch_size: int
    steps: int
    learning_rate: float
    warmup_steps: int
    cooldown_steps: int
    kl_warmup_steps: tuple[int, ...]
    weight_decay: float
    clip_norm: float
    ema_decay: float
    validate_every: int
    free_nats: tuple[float, ...] = ()
    encoder_rate: float = 1.0

    def __post_init__(self) -> None:
        for name in ("batch_size", "steps", "learning_rate", "encoder_rate", "clip_norm", "validate_every"):
            if getattr(self, name) <= 0:
                raise ArchitectureError(f"training.{name}={getattr(self, name)} must be positive")
        if not 0 <= self.ema_decay < 1:
            raise ArchitectureError(f"training.ema_decay={self.ema_decay} must be at least 0 and below 1")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A model, its data and its training.

    Attributes:
        name: of the model in the zoo.
        title: one line for people.
        dataset: what it was trained on, for the card.
        data: what training does to the images.
        binarize: what to do with grey images when the model is binary: refuse, or white from 128 on.
        model: the architecture.
        training: the schedule.
    """

    name: str
    title: str
    dataset: str
    model: Architecture
    training: TrainingConfig
    data: Augmentation = NO_AUGMENTATION
    binarize: Literal["refuse", "threshold"] = "refuse"

    def __post_init__(self) -> None:
        if len(self.training.kl_warmup_steps) != len(self.model.latents):
            raise ArchitectureError(
                f"training.kl_warmup_steps={list(self.training.kl_warmup_steps)} must have one entry for each of the "
                f"{len(self.model.latents)} levels of latents"
            )
        if len(self.training.free_nats) not in (0, len(self.model.latents)):
            raise ArchitectureError(
                f"training.free_nats={list(self.training.free_nats)} must have one entry for each of the "
                f"{len(self.model.latents)} levels of latents, or none"
            )

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def parse_recipe(data: dict[str, Any], where: str) -> Recipe:
    """A recipe from parsed TOML or JSON.

    Raises:
        PvaeZooError: for an unknown, missing or impossible key; the message names it and ``where`` it stands.
    """
    try:
        return dacite.from_dict(Recipe, _with_tuples(data), dacite.Config(strict=True))
    except (dacite.DaciteError, ArchitectureError, TypeError) as error:
        raise PvaeZooError(f"{where}: {error}") from error


def _with_tuples(value: Any) -> Any:
    """The arrays of TOML and JSON as tuples, at any depth."""
    if isinstance(value, dict):
        return {key: _with_tuples(item) for key, item in value.items()}
    return tuple(_with_tuples(item) for item in value) if isinstance(value, list | tuple) else value


def recipe_names() -> list[str]:
    """Recipes that ship with the package."""
    folder = resources.files("pvae_zoo.training") / "recipes"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_recipe(name_or_path: str) -> Recipe:
    """A shipped recipe by name, or a TOML file by path.

    Raises:
        PvaeZooError: if there is no such recipe (with the nearest name) or it is not valid.
    """
    path = Path(name_or_path)
    if name_or_path in recipe_names():
        content = (resources.files("pvae_zoo.training") / "recipes" / f"{name_or_path}.toml").read_bytes()
    elif path.suffix == ".toml" and path.is_file():
        content = path.read_bytes()
    else:
        near = difflib.get_close_matches(name_or_path, recipe_names(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known recipes: {', '.join(recipe_names())}"
        raise PvaeZooError(f"no recipe {name_or_path!r}: {hint} (or give the path of a .toml file)")
    try:
        return parse_recipe(tomllib.loads(content.decode()), f"recipe {name_or_path}")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PvaeZooError(f"recipe {name_or_path} is not valid TOML: {error}") from error
