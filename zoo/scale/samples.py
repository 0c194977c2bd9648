"""What a run of ``sample`` draws, and the manifest that says what the files of one shard hold.

``samples-0003-of-0008.json`` is written when all files of the shard are there; it has their hashes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from hashlib import file_digest
from pathlib import Path
from typing import Any

import dacite

from pvae_zoo import __version__
from pvae_zoo.base.atomic import atomic_write
from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.runtime.model import Model
from pvae_zoo.runtime.pictures import file_name
from pvae_zoo.scale.merge import complete_set
from pvae_zoo.scale.shards import Shard

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class SampleRun:
    """What a run draws: the same for all shards."""

    model: str
    model_sha256: str
    n: int
    seed: int
    temperature: float
    latent_temperature: float
    provider: str
    version: str

    @classmethod
    def of(cls, model: Model, **noise: Any) -> SampleRun:
        """What a model draws from this noise: ``n``, ``seed`` and both temperatures."""
        digest = model.bundle.digest
        return cls(model=model.name, model_sha256=digest, provider=model.provider, version=__version__, **noise)

    def notes(self) -> dict[str, str]:
        """As a picture notes it."""
        values = {field.name: getattr(self, field.name) for field in fields(SampleRun)}
        return {name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in values.items()}

    def difference(self, notes: Mapping[str, str]) -> str | None:
        """The first of `notes` that others do not have, with both values; None if there is none."""
        for name, mine in self.notes().items():
            theirs = notes.get(name, "unknown")
            if mine != theirs:
                return f"{name} {theirs} there and {mine} here"
        return None

    def check(self, path: Path, notes: Mapping[str, str]) -> None:
        """That a file which is there is of this run.

        Raises:
            PvaeZooError: if it is not, with both values of what differs.
        """
        difference = self.difference(notes)
        if difference is not None:
            raise PvaeZooError(f"{path} is of another run, {difference}: choose another --out or delete it")


@dataclass(frozen=True, kw_only=True)
class Manifest(SampleRun):
    """What is in the files of one shard: their SHA-256 by name, in the order of the images."""

    format: int = FORMAT
    shard: int
    shards: int
    files: dict[str, str]


def manifest_path(folder: Path, shard: Shard) -> Path:
    return folder / f"samples-{shard.name}.json"


def read_manifest(path: Path) -> Manifest:
    """A shard's manifest.

    Raises:
        PvaeZooError: if it is none.
    """
    try:
        manifest = dacite.from_dict(Manifest, json.loads(path.read_bytes()), dacite.Config(strict=True))
    except OSError as error:
        raise PvaeZooError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, TypeError, AttributeError, dacite.DaciteError) as error:
        raise PvaeZooError(f"{path} is no manifest of samples: delete it and draw its shard again") from error
    if manifest.format != FORMAT:
        raise PvaeZooError(f"{path} has format {manifest.format}; this version reads format {FORMAT}")
    return manifest


def write_manifest(path: Path, manifest: Manifest) -> None:
    atomic_write(path, (json.dumps(asdict(manifest), indent=1) + "\n").encode())


def check_samples(folder: Path) -> Manifest:
    """See that all shards are there and every file holds what its manifest says.

    Returns:
        The manifest of the first shard.

    Raises:
        PvaeZooError: if not, naming the shard to draw again.
    """
    first: Manifest | None = None
    for number, path in enumerate(paths := complete_set(folder, "samples", ".json", "sample"), start=1):
        manifest, shard = read_manifest(path), Shard(number, len(paths))
        first = first or manifest
        first.check(path, manifest.notes())
        again = f"run --shard {shard} again"
        if list(manifest.files) != [file_name(index) for index in shard.block(manifest.n)]:
            raise PvaeZooError(f"{path} does not list the images of its shard: delete it and {again}")
        for name, digest in manifest.files.items():
            try:
                same = file_digest_of(folder / name) == digest
            except OSError as error:
                raise PvaeZooError(f"cannot read {folder / name} ({error.strerror}): {again}") from error
            if not same:
                raise PvaeZooError(f"{folder / name} is not what was drawn: {again}")
    assert first is not None  # a set has a part
    return first


def file_digest_of(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
