"""Where the models of the page are trained, so that a run that was stopped goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.data.datasets import ImageSet
from pvae_zoo.data.image_store import Split
from pvae_zoo.training.checkpoint import LATEST, Checkpoint, load_checkpoint
from pvae_zoo.training.distributed import World
from pvae_zoo.training.loop import Trainer
from pvae_zoo.training.recipe import Recipe
from pvae_zoo.training.reports import Report


@dataclass(frozen=True)
class Workshop:
    """Where models are trained, and how.

    Attributes:
        runs: folder of the training runs; a run that is there is taken up where it stands.
        device: where PyTorch computes.
        compile_model: let torch.compile fuse the network while training.
        report: called with every report of a training.
    """

    runs: Path
    device: str = "cpu"
    compile_model: bool = False
    report: Callable[[Report], None] = lambda report: None

    def trained(self, recipe: Recipe, name: str, split: Callable[[Split], ImageSet]) -> Checkpoint:
        """Train a model, or finish its training, in the folder ``runs / name``.

        Args:
            recipe: what to train; none of it may have changed since the run began.
            name: of the folder.
            split: gives the images of "train" and "valid"; not called where nothing is left to do.

        Returns:
            The last checkpoint.

        Raises:
            PvaeZooError: if the folder holds a run of another recipe, or training fails.
        """
        out = self.runs / name
        resumed = (out / LATEST).exists()
        if resumed and load_checkpoint(out / LATEST).recipe != recipe:
            raise PvaeZooError(f"{out} holds a run of another recipe: remove it, or choose another --runs")
        out.mkdir(parents=True, exist_ok=True)
        torch.compiler.reset()  # or the models before count against a limit, beyond which nothing is compiled
        trainer = Trainer(
            recipe, out, world=World(), device=self.device, compile_model=self.compile_model, report=self.report
        )
        if resumed:
            trainer.resume()
        if trainer.progress.step < recipe.training.steps:
            trainer.train(split("train"), split("valid"))
        return load_checkpoint(out / LATEST)
