"""What a part file holds the rows of: its first line, and what may not differ between the parts of one run."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import dacite

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.scale.shards import Shard
from pvae_zoo.scale.tasks import Row

FORMAT = 1

RowT = TypeVar("RowT", bound=Row)
HeaderT = TypeVar("HeaderT", bound="Header[Any]")


@dataclass(frozen=True, kw_only=True)
class Header(ABC, Generic[RowT]):
    """The images and options of a part; a task adds the options that its rows depend on.

    Attributes:
        model_sha256: of the bundle's graphs.
        sources: images of all shards together.
        sources_sha256: of the names of all images, so that no shard is of another list.
        version: of pvae-zoo.
    """

    prefix: ClassVar[str]
    """Of the names of parts, which tells the kinds apart: ``part-0003-of-0008.jsonl``."""

    command: ClassVar[str]
    """That makes such parts."""

    format: int = FORMAT
    model: str
    model_sha256: str
    shard: int
    shards: int
    sources: int
    sources_sha256: str
    provider: str
    version: str

    @classmethod
    @abstractmethod
    def row(cls, data: dict[str, Any]) -> RowT:
        """The row whose ``as_dict`` gave this.

        Raises:
            KeyError, TypeError: if it is none.
        """

    @property
    def block(self) -> range:
        """Indices of this part's images."""
        return Shard(self.shard, self.shards).block(self.sources)

    def path(self, folder: Path) -> Path:
        """Where the part belongs."""
        return self.path_of(folder, Shard(self.shard, self.shards))

    @classmethod
    def path_of(cls, folder: Path, shard: Shard) -> Path:
        """Where the part of a shard belongs."""
        return folder / f"{cls.prefix}-{shard.name}.jsonl"

    def as_dict(self) -> dict[str, Any]:
        """As the first line has it: the model, the task's own options, then which images and what scored them."""
        values = asdict(self)
        first = {name: values.pop(name) for name in ("format", "model", "model_sha256")}
        last = {name: values.pop(name) for name in _LAST}
        return first | values | last

    def difference(self, other: Header[Any]) -> str | None:
        """The first field in which another header differs but the shard, with both values; None if there is none."""
        for name, mine in self.as_dict().items():
            theirs = getattr(other, name)
            if name != "shard" and mine != theirs:
                return f"{_FIELD_NAMES.get(name, name)} {theirs} there and {mine} here"
        return None


_LAST = ("shard", "shards", "sources", "sources_sha256", "provider", "version")
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


def parse_header(path: Path, line: bytes, kind: type[HeaderT]) -> HeaderT:
    """The first line of a part of a kind.

    Raises:
        PvaeZooError: if it is none.
    """
    try:
        header = dacite.from_dict(kind, json.loads(line), dacite.Config(strict=True))
    except (ValueError, TypeError, AttributeError, dacite.DaciteError):
        header = None
    if header is None or header.format != FORMAT:
        raise PvaeZooError(f"{path} is no part of scores that this version reads: delete it and score its shard again")
    return header


def read_header(path: Path, kind: type[HeaderT]) -> HeaderT:
    """The first line of the part in a file.

    Raises:
        PvaeZooError: if it cannot be read or is none.
    """
    try:
        with path.open("rb") as file:
            return parse_header(path, file.readline(), kind)
    except OSError as error:
        raise PvaeZooError(f"cannot read {path}: {error.strerror}") from error


def check_same(path: Path, found: Header[Any], wanted: Header[Any]) -> None:
    """That a part which is there is the one that is asked for.

    Raises:
        PvaeZooError: if it is not, with both values of what differs.
    """
    difference = wanted.difference(found)
    if difference is not None:
        raise PvaeZooError(f"{path} is of another run, {difference}: choose another --out or delete it")
