"""What a part file holds the scores of: its first line, and what may not differ between the parts of one run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import dacite

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.scale.shards import Shard

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Header:
    """The images and options of a part.

    Attributes:
        model_sha256: of the bundle's graphs.
        levels: of latents, for the columns of the table.
        sources: images of all shards together.
        sources_sha256: of the names of all images, so that no shard is of another list.
        version: of pvae-zoo.
    """

    format: int = FORMAT
    model: str
    model_sha256: str
    levels: int
    samples: int
    seed: int
    resize: bool
    binarize: int | None
    convert: bool
    enlarge: bool = False
    invert: bool = False
    prepare: bool = False
    shard: int
    shards: int
    sources: int
    sources_sha256: str
    provider: str
    version: str

    @property
    def block(self) -> range:
        """Indices of this part's images."""
        return Shard(self.shard, self.shards).block(self.sources)

    def difference(self, other: Header) -> str | None:
        """The first field in which another header differs but the shard, with both values; None if there is none."""
        for name, mine in asdict(self).items():
            theirs = getattr(other, name)
            if name != "shard" and mine != theirs:
                return f"{_FIELD_NAMES.get(name, name)} {theirs} there and {mine} here"
        return None


_FIELD_NAMES = {
    "model_sha256": "the model has the hash",
    "sources": "the images number",
    "sources_sha256": "the names of the images have the hash",
}


def names_digest(names: Sequence[str]) -> str:
    """SHA-256 of a list of names; none of them holds a line break (see `pvae_zoo.data.images.ImageSource`)."""
    digest = sha256()
    for name in names:
        digest.update(name.encode() + b"\n")
    return digest.hexdigest()


def parse_header(path: Path, line: bytes) -> Header:
    """The first line of a part.

    Raises:
        PvaeZooError: if it is none.
    """
    try:
        header = dacite.from_dict(Header, json.loads(line), dacite.Config(strict=True))
    except (ValueError, TypeError, AttributeError, dacite.DaciteError):
        header = None
    if header is None or header.format != FORMAT:
        raise PvaeZooError(f"{path} is no part of scores that this version reads: delete it and score its shard again")
    return header


def read_header(path: Path) -> Header:
    """The first line of the part in a file.

    Raises:
        PvaeZooError: if it cannot be read or is none.
    """
    try:
        with path.open("rb") as file:
            return parse_header(path, file.readline())
    except OSError as error:
        raise PvaeZooError(f"cannot read {path}: {error.strerror}") from error


def check_same(path: Path, found: Header, wanted: Header) -> None:
    """That a part which is there is the one that is asked for.

    Raises:
        PvaeZooError: if it is not, with both values of what differs.
    """
    difference = wanted.difference(found)
    if difference is not None:
        raise PvaeZooError(f"{path} is of another run, {difference}: choose another --out or delete it")
