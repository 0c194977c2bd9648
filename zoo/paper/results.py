"""What was measured, kept beside the page, so that figures can be drawn again without training."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import dacite

from pvae_zoo.base.atomic import atomic_write
from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.paper.studies import Kind, Study

RESULTS = "results.json"


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """One model of table 1 or of figures 3 and 4, means over the test set in nats an image; smaller is better.

    Attributes:
        nll_nats: -ELBO with latents, the exact -log p(x) without.
        standard_error_nats: of ``nll_nats`` over the images.
        kl_nats: None without latents.
        samples: K of the importance-weighted bound; None without latents.
        weighted_images: images that it was measured on, a random subset.
        iwae_nll_nats: minus the importance-weighted bound.
        weighted_nll_nats: ``nll_nats`` of just those images: the two compare, figures of different images do not.
        probe_accuracy: share of test digits that a linear classifier of the posterior means names rightly; None without
            latents or labels.
        minutes: of training.
        times: it was trained so many times the budget's steps; those of the figures once.
    """

    kind: Kind
    layers: int
    parameters: int
    steps: int
    images_seen: int
    minutes: float
    hardware: str
    test_images: int
    nll_nats: float
    standard_error_nats: float
    reconstruction_nats: float
    kl_nats: float | None
    samples: int | None
    weighted_images: int | None
    iwae_nll_nats: float | None
    weighted_nll_nats: float | None
    probe_accuracy: float | None
    probe_images: int | None
    times: int = 1

    @property
    def study(self) -> Study:
        return Study(self.kind, self.layers, self.times)


@dataclass(frozen=True, kw_only=True)
class CodecResult:
    """Bits per dimension of a set of images: lossless codecs, and a model of the zoo (its bound) if there is one."""

    dataset: str
    images: int
    codecs: dict[str, float]
    model: str | None
    model_bits_per_dim: float | None


@dataclass(frozen=True, kw_only=True)
class LatentsResult:
    """One model of the question whether latents earn their nats at 64x64, on validation images.

    Attributes:
        latents: with latents, or the same PixelCNN alone.
        images: what it was trained for; ``images_seen`` are whole steps.
        dataset: the name of the photos' file.
        bits_per_dim: of -ELBO with latents, exact without.
        standard_error: of it, over the images.
        kl_nats: of each level, bottom first.
        others_bits_per_dim: of -ELBO where each image is scored given z1 of another; None without latents.
    """

    latents: bool
    images: int
    dataset: str
    steps: int
    batch_size: int
    images_seen: int
    minutes: float
    hardware: str
    parameters: int
    valid_images: int
    bits_per_dim: float
    standard_error: float
    kl_nats: tuple[float, ...]
    others_bits_per_dim: float | None


@dataclass(frozen=True, kw_only=True)
class RowsResult:
    """Figure 5: for each level of noise the mean distance of two images of its row, as a share of the values' range."""

    model: str
    digest: str
    distance: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class SamplesResult:
    """Images beside their nearest training images: the mean difference of each pair, as a share of the values' range.

    Attributes:
        distances: of samples.
        held_out: of as many validation images, which nothing can have remembered.
    """

    model: str
    digest: str
    train_images: int
    distances: tuple[float, ...]
    held_out: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Results:
    """Everything on the page that was measured here.

    Attributes:
        budget: of all studies in it.
    """

    budget: Literal["full", "quick"]
    studies: tuple[StudyResult, ...] = ()
    codecs: tuple[CodecResult, ...] = ()
    latents: tuple[LatentsResult, ...] = ()
    rows: RowsResult | None = None
    samples: SamplesResult | None = None

    @property
    def of_figures(self) -> list[StudyResult]:
        """The models of figures 3 and 4, all of one budget."""
        return [result for result in self.studies if result.times == 1]

    def of(self, kind: Kind) -> list[StudyResult]:
        """The models of the figures, with latents or without, by their layers."""
        return [result for result in self.of_figures if result.kind == kind]

    def find(self, study: Study) -> StudyResult | None:
        return next((result for result in self.studies if result.study == study), None)

    def with_study(self, result: StudyResult) -> Results:
        """With a result more; one of the same model is replaced."""
        kept = [old for old in self.studies if old.study != result.study]
        return replace(self, studies=tuple(sorted([*kept, result], key=lambda row: (row.kind, row.layers, row.times))))

    def with_codecs(self, result: CodecResult) -> Results:
        kept = [old for old in self.codecs if old.dataset != result.dataset]
        return replace(self, codecs=tuple(sorted([*kept, result], key=lambda row: row.dataset)))

    def find_latents(self, dataset: str, images: int, latents: bool) -> LatentsResult | None:
        of = (dataset, images, latents)
        return next((row for row in self.latents if (row.dataset, row.images, row.latents) == of), None)

    def with_latents(self, result: LatentsResult) -> Results:
        kept = [row for row in self.latents if row != self.find_latents(result.dataset, result.images, result.latents)]
        return replace(
            self, latents=tuple(sorted([*kept, result], key=lambda row: (row.dataset, row.images, row.latents)))
        )


def load_results(folder: Path, budget: Literal["full", "quick"]) -> Results:
    """What is stored in a folder; nothing if there is no file yet.

    Raises:
        PvaeZooError: if the file is damaged, or of another budget.
    """
    path = folder / RESULTS
    if not path.exists():
        return Results(budget=budget)
    try:
        stored = _with_tuples(json.loads(path.read_text("utf-8")))
        results = dacite.from_dict(Results, stored, dacite.Config(strict=True))
    except (OSError, ValueError, TypeError, AttributeError, dacite.DaciteError) as error:
        raise PvaeZooError(f"{path} is damaged ({error}): remove it and measure again") from error
    if results.budget != budget:
        raise PvaeZooError(f"{path} holds results of the {results.budget} budget: choose another --out")
    return results


def save_results(folder: Path, results: Results) -> None:
    """Write the results, whole or not at all."""
    atomic_write(folder / RESULTS, (json.dumps(asdict(results), indent=2) + "\n").encode())


def _with_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_tuples(item) for key, item in value.items()}
    return tuple(_with_tuples(item) for item in value) if isinstance(value, list) else value
