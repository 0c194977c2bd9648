"""Tasks whose items are image files and whose parts are files of rows (`pvae_zoo.scale.parts`): scoring, screening."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

from pvae_zoo import __version__
from pvae_zoo.contract.folder import Bundle
from pvae_zoo.data.images import ImageSource
from pvae_zoo.runtime.model import Model
from pvae_zoo.scale.headers import Header, RowT, names_digest
from pvae_zoo.scale.parts import write_part
from pvae_zoo.scale.shards import Shard
from pvae_zoo.scale.tasks import Part, Watch


@dataclass(frozen=True, kw_only=True)
class ImageTask(ABC, Generic[RowT]):
    """What is done to image files, here, shard by shard or on Ray.

    Attributes:
        batch_size: images in memory at once, and rows that are put on the disk at once; it changes no row. By itself
            `Model.nll_batch`.
    """

    batch_size: int | None = None

    @abstractmethod
    def rows(self, model: Model, items: Sequence[ImageSource], watch: Watch) -> Iterator[RowT]:
        """See `pvae_zoo.scale.tasks.Task.rows`."""

    @abstractmethod
    def header(self, bundle: Bundle, provider: str, sources: Sequence[ImageSource], shard: Shard) -> Header[RowT]:
        """What the part of a shard of ``sources``, all of them, begins with: `stated` and the task's own options."""

    def part(self, model: Model, items: Sequence[ImageSource], shard: Shard, folder: Path, watch: Watch) -> Part:
        """See `pvae_zoo.scale.tasks.Task.part`."""
        header = self.header(model.bundle, model.provider, items, shard)
        block = header.block
        return self.write(model, header, items[block.start : block.stop], folder, watch)

    def write(
        self, model: Model, header: Header[RowT], sources: Sequence[ImageSource], folder: Path, watch: Watch
    ) -> Part:
        """Write a part, or what is missing of it.

        Args:
            model: the one that ``header`` names.
            header: from `header`.
            sources: the images of the shard, ``header.block`` of all.
            folder: where parts are written; all machines that share the work share it.
            watch: told of the rows that are on the disk.

        Raises:
            PvaeZooError: if a part of another run is in the way, or the folder cannot be written.
        """
        watch = watch.of(len(sources))

        def missing(done: int) -> Iterator[RowT]:
            return self.rows(model, sources[done:], watch.of(len(sources), before=done))

        batch_size = self.batch_size or model.nll_batch
        return write_part(folder, header, missing, batch_size=batch_size, progress=watch.at)


def stated(bundle: Bundle, provider: str, sources: Sequence[ImageSource], shard: Shard) -> dict[str, Any]:
    """The fields of a `Header` that are no options of the task."""
    return {
        "model": bundle.name,
        "model_sha256": bundle.digest,
        "shard": shard.number,
        "shards": shard.of,
        "sources": len(sources),
        "sources_sha256": names_digest([source.name for source in sources]),
        "provider": provider,
        "version": __version__,
    }
