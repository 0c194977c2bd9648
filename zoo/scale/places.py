"""Where a task is done, as a value: `Here`, `OneShard` of several machines, or `OnRay`. `run` is the one road to all.

Rows come of `Here`, parts of the others. A part is what any of these machines leaves in the folder that they share;
`pvae_zoo.scale.merge` puts parts together to the rows that `Here` gives.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, overload

from pvae_zoo.base.devices import Device
from pvae_zoo.contract.folder import Bundle
from pvae_zoo.data.images import ImageSource
from pvae_zoo.runtime.model import Model
from pvae_zoo.scale.image_task import ImageTask
from pvae_zoo.scale.shards import Shard
from pvae_zoo.scale.tasks import ItemT, Part, RowT_co, Task, Watch


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The model that does it, opened by whoever works.

    Attributes:
        name: that other machines open ``bundle`` by.
        bundle: admitted by the caller.
        device: of each worker.
        threads: of each worker; all cores here, one on Ray unless given.
    """

    name: str
    bundle: Bundle
    device: Device = "auto"
    threads: int | None = None

    @cached_property
    def model(self) -> Model:
        """Opened in this process.

        Raises:
            PvaeZooError: if onnxruntime or the device is missing.
        """
        return Model(self.bundle, self.device, self.threads)


@dataclass(frozen=True)
class Here:
    """All of it, in this process."""


@dataclass(frozen=True)
class OneShard:
    """One piece of it, in this process, left in ``folder``."""

    shard: Shard
    folder: Path


@dataclass(frozen=True, kw_only=True)
class OnRay:
    """All of it, on a cluster: see `pvae_zoo.scale.ray_parts`.

    Attributes:
        folder: gets the parts; all nodes share it.
        address: of a running cluster, "auto" for the one that this machine is a node of; None starts one here.
        workers: processes, each of which opens the model once, on ``Chosen.threads`` cores or one GPU.
        per_part: images in a part.
    """

    folder: Path
    address: str | None = None
    workers: int = 1
    per_part: int = 1000


Parted = OneShard | OnRay
Place = Here | Parted


@overload
def run(
    task: Task[ItemT, RowT_co], chosen: Chosen, items: Sequence[ItemT], place: Here, watch: Watch = ...
) -> Generator[RowT_co, None, None]: ...


@overload
def run(
    task: ImageTask[Any], chosen: Chosen, items: Sequence[ImageSource], place: Parted, watch: Watch = ...
) -> Generator[Part, None, None]: ...


@overload
def run(
    task: Task[ItemT, Any], chosen: Chosen, items: Sequence[ItemT], place: OneShard, watch: Watch = ...
) -> Generator[Part, None, None]: ...


def run(
    task: Any,
    chosen: Chosen,
    items: Sequence[Any],
    place: Place,
    watch: Watch = Watch(),  # noqa: B008
) -> Generator[Any, None, None]:
    """Do a task to items: what comes of it, as it is done.

    Args:
        task: what.
        chosen: by which model.
        items: to what, all of them, wherever they are done.
        place: where.
        watch: told how far it is; ends the work by raising.

    Yields:
        A row for each item in their order, of `Here`; else a part for each shard, those first that were there before.

    Raises:
        PvaeZooError: if a part of another run is in the way, the folder cannot be written, or Ray is missing.
    """
    if isinstance(place, Here):
        watch = watch.of(len(items))
        yield from watch.counted(task.rows(chosen.model, items, watch))
    elif isinstance(place, OneShard):
        yield task.part(chosen.model, items, place.shard, place.folder, watch)
    else:
        from pvae_zoo.scale.ray_parts import parts_on_ray

        yield from parts_on_ray(task, chosen, items, place, watch)
