"""Recipes: one TOML file says everything about a model and its training."""

from __future__ import annotations

import difflib
import math
import tomllib
from dataclasses import asdict, dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import dacite

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.architecture import Architecture, ArchitectureError, stage_sizes
from pvae_zoo.data.augmentation import NO_AUGMENTATION, Augmentation


@dataclass(frozen=True, kw_only=True)
class Thumbnail:
    """What a level of latents must tell by itself while it is trained (see `pvae_zoo.training.auxiliary`).

    Attributes:
        size: rows and columns of the thumbnail; it divides the image and what is made of the level.
        sigma: standard deviation of the Gaussian over its values, which are in -1..1.
    """

    size: int
    sigma: float


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
        encoder_rate: learning rate of the encoder and of p(z1|z2), as a share of the others'. At 2.2e-3, which a masked
            network of 64x64 images likes, the encoder's features grew a thousandfold within a thousand steps and died.
        weight_decay: decoupled, on weights but not on biases.
        clip_norm: gradients of -ELBO (nats an image) are scaled down to this global norm.
        ema_decay: of the exponential moving average of the weights; the average is what is validated and exported.
        validate_every: steps between validations.
        thumbnails: for each level, bottom first: the thumbnail that what is made of it must tell; none to leave the
            aid out.
        learns: "all", or "prior" for the second stage: z1 and the pixels stand still, q(z2|x) and p(z1|z2) are learnt.
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
    encoder_rate: float = 1.0
    thumbnails: tuple[Thumbnail, ...] = ()
    learns: Literal["all", "prior"] = "all"

    def __post_init__(self) -> None:
        for name in ("batch_size", "steps", "learning_rate", "encoder_rate", "clip_norm", "validate_every"):
            _check(name, getattr(self, name), above=0)
        for name in ("warmup_steps", "cooldown_steps", "weight_decay"):
            _check(name, getattr(self, name), least=0)
        for length in self.kl_warmup_steps:
            _check("kl_warmup_steps", length, least=0)
        for thumbnail in self.thumbnails:
            _check("thumbnails.size", thumbnail.size, above=0)
            _check("thumbnails.sigma", thumbnail.sigma, above=0)
        if not 0 <= self.ema_decay < 1:
            raise ArchitectureError(f"training.ema_decay={self.ema_decay} must be at least 0 and below 1")
        if not 0 <= self.seed < 2**63:
            raise ArchitectureError(f"training.seed={self.seed} must be from 0 to 2^63 - 1")


def _check(name: str, value: float, *, above: float | None = None, least: float = -math.inf) -> None:
    """Refuse what is no finite number in its range. Not a number compares with nothing, so it is asked for first."""
    if not math.isfinite(value):
        raise ArchitectureError(f"training.{name}={value} must be finite")
    if above is not None and not value > above:
        raise ArchitectureError(f"training.{name}={value} must be positive")
    if value < least:
        raise ArchitectureError(f"training.{name}={value} must be at least {least:g}")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A model, its data and its training.

    Attributes:
        name: of the model in the zoo.
        title: one line for people.
        dataset: what it was trained on, for the card.
        reading: what was read of it, a line each, for the card.
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
    reading: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.training.kl_warmup_steps) != len(self.model.latents):
            raise ArchitectureError(
                f"training.kl_warmup_steps={list(self.training.kl_warmup_steps)} must have one entry for each of the "
                f"{len(self.model.latents)} levels of latents"
            )
        if self.training.thumbnails:
            _check_thumbnails(self.model, self.training.thumbnails)
        if self.training.learns == "prior" and self.model.prior is None:
            raise ArchitectureError("only the prior can learn where there is one: the model has no p(z1|z2)")

    def as_dict(self) -> dict[str, Any]:
        stated = asdict(self)
        return stated if self.reading else {key: value for key, value in stated.items() if key != "reading"}


def _check_thumbnails(model: Architecture, thumbnails: tuple[Thumbnail, ...]) -> None:
    if len(thumbnails) != len(model.latents):
        raise ArchitectureError(
            f"training.thumbnails must have one entry for each of the {len(model.latents)} levels of latents, "
            f"not {len(thumbnails)}"
        )
    if model.decoder.conditioning != "upsample":
        raise ArchitectureError("training.thumbnails need decoder.conditioning=upsample: gates have no places")
    assert model.encoder is not None
    sizes = stage_sizes(model.image, len(model.encoder.widths))
    # z1 is grown to the image, z2 to the grid of z1.
    contexts = [sizes[0], *(sizes[level.stage] for level in model.latents[:-1])]
    for number, (thumbnail, grown) in enumerate(zip(thumbnails, contexts, strict=True), start=1):
        for what, (height, width) in (("an image", sizes[0]), (f"what is made of z{number},", grown)):
            if height % thumbnail.size or width % thumbnail.size:
                raise ArchitectureError(
                    f"training.thumbnails.size={thumbnail.size} does not divide {what} of {height}x{width}"
                )


def parse_recipe(data: dict[str, Any], where: str) -> Recipe:
    """A recipe from parsed TOML or JSON.

    Raises:
        PvaeZooError: for an unknown, missing or impossible key; the message names it and ``where`` it stands.
    """
    try:
        return dacite.from_dict(Recipe, _with_tuples(data), dacite.Config(strict=True))
    except (dacite.DaciteError, ArchitectureError, TypeError) as error:
        raise PvaeZooError(f"{where}: {error}") from error


def changed(recipe: Recipe, **training: Any) -> Recipe:
    """The recipe with other training options.

    Raises:
        PvaeZooError: for an impossible one; the message names it.
    """
    try:
        return replace(recipe, training=replace(recipe.training, **training))
    except ArchitectureError as error:
        raise PvaeZooError(str(error)) from error


def differences(one: Recipe, other: Recipe) -> list[tuple[str, Any, Any]]:
    """The keys in which two recipes differ, with the value of either; None where it has no such key."""
    left, right = _flat(one.as_dict()), _flat(other.as_dict())
    keys = dict.fromkeys([*left, *right])
    return [(key, left.get(key), right.get(key)) for key in keys if left.get(key) != right.get(key)]


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat |= _flat(item, f"{prefix}{key}.") if isinstance(item, dict) else {f"{prefix}{key}": item}
    return flat


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
    try:
        return parse_recipe(tomllib.loads(recipe_text(name_or_path)), f"recipe {name_or_path}")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PvaeZooError(f"recipe {name_or_path} is not valid TOML: {error}") from error


def recipe_text(name_or_path: str) -> str:
    """The TOML of a recipe, as `load_recipe` finds it."""
    path = Path(name_or_path)
    if name_or_path in recipe_names():
        return (resources.files("pvae_zoo.training") / "recipes" / f"{name_or_path}.toml").read_text("utf-8")
    if path.suffix == ".toml" and path.is_file():
        return path.read_text("utf-8")
    near = difflib.get_close_matches(name_or_path, recipe_names(), n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known recipes: {', '.join(recipe_names())}"
    raise PvaeZooError(f"no recipe {name_or_path!r}: {hint} (or give the path of a .toml file)")
