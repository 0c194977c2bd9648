"""Checkpoints: one safetensors file with everything that a run needs to go on, replaced atomically.

Tensors are named ``model.*`` (the weights being trained), ``ema.*`` (their moving average, which is what a user
gets), ``auxiliary.*`` and ``auxiliary_ema.*`` (the same of the auxiliary decoders, where there are any),
``optimizer.<parameter>.<moment>``, and ``good.*``: all of these as they were in the last good state. Recipe and
progress are JSON in the file's header, so state and description cannot come apart. Nothing is unpickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from pvae_zoo.base.atomic import atomic_write
from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.training.recipe import Recipe, parse_recipe
from pvae_zoo.training.watch import Watch

LATEST = "checkpoint.safetensors"
BEST = "best.safetensors"
NOT_STARTED = "train first, or leave out --resume"

RETIRED = {("training", "free_nats"), ("model", "decoder", "pixelcnn", "input_dropout")}
RETIRED |= {("model", "prior", "pixelcnn", "input_dropout")}
"""Keys of recipes that older checkpoints hold. They changed training, never the model: they are passed over."""


@dataclass(frozen=True, kw_only=True)
class RunProgress:
    """Where a run stands.

    Attributes:
        step: optimiser steps done.
        images: training images seen, by the weights it was initialised from too.
        seconds: time spent training, over all starts and for those weights too.
        best_step: step of the best validation, -1 before the first.
        best_elbo: its mean validation ELBO, in nats an image.
        initialised_from: what the weights were taken from at the start, "" for random ones.
        hardware: what it was trained on, one after the other, and what those weights were.
        minutes: what the run was given to plan for, 0 where the recipe's steps are done.
        planned_at: step at which the plan was made, -1 before.
        pixels_nats: in the second stage: the mean log-likelihood of the validation images, which stands still; None
            before it was measured.
        watch: what is remembered of the bound.
    """

    step: int = 0
    images: int = 0
    seconds: float = 0.0
    best_step: int = -1
    best_elbo: float = float("-inf")
    initialised_from: str = ""
    hardware: str = ""
    minutes: float = 0.0
    planned_at: int = -1
    pixels_nats: float | None = None
    watch: Watch = field(default_factory=Watch)

    def advanced(self, **changes: Any) -> RunProgress:
        return replace(self, **changes)

    @property
    def awaits_plan(self) -> bool:
        """Whether the run is measuring its speed."""
        return self.minutes > 0 and self.planned_at < 0

    @classmethod
    def parsed(cls, data: dict[str, Any]) -> RunProgress:
        return cls(**data | {"watch": Watch(**data.get("watch", {}))})


@dataclass(frozen=True)
class Checkpoint:
    recipe: Recipe
    progress: RunProgress
    tensors: Mapping[str, Tensor]

    def section(self, prefix: str) -> dict[str, Tensor]:
        """The tensors under ``prefix.``, without it."""
        return {k.removeprefix(f"{prefix}."): v for k, v in self.tensors.items() if k.startswith(f"{prefix}.")}


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, whole or not at all."""
    metadata = {
        "recipe": json.dumps(checkpoint.recipe.as_dict()),
        "progress": json.dumps(asdict(checkpoint.progress)),
    }
    # Not save_file: it reports a full disk as an error of its own, without the number that tells the remedy.
    data = save({k: v.contiguous() for k, v in checkpoint.tensors.items()}, metadata)
    atomic_write(path, _with_sorted_metadata(data))


def _with_sorted_metadata(data: bytes) -> bytes:
    """The same file with its metadata in order: safetensors writes them in a random one, and hashes would differ."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, memoryview(data)[8 + size :]])


def load_checkpoint(path: Path, remedy: str = "name a .safetensors file that pvae-zoo train wrote") -> Checkpoint:
    """Read a checkpoint.

    Args:
        remedy: what to do where there is none, for the message.

    Raises:
        PvaeZooError: if it is missing, cut short or not one of ours.
    """
    if not path.is_file():
        raise PvaeZooError(f"no checkpoint at {path}: {remedy}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
        recipe = parse_recipe(without_retired(json.loads(metadata["recipe"])), f"checkpoint {path}")
        checkpoint = Checkpoint(recipe, RunProgress.parsed(json.loads(metadata["progress"])), tensors)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise PvaeZooError(
            f"{path} is damaged or no checkpoint of pvae-zoo ({error}): remove it and train again"
        ) from error
    _check_layout(path, checkpoint)
    return checkpoint


def _check_layout(path: Path, checkpoint: Checkpoint) -> None:
    """Refuse weights from when the last layer kept a cosine of frequency 0, which no softmax sees."""
    image = checkpoint.recipe.model.image
    names = [name for name in checkpoint.tensors if name.endswith("decoder.pixelcnn.output.weight")]
    rows = {checkpoint.tensors[name].shape[0] for name in names}
    if image.levels > 2 and image.channels * image.levels in rows:
        raise PvaeZooError(
            f"{path} is a checkpoint of the older layout, {image.levels} cosines a channel where {image.levels - 1} "
            "are kept now: train the model again, or use the version of pvae-zoo that wrote it"
        )


def without_retired(data: dict[str, Any], place: tuple[str, ...] = ()) -> dict[str, Any]:
    """A recipe's JSON without the keys of `RETIRED`."""
    kept = {key: value for key, value in data.items() if (*place, key) not in RETIRED}
    return {
        key: without_retired(value, (*place, key)) if isinstance(value, dict) else value for key, value in kept.items()
    }


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimiser's moments as flat, named tensors."""
    state: dict[int, dict[str, Tensor]] = optimizer.state_dict()["state"]
    return {f"optimizer.{index}.{key}": value for index, moments in state.items() for key, value in moments.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """The inverse of `optimizer_tensors`, for names without the ``optimizer.`` prefix."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
