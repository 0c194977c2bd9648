"""One figure of the paper after the other: what it needs is trained and measured, unless it is stored, then drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pvae_zoo
from pvae_zoo.base.atomic import write_error
from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.data.augmentation import Augmentation
from pvae_zoo.data.codecs import available_codecs
from pvae_zoo.data.datasets import load_split
from pvae_zoo.paper import pictures, plots
from pvae_zoo.paper.latents import LatentsBudget, latents_result, latents_studies
from pvae_zoo.paper.measuring import Laboratory
from pvae_zoo.paper.results import CodecResult, RowsResult, SamplesResult, load_results, save_results
from pvae_zoo.paper.studies import Budget, Study, studies, table_studies
from pvae_zoo.paper.training import Workshop
from pvae_zoo.reporting.codecs import measure_codecs, random_subset
from pvae_zoo.reporting.evaluation import CodecSizes, Evaluation, chosen_images
from pvae_zoo.reporting.measurement import Measurement
from pvae_zoo.runtime.model import Model
from pvae_zoo.sources.registry import model_names

FIGURES = ("table1", "figure3", "figure4", "figure5", "probe", "codecs", "samples", "latents")


class Missing(PvaeZooError):
    """A figure needs data or a model that is not here; the message says which."""


@dataclass(frozen=True)
class Photos:
    """A file or folder of photos of at least 64x64, and the zoo's model of such."""

    data: Path
    model: str

    @property
    def name(self) -> str:
        return self.data.resolve().name


@dataclass(frozen=True)
class Reproduction:
    """What a run of the command works with.

    Attributes:
        out: folder of the results and pictures.
        budget: of every study.
        latents: what the question about latents at 64x64 may cost.
        workshop: trains models.
        laboratory: measures those of digits; None without ``--data``.
        rooms: sets for the comparison with codecs.
        photos: another one, which the question about latents is asked of.
        rows_model: the model of figure 5, a name of the zoo or a bundle's folder.
        samples_model: the model of the samples.
        say: called with a line when something takes long.
    """

    out: Path
    budget: Budget
    latents: LatentsBudget
    workshop: Workshop
    laboratory: Laboratory | None
    rooms: tuple[Photos, ...] = ()
    photos: Photos | None = None
    rows_model: str = "lsun"
    samples_model: str = "mnist"
    say: Callable[[str], None] = lambda line: None

    def make(self, figure: str) -> list[Path]:
        """Measure what a figure needs and is not stored, and draw it.

        Returns:
            The pictures that were drawn.

        Raises:
            Missing: if it needs data or a model that is not here.
            PvaeZooError: if these are damaged.
        """
        makers: dict[str, Callable[[], list[Path]]] = {
            "table1": self._table1, "figure3": self._figure3, "figure4": self._figure4, "figure5": self._figure5,
            "probe": self._probe, "codecs": self._codecs, "samples": self._samples,
            "latents": self._latents,
        }  # fmt: skip
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(self.out, error) from error
        return makers[figure]()

    def _table1(self) -> list[Path]:
        self._measured(table_studies(self.budget))
        return []

    def _figure3(self) -> list[Path]:
        self._measured(studies(self.budget))
        return self._drawn("figure3.png", plots.plot_figure3)

    def _figure4(self) -> list[Path]:
        self._measured([study for study in studies(self.budget) if study.kind == "pixelvae"])
        return self._drawn("figure4.png", plots.plot_figure4)

    def _probe(self) -> list[Path]:
        self._measured([study for study in studies(self.budget) if study.kind == "pixelvae"], probed=True)
        return self._drawn("probe.png", plots.plot_probe)

    def _drawn(self, name: str, plot: Callable[..., None]) -> list[Path]:
        plot(load_results(self.out, self.budget.name).of_figures, self.out / name)
        return [self.out / name]

    def _measured(self, wanted: list[Study], *, probed: bool = False) -> None:
        """Measure the studies that are not stored; each is stored as soon as it is measured."""
        for study in wanted:
            results = load_results(self.out, self.budget.name)
            stored = results.find(study)
            if stored is not None and not (probed and stored.probe_accuracy is None):
                continue
            if self.laboratory is None:
                raise Missing("the models of this figure are not measured yet: give the data with --data")
            if probed and self.laboratory.digits is None:
                raise Missing("the probe needs labelled digits: give MNIST's idx files with --labels")
            self.say(f"{study.name}: training {study.steps(self.budget)} steps, then measuring")
            save_results(self.out, results.with_study(self.laboratory.result(study, self.budget)))

    def _figure5(self) -> list[Path]:
        model, path = self._model(self.rows_model), self.out / "figure5.png"
        distance = pictures.three_rows(model, path)
        result = RowsResult(model=model.name, digest=model.bundle.digest, distance=distance)
        save_results(self.out, replace(load_results(self.out, self.budget.name), rows=result))
        return [path]

    def _samples(self) -> list[Path]:
        if self.laboratory is None:
            raise Missing("nearest neighbours need the training images: give them with --data")
        model = self._model(self.samples_model)
        train = load_split(self.laboratory.data, "train", model.image, binarize="threshold")
        names = ("temperatures.png", "interpolations.png", "neighbours.png")
        paths = [self.out / name for name in names]
        pictures.temperature_rows(model, paths[0])
        pictures.interpolation_rows(model, paths[1])
        distances = pictures.neighbour_rows(model, train, paths[2])
        valid = load_split(self.laboratory.data, "valid", model.image, binarize="threshold")
        unseen = valid.read(random_subset(len(valid), len(distances)), None)
        _, held_out = pictures.nearest_images(unseen, train, model.image.levels)
        result = SamplesResult(
            model=model.name, digest=model.bundle.digest, train_images=len(train), distances=tuple(distances),
            held_out=tuple(held_out),
        )  # fmt: skip
        save_results(self.out, replace(load_results(self.out, self.budget.name), samples=result))
        return paths

    def _codecs(self) -> list[Path]:
        stored = {result.dataset for result in load_results(self.out, self.budget.name).codecs}
        given = [*self.rooms, *([] if self.photos is None else [self.photos])]
        if not given and not stored:
            raise Missing("the codecs need photos: give them with --rooms or --photos")
        for photos in given:
            self.say(f"{photos.name}: storing validation images with each codec")
            result = self._codec_result(photos)
            save_results(self.out, load_results(self.out, self.budget.name).with_codecs(result))
        return []

    def _latents(self) -> list[Path]:
        """Train and measure the models that are not stored; each is stored as soon as it is measured."""
        stored = {row.dataset for row in load_results(self.out, self.budget.name).latents}
        if self.photos is None:
            if not stored:
                raise Missing("the question about latents needs photos: give them with --photos")
            return []
        for study in latents_studies(self.latents):
            results = load_results(self.out, self.budget.name)
            if results.find_latents(self.photos.name, study.images, study.latents) is None:
                self.say(f"{study.name}: training on {study.images} images of {self.photos.name}, then measuring")
                result = latents_result(study, self.latents, self.workshop, self.photos.data)
                save_results(self.out, results.with_latents(result))
        return []

    def _codec_result(self, photos: Photos) -> CodecResult:
        image = ImageShape(channels=3, height=64, width=64, levels=256)
        images = load_split(photos.data, "valid", image, augmentation=Augmentation(crop="random"))
        wanted = Measurement(
            dataset=photos.name, split="valid", codecs=True, limit=16 if self.budget.name == "quick" else 1000,
            command="pvae-zoo reproduce codecs",
        )  # fmt: skip
        if photos.model in model_names():
            bound, sizes = wanted.rows(self._model(photos.model), images)
            assert isinstance(bound, Evaluation) and isinstance(sizes, CodecSizes)
            return CodecResult(
                dataset=photos.name, images=sizes.images, codecs=sizes.codecs, model=photos.model,
                model_bits_per_dim=bound.bits_per_dim,
            )  # fmt: skip
        chosen = chosen_images(len(images), wanted.limit, wanted.seed)
        codecs = measure_codecs(images, image, chosen, codecs=available_codecs())
        return CodecResult(
            dataset=photos.name, images=len(chosen), codecs=codecs, model=None, model_bits_per_dim=None
        )  # fmt: skip

    def _model(self, name: str) -> Model:
        if name not in model_names() and not Path(name).is_dir():
            raise Missing(f"the zoo has no model {name} yet")
        return pvae_zoo.load(name)
