"""What a run of fine-tuning was asked for and how long it is: ``plan.json`` in its folder, written before it begins."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import dacite

from pvae_zoo.base.atomic import atomic_write, write_error
from pvae_zoo.base.errors import PvaeZooError

PLAN = "plan.json"
OURS = ("checkpoint.safetensors", "best.safetensors", "metrics.jsonl", "loss.png", PLAN, "progress.png",
        "reconstructions.png", "progress")  # fmt: skip
"""What a run leaves in its folder."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that a run depends on.

    Attributes:
        model: that it begins with, as it was named.
        model_sha256: of its weights.
        data_sha256: of the images, the divided ones (`pvae_zoo.data.survey.Survey.digest`).
        name: of the model that is made.
        minutes: that were given.
        steps: that they buy, or that were asked for.
        looks: validations.
        batch_size: images a step.
        learning_rate: the highest.
        device: where it is trained.
        finished: whether the bundle is in its place.
    """

    model: str
    model_sha256: str
    data_sha256: str
    name: str
    minutes: float
    steps: int
    looks: int
    batch_size: int
    learning_rate: float
    device: str
    finished: bool = False

    def other(self, asked: Plan) -> str | None:
        """In what the run differs from what is asked for now, in words; None if it does not. The minutes may."""
        words = {
            "model_sha256": f"of other weights than {asked.model}'s now",
            "data_sha256": "of other images than are there now",
            "name": f"for a model {self.name}",
            "batch_size": f"with {self.batch_size} images a step",
            "learning_rate": f"at the learning rate {self.learning_rate:g}",
            "device": f"on {self.device}",
        }
        return next((text for key, text in words.items() if getattr(self, key) != getattr(asked, key)), None)


def stored_plan(run: Path) -> Plan | None:
    """The plan of a run's folder; None where none was begun.

    Raises:
        PvaeZooError: if it is damaged, or the folder holds something else.
    """
    path = run / PLAN
    if not path.is_file():
        if (run / OURS[0]).is_file():
            raise PvaeZooError(f"{run} holds a run of pvae-zoo train: choose another folder with --run")
        return None
    try:
        return dacite.from_dict(Plan, json.loads(path.read_text("utf-8")), dacite.Config(strict=True, cast=[float]))
    except (OSError, ValueError, TypeError, dacite.DaciteError) as error:
        raise PvaeZooError(f"{path} is damaged ({error}): add --force to begin anew") from error


def save_plan(run: Path, plan: Plan) -> None:
    """Write it, whole or not at all."""
    atomic_write(run / PLAN, (json.dumps(asdict(plan), indent=2) + "\n").encode())


def finished(run: Path, plan: Plan) -> None:
    """Note that the bundle is in its place."""
    save_plan(run, replace(plan, finished=True))


def begin_anew(run: Path) -> None:
    """Remove what a run has left in its folder, the plan last, and nothing else."""
    try:
        for name in (*(name for name in OURS if name != PLAN), PLAN):
            path = run / name
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
    except OSError as error:
        raise write_error(run, error) from error
