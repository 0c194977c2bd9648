"""What is asked for, and what can be refused before an image is opened."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pvae_zoo.base.atomic import write_error
from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.contract.folder import CONFIG
from pvae_zoo.data.fitted_store import Fitting
from pvae_zoo.sources.own import checked_name, own_models_folder
from pvae_zoo.sources.registry import known_names
from pvae_zoo.training.checkpoint import Checkpoint
from pvae_zoo.tuning.plan import stored_plan


@dataclass(frozen=True, kw_only=True)
class Wish:
    """A model of one's own images.

    Attributes:
        model: to begin with: of the zoo, of this machine, a bundle or a checkpoint.
        folders: of images, or zips.
        name: of the new model.
        minutes: that it may take.
        steps: in place of what the minutes buy.
        learning_rate: the highest, None for the usual one.
        binarize: for black-and-white models, the threshold.
        invert: swap light and dark.
        prepare: make digits as MNIST has them.
        enlarge: highest factor.
        device: "cpu" or "cuda".
        run: folder of the run.
        out: folder of the bundle, None for the models of this machine.
        force: begin anew and replace what is there.
        command: as it was typed, for the card.
    """

    model: str
    folders: tuple[Path, ...]
    name: str
    minutes: float
    steps: int | None = None
    learning_rate: float | None = None
    binarize: int | None = None
    invert: bool = False
    prepare: bool = False
    enlarge: float = 1.0
    device: str = "cpu"
    run: Path
    out: Path | None = None
    force: bool = False
    command: str = "pvae-zoo finetune"

    @property
    def place(self) -> Path:
        """Where the bundle goes."""
        return self.out or own_models_folder() / self.name

    def check(self, *, writes: bool) -> None:
        """Refuse what cannot come to an end.

        Args:
            writes: whether folders are to be tried; they are made if need be.

        Raises:
            PvaeZooError: in one line with the remedy.
        """
        checked_name(self.name, known_names())
        plan = None if self.force else stored_plan(self.run)
        if self.place.exists() and not self.force and plan is None:
            if self.out is None:
                raise PvaeZooError(f"you have a model {self.name} already: choose another --name, or add --force")
            what = "holds a bundle already" if (self.out / CONFIG).is_file() else "is there already"
            raise PvaeZooError(f"{self.out} {what}: choose another --out, or add --force to replace it")
        if self.place.exists() and not (self.place / CONFIG).is_file():
            raise PvaeZooError(f"{self.place} is there and no bundle, which --force does not replace: remove it first")
        if writes:
            for folder in (self.run, self.place.parent):
                _try(folder)

    def fitting(self, image: ImageShape, *, windows: bool) -> Fitting:
        """How the images are brought to the model's size."""
        return Fitting(
            image=image, windows=windows, enlarge=self.enlarge, binarize=self.binarize, invert=self.invert,
            prepare=self.prepare,
        )  # fmt: skip


def _try(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise write_error(folder, error) from error


def weights_sha256(checkpoint: Checkpoint) -> str:
    """One hash for the averaged weights of a checkpoint."""
    total = hashlib.sha256()
    for name, value in sorted(checkpoint.section("ema").items()):
        total.update(os.fsencode(name) + value.detach().contiguous().numpy().tobytes())
    return total.hexdigest()
