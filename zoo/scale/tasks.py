"""What is done to many images, as a value: `Task`. Where it is done is another one, see `pvae_zoo.scale.places`.

    task = Scoring(samples=64, seed=1)
    for row in run(task, chosen, sources, Here()):
        print(row.path, row.figures)
    for part in run(task, chosen, sources, OneShard(Shard(3, 8), Path("parts"))):
        print(part.path, part.count)

A task makes rows, one for each item and in their order; a row depends on its item alone, so that work may be cut
anywhere. What is left of a shard is a part: see `pvae_zoo.scale.image_task` for tasks whose items are image files and
whose parts are files of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pvae_zoo.runtime.model import Model
from pvae_zoo.scale.shards import Shard

ItemT = TypeVar("ItemT")
ItemT_contra = TypeVar("ItemT_contra", contravariant=True)
RowT_co = TypeVar("RowT_co", covariant=True)


@dataclass(frozen=True)
class Watch:
    """Who is told how far the work is, and may stop it.

    Attributes:
        progress: called with (items done, items in all).
        check: raises what ends the work; called between rows, and by tasks that take long over one, within it.
        before: items that were done when this piece of the work began.
        total: items in all.
    """

    progress: Callable[[int, int], None] = lambda done, total: None
    check: Callable[[], None] = lambda: None
    before: int = 0
    total: int = 0

    def at(self, done: int) -> None:
        """Tell how many items of this piece are done, and stop if that is wanted."""
        self.progress(self.before + done, self.total)
        self.check()

    def of(self, total: int, before: int = 0) -> Watch:
        """The same for a piece of ``total`` items, ``before`` of them done."""
        return replace(self, total=total, before=before)

    def counted(self, rows: Iterable[ItemT]) -> Iterator[ItemT]:
        """The rows as they come, told of one by one."""
        for done, row in enumerate(rows, start=1):
            yield row
            self.at(done)


class Row(Protocol):
    """What became of one image: a line of a report and of a part."""

    @property
    def failed(self) -> bool:
        """Whether the image could not be used; its line says why."""

    def as_dict(self) -> dict[str, Any]:
        """The line, in what JSON has."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What is left of a shard that is whole.

    Attributes:
        path: its file.
        count: items in it.
        failed: those of them that could not be used.
        kept: items that were done before.
        was_there: it was whole before.
    """

    path: Path
    count: int
    failed: int = 0
    kept: int = 0
    was_there: bool = False


class Task(Protocol[ItemT_contra, RowT_co]):
    """What is done to each of many items. A frozen dataclass of plain values: it travels to other machines."""

    def rows(self, model: Model, items: Sequence[ItemT_contra], watch: Watch) -> Iterator[RowT_co]:
        """A row for every item, in their order, in the memory of a slice of them.

        Args:
            model: does it.
            items: any number; nothing of them is opened before its row is made.
            watch: its ``check`` goes into whatever takes more than a second; rows are counted by the caller.
        """

    def part(self, model: Model, items: Sequence[ItemT_contra], shard: Shard, folder: Path, watch: Watch) -> Part:
        """Do what is missing of a shard of ``items``, all of them, and leave its part in ``folder``.

        Raises:
            PvaeZooError: if a part of another run is in the way, or the folder cannot be written.
        """
