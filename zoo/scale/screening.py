"""Screening images: what ``screen`` does to each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pvae_zoo.contract.folder import Bundle
from pvae_zoo.data.fit import Fit
from pvae_zoo.data.images import ImageError, ImageSource
from pvae_zoo.runtime.model import Model
from pvae_zoo.runtime.score_files import in_slices
from pvae_zoo.runtime.sessions import CUDA
from pvae_zoo.scale.headers import Header
from pvae_zoo.scale.image_task import ImageTask, stated
from pvae_zoo.scale.merge import Parts
from pvae_zoo.scale.shards import Shard
from pvae_zoo.scale.tasks import Watch
from pvae_zoo.screening.calibration import Calibration
from pvae_zoo.screening.rows import Row
from pvae_zoo.screening.screen import Screen


@dataclass(frozen=True, kw_only=True)
class ScreenHeader(Header[Row]):
    """The options that rows depend on, and those that turn rows into verdicts.

    Attributes:
        calibration_sha256: of the calibration.
        ranked: number of its images that scores are ranked among.
        rate: what is asked for.
        fdr: whether that is a rate of false discoveries.
    """

    prefix: ClassVar[str] = "screen"
    command: ClassVar[str] = "screen"

    calibration_sha256: str
    ranked: int
    rate: float
    fdr: bool
    resize: bool
    binarize: int | None
    convert: bool
    enlarge: bool
    invert: bool
    prepare: bool

    @classmethod
    def row(cls, data: dict[str, Any]) -> Row:
        return Row.from_dict(data)


@dataclass(frozen=True, kw_only=True)
class Screening(ImageTask[Row]):
    """How strange each image is, a `pvae_zoo.screening.rows.Row` each.

    Attributes:
        calibration: what images are compared with; of the model that does it.
        fit: what may be done to an image so that it fits.
        rate: goes into parts, for whoever merges them; no row depends on it.
        fdr: see `pvae_zoo.screening.verdicts.Rate`.
    """

    calibration: Calibration
    fit: Fit = field(default_factory=Fit)
    rate: float
    fdr: bool = False

    def rows(self, model: Model, items: Sequence[ImageSource], watch: Watch) -> Iterator[Row]:
        screen = Screen(model, self.calibration)
        found = in_slices(
            items,
            lambda source: self.fit.read(source, model.image),
            lambda images: iter(screen.findings(images)),
            self.batch_size or model.nll_batch,
            ahead=model.provider == CUDA,
        )
        for source, result, note in found:
            if isinstance(result, ImageError):
                yield Row(source.name, None, reason=str(result))
            else:
                yield Row(source.name, result, note=note)

    def header(self, bundle: Bundle, provider: str, sources: Sequence[ImageSource], shard: Shard) -> ScreenHeader:
        return ScreenHeader(
            **stated(bundle, provider, sources, shard),
            calibration_sha256=self.calibration.digest,
            ranked=len(self.calibration.ranked),
            rate=self.rate,
            fdr=self.fdr,
            **asdict(self.fit),
        )


class ScreenedParts(Parts[ScreenHeader, Row]):
    """The parts of ``screen`` in a folder, all of them whole."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, ScreenHeader)
