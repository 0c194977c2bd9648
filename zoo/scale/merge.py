"""Putting parts together: are all there, whole and of one run?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Generic

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.scale.headers import HeaderT, RowT, check_same, read_header
from pvae_zoo.scale.parts import read_rows
from pvae_zoo.scale.shards import Shard

SHOWN = 8
"""Missing shards that are named."""


class Parts(Generic[HeaderT, RowT]):
    """The parts of a kind in a folder, all of them whole; a row at a time is in memory.

    Args:
        folder: has the parts of one run.
        kind: of their first lines, whose rows are ``RowT``.

    Attributes:
        headers: the first lines of all parts; they differ in `Header.shard` alone.

    Raises:
        PvaeZooError: if one is missing, damaged or of another run, with the command that makes it.
    """

    def __init__(self, folder: Path, kind: type[HeaderT]) -> None:
        self._kind: Any = kind
        self._paths = complete_set(folder, kind.prefix, ".jsonl", kind.command)
        self.headers = [read_header(path, kind) for path in self._paths]
        for number, (path, header) in enumerate(zip(self._paths, self.headers, strict=True), start=1):
            check_same(path, header, self.headers[0])
            if (header.shard, header.shards) != (number, len(self._paths)):
                raise PvaeZooError(f"{path} holds shard {header.shard}/{header.shards}: give it its own name again")
            for _ in read_rows(path, self._kind):  # all of it before anything is printed
                pass

    @property
    def header(self) -> HeaderT:
        """What all parts have in common (`Header.shard` is that of the first)."""
        return self.headers[0]

    def rows(self) -> Iterator[RowT]:
        """The rows of all images in their order."""
        for path in self._paths:
            yield from read_rows(path, self._kind)


def part_names(folder: Path, prefix: str, suffix: str = ".jsonl") -> dict[Path, Shard]:
    """The complete parts in a folder, in the order of their names.

    Raises:
        PvaeZooError: if the folder cannot be read.
    """
    pattern = re.compile(rf"{prefix}-([0-9]{{4}})-of-([0-9]{{4}}){re.escape(suffix)}")
    try:
        found = [(path, pattern.fullmatch(path.name)) for path in sorted(folder.iterdir())]
    except OSError as error:
        raise PvaeZooError(f"cannot look into {folder}: {error.strerror}") from error
    return {path: Shard(int(match[1]), int(match[2])) for path, match in found if match}


def complete_set(folder: Path, prefix: str, suffix: str, command: str) -> list[Path]:
    """The parts of all shards, in their order.

    Raises:
        PvaeZooError: if some are missing, or shards of different counts are mixed.
    """
    found = part_names(folder, prefix, suffix)
    counts = sorted({shard.of for shard in found.values()})
    if len(counts) > 1:
        raise PvaeZooError(f"{folder} holds parts of {counts[0]} and of {counts[1]} shards: delete those not meant")
    (of,) = counts
    paths = [folder / f"{prefix}-{Shard(number, of).name}{suffix}" for number in range(1, of + 1)]
    missing = [number for number, path in enumerate(paths, start=1) if path not in found]
    if missing:
        named = ", ".join(f"--shard {number}/{of}" for number in missing[:SHOWN])
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        raise PvaeZooError(
            f"{folder} lacks {len(missing)} of {of} parts: run the same pvae-zoo {command} with {named}{more}"
        )
    return paths
