"""Scoring images: what ``nll`` does to each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pvae_zoo.contract.folder import Bundle
from pvae_zoo.data.fit import Fit
from pvae_zoo.data.images import ImageSource
from pvae_zoo.runtime.model import Model
from pvae_zoo.runtime.precisions import FLOAT32, ScorePrecision
from pvae_zoo.runtime.score_files import COMPARED, Row, score_files
from pvae_zoo.scale.headers import Header
from pvae_zoo.scale.image_task import ImageTask, stated
from pvae_zoo.scale.merge import Parts
from pvae_zoo.scale.shards import Shard
from pvae_zoo.scale.tasks import Watch


@dataclass(frozen=True, kw_only=True)
class ScoreHeader(Header[Row]):
    """The options that scores depend on.

    Attributes:
        levels: of latents, for the columns of the table.
        precision: of the networks; parts from before there was a choice are float32.
    """

    prefix: ClassVar[str] = "part"
    command: ClassVar[str] = "nll"

    levels: int
    samples: int
    seed: int
    resize: bool
    binarize: int | None
    convert: bool
    enlarge: bool = False
    invert: bool = False
    prepare: bool = False
    precision: str = FLOAT32

    @classmethod
    def row(cls, data: dict[str, Any]) -> Row:
        return Row.from_dict(data)


@dataclass(frozen=True, kw_only=True)
class Scoring(ImageTask[Row]):
    """The bound of each image, a `Row` each; see `pvae_zoo.runtime.score_files.score_files`."""

    samples: int = 1
    seed: int = 0
    fit: Fit = field(default_factory=Fit)
    precision: ScorePrecision = FLOAT32

    def rows(self, model: Model, items: Sequence[ImageSource], watch: Watch) -> Iterator[Row]:
        return score_files(
            model,
            items,
            lambda source: self.fit.read(source, model.image),
            samples=self.samples,
            seed=self.seed,
            batch_size=self.batch_size,
            precision=self.precision,
            compared=max(0, COMPARED - watch.before),
        )

    def header(self, bundle: Bundle, provider: str, sources: Sequence[ImageSource], shard: Shard) -> ScoreHeader:
        return ScoreHeader(
            **stated(bundle, provider, sources, shard),
            levels=len(bundle.config.latents),
            samples=self.samples,
            seed=self.seed,
            **asdict(self.fit),
            precision=self.precision,
        )


class ScoredParts(Parts[ScoreHeader, Row]):
    """The parts of ``nll`` in a folder, all of them whole."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, ScoreHeader)
