"""A run of fine-tuning, stage by stage; stopped anywhere, it goes on where it stood.

tuning = FineTuning(wish)
tuning.look()          nothing is written yet
tuning.settle()        how long it will be, from the time that a few steps take
tuning.train()         from the last checkpoint, if there is one
tuning.finish()        the bundle in its place
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.folder import Bundle
from pvae_zoo.data.codecs import WEBP
from pvae_zoo.data.datasets import ImageSet
from pvae_zoo.data.image_store import Images, Split
from pvae_zoo.data.memory import available_memory
from pvae_zoo.data.own_folders import find_stores
from pvae_zoo.data.survey import Survey, folder_name, survey
from pvae_zoo.data.survey_words import card_lines
from pvae_zoo.export.bundle import halved
from pvae_zoo.export.given import given_weights
from pvae_zoo.reporting.codecs import measure_codecs
from pvae_zoo.sources.current import make_current
from pvae_zoo.training.checkpoint import BEST, LATEST, Checkpoint, load_checkpoint
from pvae_zoo.training.lock import locked
from pvae_zoo.training.loop import Trainer
from pvae_zoo.training.plots import plot_run
from pvae_zoo.training.recipe import Recipe
from pvae_zoo.training.reports import Report
from pvae_zoo.tuning.finish import Finish, Finished, stands
from pvae_zoo.tuning.pictures import COLUMNS, draw_progress
from pvae_zoo.tuning.plan import Plan, begin_anew, finished, save_plan, stored_plan
from pvae_zoo.tuning.settings import ALONE, LOOKS, RATE, batch_size, planned_steps, step_seconds, tuned, with_steps
from pvae_zoo.tuning.wish import Wish, weights_sha256

VALIDATED_AT_MOST = 128
"""Validation images that are looked at while it learns; all of them are measured at the end."""

_HELD_AT_MOST = 512 << 20
_CODED_AT_MOST = 100

Progress = Callable[[int, int], None]


class FineTuning:
    """See above. The time that the minutes are counted from is when it is made.

    Args:
        wish: what is asked for, checked.
        clock: seconds, rising.

    Raises:
        PvaeZooError: if there is no such model.
    """

    def __init__(self, wish: Wish, clock: Callable[[], float] = time.monotonic) -> None:
        self.wish, self.clock, self.began = wish, clock, clock()
        self.base = given_weights(wish.model)
        self.base_name = wish.model if wish.model != "." else self.base.recipe.name
        windows = self.base.recipe.data.crop == "random"
        self._sides: dict[Split, ImageSet] = {}
        self.fitting = wish.fitting(self.base.recipe.model.image, windows=windows)

    def look(self, progress: Progress = lambda done, of: None) -> Survey:
        """Look at every image.

        Raises:
            PvaeZooError: if there is too little to learn from.
        """
        wish, image = self.wish, self.base.recipe.model.image
        stores = find_stores(
            wish.folders, image, binarize="refuse" if wish.binarize is None else "threshold", fitting=self.fitting
        )
        self.survey = survey(
            stores, image, " and ".join(map(str, wish.folders)), augmentation=self.base.recipe.data, progress=progress
        )  # fmt: skip
        return self.survey

    def settle(self, *, writes: bool = True) -> Plan:
        """How long the run will be: what its plan says, or what the minutes buy.

        Args:
            writes: whether to begin a run, or to go on with the one that is there.

        Raises:
            PvaeZooError: if the folder of the run holds another one.
        """
        wish, image = self.wish, self.base.recipe.model.image
        batch = batch_size(image, len(self.survey.train), wish.device, self.base.recipe.training.batch_size)
        asked = Plan(
            model=wish.model, model_sha256=weights_sha256(self.base), data_sha256=self.survey.digest, name=wish.name,
            minutes=wish.minutes, steps=wish.steps or 0, looks=LOOKS, batch_size=batch,
            learning_rate=wish.learning_rate or RATE, device=wish.device,
        )  # fmt: skip
        self.recipe = tuned(
            self.base.recipe, name=wish.name, title=f"PixelVAE {wish.name}, {self.base.recipe.name} trained further",
            dataset=self._dataset(), reading=card_lines(
                self.survey, self.fitting, self.base.recipe.data, folder_name(wish.folders)
            ),
            binarize=wish.binarize is not None or wish.prepare, batch=batch, learning_rate=asked.learning_rate,
        )  # fmt: skip
        stored = self._stored(asked)
        self.plan = stored or self._planned(asked)
        self.recipe = with_steps(self.recipe, self.plan.steps, self.plan.looks)
        if writes and stored is None:
            save_plan(wish.run, self.plan)
        return self.plan

    def _dataset(self) -> str:
        folder, before = folder_name(self.wish.folders), self.base.recipe
        return f"{len(self.survey.train):,} images of {folder}; before that, as {before.name}: {before.dataset}"

    def _stored(self, asked: Plan) -> Plan | None:
        """The plan of the run that is to go on; None where one begins."""
        wish = self.wish
        try:
            stored = stored_plan(wish.run)
        except PvaeZooError:
            if not wish.force:
                raise
            begin_anew(wish.run)
            return None
        if stored is None:
            return None
        other = stored.other(asked)
        if wish.steps is not None and wish.steps != stored.steps:
            other = f"of {stored.steps} steps"
        if other is None and not (stored.finished and wish.force):
            return stored
        if not wish.force:
            raise PvaeZooError(f"{wish.run} holds a run {other}: choose another --name or --run, or add --force")
        begin_anew(wish.run)
        return None

    def _planned(self, asked: Plan) -> Plan:
        if asked.steps:
            return replace(asked, looks=max(1, min(LOOKS, asked.steps)))
        probe = with_steps(self.recipe, 100, 1)
        seconds = step_seconds(lambda: self._trainer(probe), self._images("train"), self.clock)
        left = 60 * asked.minutes - (self.clock() - self.began)
        steps, looks = planned_steps(left, seconds, asked.batch_size, len(self._images("valid")))
        return replace(asked, steps=steps, looks=looks)

    def train(self, say: Callable[[Report], None]) -> bool:
        """Train to the end, from the last checkpoint if there is one.

        Returns:
            Whether what was learnt is better than what the run began with.

        Raises:
            KeyboardInterrupt: after a signal; the same again goes on.
        """
        run, valid = self.wish.run, self._images("valid")
        webp = self._webp(valid)
        shown = valid.read(np.arange(min(COLUMNS, len(valid))), None)

        def report(row: Report) -> None:
            say(row)
            if row.kind == "valid":
                plot_run(run, {WEBP: webp})
                self._picture(trainer, shown)

        trainer = self._trainer(self.recipe, report)
        if (run / LATEST).is_file():
            trainer.resume()
        else:
            trainer.initialise(self.base, self.base_name)
        trainer.train(self._images("train"), valid)
        return trainer.progress.best_step > 0

    def finish(self, say: Callable[[str], None], progress: Progress = lambda done, of: None) -> Finished:
        """Export and measure the best weights, put the bundle in its place and make it the current model."""
        best = load_checkpoint(self.wish.run / BEST)
        half = any(value.element_size() == 2 for value in self.base.section("ema").values())
        wish = self.wish
        with locked(wish.run):
            made = Finish(
                best=halved(best) if half else best, base=self.base, base_name=self.base_name,
                valid=self._all_valid(), dataset=folder_name(wish.folders), command=wish.command, run=wish.run,
                place=wish.place, helped=best.progress.step > 0,
            ).make(say, progress)  # fmt: skip
            make_current(wish.name if wish.out is None else str(wish.out.absolute()))
            finished(wish.run, self.plan)
        return made

    def done(self) -> Bundle | None:
        """The bundle of this run, if it is in its place already."""
        best = self.wish.run / BEST
        if not (self.plan.finished and best.is_file() and stands(self.wish.place, load_checkpoint(best))):
            return None
        return Bundle(self.wish.place)

    def _trainer(self, recipe: Recipe, report: Callable[[Report], None] = lambda row: None) -> Trainer:
        return Trainer(recipe, self.wish.run, world=ALONE, device=self.wish.device, validate_first=True, report=report)

    def _images(self, split: Split) -> ImageSet:
        """One side, in memory if it fits; of the validation images those that are looked at while it learns."""
        if split in self._sides:
            return self._sides[split]
        image, data = self.base.recipe.model.image, self.base.recipe.data
        found = self.survey
        if split == "valid" and len(found.valid) > VALIDATED_AT_MOST:
            lowest = sorted(found.valid, key=lambda one: one.look.digest)[:VALIDATED_AT_MOST]
            found = replace(found, valid=tuple(lowest))
        share = min(0.25, _HELD_AT_MOST / max(1, available_memory()))
        self._sides[split] = found.images(split, image, replace(data, jpeg=0.0)).held(share)
        return self._sides[split]

    def _all_valid(self) -> ImageSet:
        return self.survey.images("valid", self.base.recipe.model.image, self.base.recipe.data)

    def _webp(self, valid: ImageSet) -> float:
        chosen = np.arange(min(_CODED_AT_MOST, len(valid)))
        return measure_codecs(valid, self.base.recipe.model.image, chosen, codecs=[WEBP])[WEBP]

    def _picture(self, trainer: Trainer, shown: Images) -> Path:
        checkpoint = Checkpoint(trainer.recipe, trainer.progress, trainer.state.averaged())
        return draw_progress(self.wish.run, checkpoint, shown, trainer.obey)
