"""All that a card says of a model on a set of images, measured in one go: see `Measurement`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.folder import Bundle
from pvae_zoo.data.augmentation import Augmentation
from pvae_zoo.data.codecs import available_codecs
from pvae_zoo.data.datasets import ImageSet, load_split
from pvae_zoo.data.image_store import Binarize, Split
from pvae_zoo.reporting.codecs import measure_codecs
from pvae_zoo.reporting.evaluation import CodecSizes, Row, Thumbnails, chosen_images, evaluate
from pvae_zoo.reporting.fidelity import drawn_levels, fidelity
from pvae_zoo.runtime.grid import Progress
from pvae_zoo.runtime.model import Model


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What is measured: the bound, and what is asked for beside it.

    Attributes:
        dataset: the name of the images' file or folder.
        split: of it.
        samples: draws of z an image for the bound.
        limit: a random subset of so many images; None for all.
        seed: of the subset and of all noise.
        jpeg: qualities, 1 to 100: the same for JPEG copies of the images.
        codecs: the sizes of lossless codecs on the pixels of every bound.
        latents: thumbnails drawn from each level, of a random subset of so many images; None to leave them out.
        command: what was run.
    """

    dataset: str
    split: str
    samples: int = 1
    limit: int | None = None
    seed: int = 0
    jpeg: tuple[int, ...] = ()
    codecs: bool = False
    latents: int | None = None
    command: str

    def rows(self, model: Model, images: ImageSet, progress: Progress = lambda done, of: None) -> Iterator[Row]:
        """Measure; each row comes as soon as it is there.

        Args:
            model: to be measured.
            images: the split.
            progress: called with the number of images that are done, and of all, counted once for each figure.

        Raises:
            PvaeZooError: before anything is measured, if the model does not suit what is asked for.
        """
        if self.jpeg and (model.image.levels != 256 or model.image.channels not in (1, 3)):
            raise PvaeZooError(
                f"JPEG copies are grey or in colour, of 256 levels; {model.name} has {model.image.channels} channel(s) "
                f"of {model.image.levels} levels: leave out --jpeg"
            )
        levels = [] if self.latents is None else drawn_levels(model)
        count = len(chosen_images(len(images), self.limit, self.seed))
        drawn = chosen_images(len(images), self.latents, self.seed)
        each = 2 if self.codecs else 1
        total = (1 + len(self.jpeg)) * each * count + len(levels) * len(drawn)
        done = 0
        for quality in (None, *self.jpeg):
            pixels = images if quality is None else images.as_jpeg(quality)
            yield self._bound(model, pixels, quality, _within(progress, done, total))
            if self.codecs:
                yield self._codecs(model, pixels, quality, _within(progress, done + count, total))
            done += each * count
        if levels:
            yield self._thumbnails(model, images, drawn, _within(progress, done, total))

    def _bound(self, model: Model, images: ImageSet, quality: int | None, step: Callable[[int], None]) -> Row:
        return evaluate(
            model, images, dataset=self.dataset, split=self.split, jpeg=quality, samples=self.samples,
            limit=self.limit, seed=self.seed, command=self.command, progress=lambda done, of: step(done),
        )  # fmt: skip

    def _codecs(self, model: Model, images: ImageSet, quality: int | None, step: Callable[[int], None]) -> Row:
        chosen = chosen_images(len(images), self.limit, self.seed)
        sizes = measure_codecs(images, model.image, chosen, codecs=available_codecs(), progress=step)
        return CodecSizes(
            codecs=sizes, dataset=self.dataset, split=self.split, images=len(chosen), of=len(images), jpeg=quality,
            seed=self.seed, model_sha256=model.bundle.digest, command=self.command,
        )  # fmt: skip

    def _thumbnails(
        self, model: Model, images: ImageSet, chosen: NDArray[np.int64], step: Callable[[int], None]
    ) -> Row:
        levels = fidelity(model, images.read(chosen, None), seed=self.seed, progress=step)
        return Thumbnails(
            sizes=tuple(level.size for level in levels), r2=tuple(level.r2 for level in levels),
            rms=tuple(level.rms for level in levels), dataset=self.dataset, split=self.split, images=len(chosen),
            of=len(images), seed=self.seed, model_sha256=model.bundle.digest, command=self.command,
        )  # fmt: skip


def _within(progress: Progress, before: int, total: int) -> Callable[[int], None]:
    """Progress of one part as that of the whole."""
    return lambda done: progress(before + done, total)


def seen_images(bundle: Bundle, data: Path, split: Split) -> ImageSet:
    """The images of a data set as the model has seen its own: cropped and binarised in the same way.

    Raises:
        PvaeZooError: if the data or the split is missing or of another shape, or the bundle says nonsense of its own.
    """
    training = bundle.config.training
    try:
        view = Augmentation(crop=training.get("crop", "none"), scale=tuple(training.get("scale", (1.0, 1.0))))
    except ValueError as error:
        raise PvaeZooError(f"{bundle.folder / 'config.json'} is not valid: {error}") from error
    binarize: Binarize = "threshold" if training.get("binarize") == "threshold" else "refuse"
    return load_split(data, split, bundle.config.image, binarize=binarize, augmentation=view)
