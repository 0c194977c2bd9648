"""What a card says of the training, from what the bundle says of it and from nothing else."""

from __future__ import annotations

from typing import Any

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.folder import Bundle
from pvae_zoo.training.recipe import recipe_names

_NEEDED = (
    "images_seen", "hours", "valid_elbo_nats", "weight_decay", "learning_rate", "batch_size", "best_step", "steps",
)  # fmt: skip


def training_lines(bundle: Bundle) -> str:
    """The training in Markdown, a line for each thing there is to say.

    Raises:
        PvaeZooError: if the bundle does not say what a card says of the training.
    """
    training = bundle.config.training
    missing = [key for key in _NEEDED if key not in training]
    if missing:
        raise PvaeZooError(f"{bundle.folder} does not say of its training: {', '.join(missing)}; export it again")
    hardware = f" on {training['hardware']}" if training.get("hardware") else ""
    started = training.get("initialised_from")
    lines = [
        _views(bundle),
        f"{training['images_seen']:,} images seen in {training_time(_hours(bundle))}{hardware}"
        + (", those and the time of the weights it started from included" if started else ""),
        f"started from {started}" if started else "",
        _second_stage(training),
        f"Adam with decoupled weight decay {training['weight_decay']}, peak learning rate {training['learning_rate']}, "
        f"batch {training['batch_size']}{' in the last stage' if started else ''}; exponential moving average of the "
        f"weights{_best(training)}",
        _aids(training),
        _recipe(bundle),
    ]
    return "\n".join(f"- {line}" for line in lines if line)


def training_time(hours: float) -> str:
    """How long a model trained, in words: ``2.0 hours``, ``7 minutes``."""
    minutes = round(hours * 60)
    if minutes >= 60:
        return f"{hours:.1f} hours"
    return f"{minutes} minute{'s' * (minutes > 1)}" if minutes else "less than a minute"


def _hours(bundle: Bundle) -> float:
    """To the second where the bundle has the whole of the training's progress, else as its summary rounds it."""
    progress: dict[str, Any] = getattr(bundle.config, "progress", None) or {}
    return float(progress["seconds"]) / 3600 if "seconds" in progress else float(bundle.config.training["hours"])


def _views(bundle: Bundle) -> str:
    """What training did to images."""
    training, image = bundle.config.training, bundle.config.image
    views = []
    if training.get("crop", "none") != "none":
        views.append(f"random windows of {image.height}x{image.width}")
    low, high = training.get("scale", (1.0, 1.0))
    if (low, high) != (1.0, 1.0):
        views.append(f"scaled by {low} to {high} before")
    if training.get("flip"):
        views.append("half of them mirrored")
    if training.get("jpeg"):
        views.append(f"{100 * training['jpeg']:g} % of them JPEG copies")
    return f"views: {', '.join(views)}" if views else ""


def _second_stage(training: dict[str, Any]) -> str:
    if training.get("learns") != "prior":
        return ""
    return "second stage: z1 and the pixels stood still, q(z2|x) and p(z1|z2) were learnt alone"


def _best(training: dict[str, Any]) -> str:
    """Which weights were taken; those of a run that was never validated are its last."""
    if training["valid_elbo_nats"] is None:
        return ""
    step = f"step {training['best_step']} of {training['steps']}"
    return f"; the checkpoint with the best validation bound (-ELBO {-training['valid_elbo_nats']:.2f} nats, {step})"


def _aids(training: dict[str, Any]) -> str:
    thumbnails = training.get("thumbnails") or []
    told = [
        f"z{number} alone had to tell the {aid['size']}x{aid['size']} thumbnail (sigma {aid['sigma']:g}, of -1..1)"
        for number, aid in enumerate(thumbnails, start=1)
    ]
    return f"training aids, which are no part of the model: {', '.join(told)}" if told else ""


def _recipe(bundle: Bundle) -> str:
    places = ["in `config.json`"] if getattr(bundle.config, "recipe", None) else []
    if bundle.name in recipe_names():
        places.append(f"`zoo/training/recipes/{bundle.name}.toml` is the one to train anew with")
    return f"recipe: {'; '.join(places)}" if places else ""
