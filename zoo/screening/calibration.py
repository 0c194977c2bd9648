"""The calibration: a reference, the ranked scores, and of which model and images; as a file, JSON that is not trusted.

Whatever is read from a file is checked before it is used: its size, its types and bounds, that it is of this version
and of the model at hand. Nothing in it is a path, and its texts are shown only spelled out.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import dacite
import numpy as np
from numpy.typing import NDArray

from pvae_zoo.base.atomic import atomic_write
from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.base.printable import shown
from pvae_zoo.base.regular_files import open_regular
from pvae_zoo.contract.architecture import ArchitectureError, ImageShape
from pvae_zoo.contract.folder import Bundle
from pvae_zoo.data.fit import Fit
from pvae_zoo.screening.neighbours import NEAREST, Neighbours
from pvae_zoo.screening.reference import Reference, score_names

Array = NDArray[np.float64]

KIND = "pvae-zoo screen"
FORMAT = 1
MOST_BYTES = 64 << 20
MOST_RANKED = 1_000_000
MOST_LATENTS = 4096


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What images are compared with.

    Attributes:
        model: its name.
        model_sha256: of the model's graphs.
        image: shape and levels of the images.
        fit: how the images were prepared.
        version: of pvae-zoo.
        created: when, in ISO 8601.
        fitted: number of images that ``reference`` was fitted on.
        reference: the statistics.
        ranked: strangeness of the other images, sorted, ``(n,)``.
        ranked_without_codec: the same of their scores without a codec, for where there is none.
        most_bits: of a pixel, at the bright end of maps.
    """

    model: str
    model_sha256: str
    image: ImageShape
    fit: Fit
    version: str
    created: str
    fitted: int
    reference: Reference
    ranked: Array
    ranked_without_codec: Array
    most_bits: float

    @property
    def names(self) -> tuple[str, ...]:
        """Of the scores."""
        return self.reference.names

    @property
    def images(self) -> int:
        """How many images it is made of."""
        return self.fitted + len(self.ranked)

    @property
    def digest(self) -> str:
        """SHA-256 of what rows depend on and all else that the file says."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def about(self) -> dict[str, Any]:
        """For the head of a report."""
        about = {"images": self.images, "ranked": len(self.ranked), "created": self.created, "sha256": self.digest}
        return {"calibration": about}

    def line(self) -> str:
        """The same in words."""
        return f"calibrated on {self.images} images, {len(self.ranked)} of them ranked"

    def check_model(self, bundle: Bundle, path: str) -> None:
        """That the calibration is of this model.

        Raises:
            PvaeZooError: if it is of another.
        """
        if self.model_sha256 != bundle.digest:
            raise PvaeZooError(
                f"{path} was made with another model ({shown(self.model)}, {shown(self.model_sha256, 12)}) than "
                f"{bundle.name} ({bundle.digest[:12]}): run pvae-zoo calibrate with this one"
            )
        if self.image != bundle.config.image or len(self.reference.latents) != len(bundle.config.latents):
            raise PvaeZooError(f"{path} is damaged: it states other images than {bundle.name} has: calibrate again")

    def to_json(self) -> str:
        """As the file has it."""
        reference, names = self.reference, self.names
        scores = [
            {"name": name, "middle": middle, "width": width}
            for name, middle, width in zip(names, reference.middle.tolist(), reference.width.tolist(), strict=True)
        ]
        latents = [
            {"points": known.points.tolist(), "precision": known.precision.tolist()} for known in reference.latents
        ]
        values = {
            "kind": KIND,
            "format": FORMAT,
            "model": self.model,
            "model_sha256": self.model_sha256,
            "image": asdict(self.image),
            "fit": asdict(self.fit),
            "version": self.version,
            "created": self.created,
            "images": self.images,
            "fitted": self.fitted,
            "most_bits": self.most_bits,
            "scores": scores,
            "latents": latents,
            "ranked": self.ranked.tolist(),
            "ranked_without_codec": self.ranked_without_codec.tolist(),
        }
        lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in values.items())
        return f"{{\n{lines}\n}}\n"

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        atomic_write(path, self.to_json().encode())


@dataclass(frozen=True, kw_only=True)
class _Score:
    name: str
    middle: float
    width: float


@dataclass(frozen=True, kw_only=True)
class _Latents:
    points: list[list[float]]
    precision: list[list[float]]


@dataclass(frozen=True, kw_only=True)
class _File:
    """The file's own types, for `dacite`."""

    kind: str
    format: int
    model: str
    model_sha256: str
    image: ImageShape
    fit: Fit
    version: str
    created: str
    images: int
    fitted: int
    most_bits: float
    scores: list[_Score]
    latents: list[_Latents]
    ranked: list[float]
    ranked_without_codec: list[float]


def read_calibration(path: Path) -> Calibration:
    """A calibration from its file.

    Raises:
        PvaeZooError: if the file cannot be read, is none, is of another version, or damaged.
    """
    again = "run pvae-zoo calibrate again"
    try:
        with open_regular(path) as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise PvaeZooError(f"cannot read {path}: {error.strerror}: give what pvae-zoo calibrate wrote") from error
    if len(data) > MOST_BYTES:
        raise PvaeZooError(f"{path} has more than {MOST_BYTES >> 20} MiB and is no calibration: {again}")
    try:
        stated = json.loads(data.decode("utf-8"), parse_constant=_no_json)
    except (ValueError, RecursionError) as error:
        raise PvaeZooError(f"{path} is no valid JSON: give what pvae-zoo calibrate wrote") from error
    if not isinstance(stated, dict) or stated.get("kind") != KIND:
        raise PvaeZooError(f"{path} is no calibration: give what pvae-zoo calibrate wrote")
    if stated.get("format") != FORMAT:
        found = shown(stated.get("format"))
        raise PvaeZooError(f"{path} is a calibration of format {found}, and this version reads {FORMAT}: {again}")
    try:
        file_ = dacite.from_dict(_File, _floats(stated), dacite.Config(strict=True))
        _check(file_)
    except (dacite.DaciteError, ArchitectureError, PvaeZooError, ValueError, TypeError, OverflowError) as error:
        raise PvaeZooError(f"{path} is damaged ({shown(error, 120)}): {again}") from error
    reference = Reference(
        tuple(Neighbours(np.array(level.points), np.array(level.precision)) for level in file_.latents),
        np.array([score.middle for score in file_.scores]),
        np.array([score.width for score in file_.scores]),
    )
    plain = ("model", "model_sha256", "image", "fit", "version", "created", "fitted", "most_bits")
    return Calibration(
        **{name: getattr(file_, name) for name in plain},
        reference=reference,
        ranked=np.array(file_.ranked),
        ranked_without_codec=np.array(file_.ranked_without_codec),
    )


def _no_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _floats(stated: Any, depth: int = 0) -> Any:
    """Lists of numbers as lists of floats: JSON writes 1.0 as 1 in other programs."""
    if depth > 4:
        raise ValueError("nested too deeply")
    if isinstance(stated, dict):
        return {key: _floats(value, depth + 1) for key, value in stated.items()}
    if isinstance(stated, list):
        number = (int, float)
        return [
            float(value) if isinstance(value, number) and not isinstance(value, bool) else _floats(value, depth + 1)
            for value in stated
        ]
    return stated


def _check(file: _File) -> None:
    """What types do not say.

    Raises:
        ValueError: saying what is out of bounds.
    """
    for text in (file.model, file.version, file.created):
        _see(0 < len(text) <= 100 and text.isprintable(), "a text is no short line")
    _see(len(file.model_sha256) == 64 and set(file.model_sha256) <= set("0123456789abcdef"), "model_sha256")
    _see(1 <= len(file.latents) <= 2, "the number of levels")
    _see(tuple(score.name for score in file.scores) == score_names(len(file.latents)), "the names of the scores")
    _see(len(file.ranked) == len(file.ranked_without_codec), "two numbers of ranked images")
    _see(1 <= len(file.ranked) <= MOST_RANKED and file.fitted >= 1, "the number of images")
    _see(file.images == file.fitted + len(file.ranked), "the number of images")
    _see(file.fit.binarize is None or 1 <= file.fit.binarize <= 255, "fit.binarize")
    _see(0 < file.most_bits < 1e4, "most_bits")
    for score in file.scores:
        _see(abs(score.middle) < 1e6 and 0 < score.width < 1e6, f"the statistics of {score.name}")
    for ranked in (np.array(file.ranked), np.array(file.ranked_without_codec)):
        _see(bool((ranked >= 0).all() and (np.diff(ranked) >= 0).all()), "ranked scores that are not sorted")
    for level in file.latents:
        size = len(level.precision)
        _see(1 <= size <= MOST_LATENTS, "the number of latents")
        _see(NEAREST < len(level.points) == file.fitted, "the number of points")
        _see(all(len(row) == size for row in level.points), "the size of points")
        _see(all(len(row) == size for row in level.precision), "precision")
        points, precision = np.array(level.points), np.array(level.precision)
        _see(bool((np.abs(points) < 1e9).all() and (np.abs(precision) < 1e15).all()), "latents")
        _see(bool(np.allclose(precision, precision.T, rtol=1e-6, atol=0.0)), "a precision that is not symmetrical")
        _see(bool((np.linalg.eigvalsh(precision) > 0).all()), "a precision that is not positive")


def _see(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(f"out of bounds: {what}")
