"""From the best weights of a run to a bundle in its place: exported, proven, measured beside what it came from, shown.

Everything is made in a folder beside the place and renamed into it at the end, so that what stands there is whole,
whenever this is stopped; stopped and done again it gives the same bytes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from pvae_zoo.base.atomic import atomic_write, write_error
from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.checks.verification import verify_bundle
from pvae_zoo.contract.folder import CARD, CONFIG, Bundle
from pvae_zoo.data.datasets import ImageSet
from pvae_zoo.export.bundle import write_bundle
from pvae_zoo.export.parity import Parity, check_parity
from pvae_zoo.reporting.card import render_card
from pvae_zoo.reporting.descent import measure_descent
from pvae_zoo.reporting.evaluation import CodecSizes, Descent, Evaluation, save_evaluation
from pvae_zoo.reporting.measurement import Measurement
from pvae_zoo.runtime.layouts import LEVELS, pairs, spread
from pvae_zoo.runtime.model import Model
from pvae_zoo.runtime.pictures import save_grid
from pvae_zoo.training.checkpoint import Checkpoint

MEASURED_AT_MOST = 500
"""Validation images that are measured: more is a random subset."""

PROVEN = 16
"""Validation images on which the graphs are compared with PyTorch."""

RECONSTRUCTED = 16
SAMPLED = 16


@dataclass(frozen=True)
class Finished:
    """A bundle in its place, and what was measured of it.

    Attributes:
        bundle: in its place.
        bound: on the validation images.
        codecs: on the same.
        descent: beside the model that it came from, on the same; None where it is that model.
        parity: with PyTorch, on validation images.
    """

    bundle: Bundle
    bound: Evaluation
    codecs: CodecSizes
    descent: Descent | None
    parity: Parity


@dataclass(frozen=True, kw_only=True)
class Finish:
    """What is to be made.

    Attributes:
        best: the weights, averaged; float16 as they are to be stored.
        base: those that the run began with.
        base_name: how the user called them.
        valid: the validation images.
        dataset: the name of the folder that they are from.
        command: what was run.
        run: the run's folder, where a picture of reconstructions is left.
        place: the folder of the bundle.
        helped: whether the best are others than the base's.
    """

    best: Checkpoint
    base: Checkpoint
    base_name: str
    valid: ImageSet
    dataset: str
    command: str
    run: Path
    place: Path
    helped: bool

    def make(self, say: Callable[[str], None], progress: Callable[[int, int], None]) -> Finished:
        """Do it, replacing what is there.

        Args:
            say: called with what is done next.
            progress: called with (done, of) within it.

        Raises:
            PvaeZooError: if the graphs do not agree with PyTorch, or something cannot be written.
        """
        with _beside(self.place, self.run) as folder:
            say("exporting")
            write_bundle(self.best, folder)
            bundle = Bundle(folder)
            verification = verify_bundle(bundle)
            parity = check_parity(bundle, self.best, self.valid.read(np.arange(min(PROVEN, len(self.valid))), None))
            if not verification.ok or not parity.ok:
                problems = verification.problems or ("it does not agree with PyTorch within 1e-4",)
                raise PvaeZooError(f"{'; '.join(problems)}: nothing was written to {self.place}")
            say("measuring")
            model = Model(bundle, "cpu")
            bound, codecs = self._measured(model, progress)
            descent = self._descent(model, bound, progress) if self.helped else None
            say("drawing")
            self._draw(model, folder, progress)
            atomic_write(folder / CARD, render_card(bundle, folder).encode())
            put_in_place(folder, self.place)
        return Finished(Bundle(self.place), bound, codecs, descent, parity)

    def _measured(self, model: Model, progress: Callable[[int, int], None]) -> tuple[Evaluation, CodecSizes]:
        wanted = Measurement(
            dataset=self.dataset, split="valid", limit=MEASURED_AT_MOST, codecs=True, command=self.command
        )
        bound, codecs = wanted.rows(model, self.valid, progress)
        for row in (bound, codecs):
            save_evaluation(model.bundle, row)
        assert isinstance(bound, Evaluation) and isinstance(codecs, CodecSizes)
        return bound, codecs

    def _descent(self, model: Model, bound: Evaluation, progress: Callable[[int, int], None]) -> Descent:
        """On the same images as the bound, image by image."""
        with tempfile.TemporaryDirectory(prefix="pvae-zoo-") as folder:
            write_bundle(self.base, Path(folder))
            before = Model(Bundle(Path(folder)), "cpu")
            row = measure_descent(model, before, self.valid, bound, ancestor=self.base_name, progress=progress)
        save_evaluation(model.bundle, row)
        return row

    def _draw(self, model: Model, folder: Path, progress: Callable[[int, int], None]) -> None:
        """Samples and reconstructions: beside the card, which a push makes anew without pictures, and in the run."""
        levels, notes = model.image.levels, {"model": model.name, "model_sha256": model.bundle.digest, "seed": "0"}
        samples = model.sample(SAMPLED, seed=0, progress=progress)
        target = folder / "pictures" / f"{model.name}-samples.png"
        command = f"pvae-zoo sample --model {model.name} --n {SAMPLED}"
        save_grid(spread(samples, levels), target, levels=LEVELS, metadata=notes | {"command": command})
        images = self.valid.read(np.arange(min(RECONSTRUCTED, len(self.valid))), None)
        again, columns = model.reconstruct(images, seed=0, progress=progress), min(8, len(images))
        grid = pairs(images, again, levels=levels, columns=columns)
        command = f"pvae-zoo reconstruct {self.dataset} --model {model.name}"
        for path in (folder / "pictures" / f"{model.name}-reconstructions.png", self.run / "reconstructions.png"):
            save_grid(grid, path, levels=LEVELS, metadata=notes | {"command": command}, columns=columns)


@contextmanager
def _beside(place: Path, run: Path) -> Iterator[Path]:
    """A folder beside the place, always of the same name for a run, so that what a kill left is found; it vanishes."""
    folder = place.with_name(f".{place.name}.{_key(run)}.part")
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    except OSError as error:
        raise write_error(place, error) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _key(run: Path) -> str:
    return hashlib.sha256(os.fsencode(run.resolve())).hexdigest()[:8]


def put_in_place(folder: Path, place: Path) -> None:
    """Rename a whole folder to its place; what stood there is moved away first and comes back if that fails."""
    old = folder.with_suffix(".old")
    try:
        shutil.rmtree(old, ignore_errors=True)
        if place.exists():
            os.rename(place, old)
        try:
            os.rename(folder, place)
        except OSError:
            if old.exists():
                os.rename(old, place)
            raise
    except OSError as error:
        raise write_error(place, error) from error
    shutil.rmtree(old, ignore_errors=True)


def stands(place: Path, best: Checkpoint) -> bool:
    """Whether the bundle of these weights is in its place already."""
    if not (place / CONFIG).is_file():
        return False
    config = Bundle(place).config
    mine = {key: value for key, value in asdict(best.progress).items() if key in ("step", "images", "best_step")}
    theirs = {key: (config.progress or {}).get(key) for key in mine}
    return (
        config.name == best.recipe.name
        and mine == theirs
        and config.training.get("steps") == best.recipe.training.steps
    )
