"""Image tasks on a cluster with Ray Data: every piece is one shard, and leaves the part that ``--shard`` would.

Ray only says who does which shard, and on which GPU: with ``--device cuda`` each worker has one of its own, with
``auto`` it works on the CPU. What is done is written in the folder of parts, which all nodes must share, so that a run
that was stopped is gone on with by the same command, and merged like any other. Ray Data starts a worker that died
again and gives it the same shard, as often as it takes; what was on the disk of the shard is not done twice.
"""

from __future__ import annotations

import logging
import math
import os
import platform
import socket
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pvae_zoo.base.devices import Device, device_parts
from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.base.interrupts import prompt_stop
from pvae_zoo.data.images import ImageSource
from pvae_zoo.runtime.model import Model
from pvae_zoo.runtime.sessions import cores
from pvae_zoo.scale.headers import Header, check_same, read_header
from pvae_zoo.scale.image_task import ImageTask
from pvae_zoo.scale.merge import part_names
from pvae_zoo.scale.packing import packed, unpacked
from pvae_zoo.scale.parts import whole_part
from pvae_zoo.scale.places import Chosen, OnRay
from pvae_zoo.scale.shards import MAX_SHARDS, Shard
from pvae_zoo.scale.tasks import Part, Watch
from pvae_zoo.sources.names import FolderName
from pvae_zoo.sources.registry import identify, open_bundle

MISSING = 'Ray is not installed: run pip install "pvae-zoo[ray]"'

_PATIENCE = 10.0
"""Seconds that a cluster may take to answer at all."""

_OBJECT_STORE = 128 << 20
_NOT_FOR_WORKERS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "GLIBC_TUNABLES")
_PREFIXES_NOT_FOR_WORKERS = ("MALLOC_", "TORCHELASTIC_")


def parts_on_ray(
    task: ImageTask[Any], chosen: Chosen, sources: Sequence[ImageSource], place: OnRay, watch: Watch
) -> Generator[Part, None, None]:
    """Do a task in shards of about ``place.per_part`` images, leaving out those whose parts are whole.

    Args:
        task: what is done.
        chosen: opened by its name on every node, where a folder must be; a worker that finds other graphs refuses.
        sources: from `pvae_zoo.data.images.find_images`; their files must be there on every node.
        place: who works.
        watch: told of every part.

    Yields:
        The parts, those first that were there.

    Raises:
        PvaeZooError: if Ray is missing or has too few GPUs, the device has a number, a part of another run is in the
            way, or a shard failed for good.
    """
    check_device(chosen.device)
    shards, folder = min(MAX_SHARDS, math.ceil(len(sources) / place.per_part)), place.folder
    header = task.header(chosen.bundle, "", sources, Shard(1, shards))
    before, pending = _there(folder, header)
    yield from before
    watch = watch.of(len(sources), before=sum(part.count for part in before))
    watch.at(0)
    if not pending:
        return
    device = "cpu" if chosen.device == "auto" else chosen.device  # a GPU that Ray was not asked for is another's
    job = Job(_everywhere(chosen.name), header, task, folder.resolve(), device, chosen.threads or 1)
    blocks = [Shard(number, shards).block(len(sources)) for number in pending]
    items = [
        {"shard": number, "sources": packed(sources[block.start : block.stop])}
        for number, block in zip(pending, blocks, strict=True)
    ]
    done = 0
    for row in _mapped(items, job, place):
        if row["error"]:
            raise PvaeZooError(row["error"])
        done += row["count"]
        yield Part(path=header.path_of(folder, Shard(row["shard"], shards)), count=row["count"], failed=row["failed"])
        watch.at(done)


def check_device(device: Device) -> None:
    """Refuse a GPU's number: Ray gives every worker GPUs of its own and shows it no others, so that its first is cuda.

    Raises:
        PvaeZooError: if there is one.
    """
    if ":" in device:
        raise PvaeZooError(f"--device {device} with --ray: Ray gives each worker a GPU of its own: use --device cuda")


def resources(device: Device, threads: int) -> dict[str, int]:
    """What Ray is asked for a worker: its cores, and with "cuda" a whole GPU, which it then sees alone."""
    return {"num_cpus": threads, "num_gpus": int(device_parts(device)[0] == "cuda")}


def _check_gpus(there: float, wanted: int) -> None:
    """Ray would wait without an end for a GPU that no node has."""
    if there < wanted:
        raise PvaeZooError(
            f"--device cuda: {wanted} worker{'s' * (wanted > 1)} would take a GPU each, and Ray has {there:g}: "
            "use fewer --workers, or --device cpu"
        )


def _there(folder: Path, header: Header[Any]) -> tuple[list[Part], list[int]]:
    """The parts that are whole, and the numbers of the others.

    Raises:
        PvaeZooError: if one is of another run.
    """
    mixed = [shard.of for shard in part_names(folder, header.prefix).values()] if folder.is_dir() else []
    if any(of != header.shards for of in mixed):
        raise PvaeZooError(
            f"{folder} holds parts of {mixed[0]} shards, this run has {header.shards}: choose another --out"
        )
    whole, missing = [], []
    for number in range(1, header.shards + 1):
        path = header.path_of(folder, Shard(number, header.shards))
        if path.exists():
            found = read_header(path, type(header))
            check_same(path, found, replace(header, provider=found.provider))
            whole.append(whole_part(path, type(header)))
        else:
            missing.append(number)
    return whole, missing


@dataclass(frozen=True)
class Job:
    """What a worker is told once."""

    model: str
    header: Header[Any]
    task: ImageTask[Any]
    folder: Path
    device: Device
    threads: int


class Worker:
    """Opens the model when its first shard comes and writes a part for every shard."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._runtime: Model | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """A user's mistake is a result: an exception would be tried again."""
        results: list[dict[str, Any]] = []
        for shard, text in zip(batch["shard"], batch["sources"], strict=True):
            result = {"shard": int(shard), "count": 0, "failed": 0, "error": ""}
            try:
                part = self._part(int(shard), str(text))
                result |= {"count": part.count, "failed": part.failed}
            except PvaeZooError as error:
                result["error"] = str(error)
            results.append(result)
        return {name: [result[name] for result in results] for name in results[0]}

    def _part(self, number: int, text: str) -> Part:
        runtime = self._model()
        header = replace(self.job.header, shard=number, provider=runtime.provider)
        return self.job.task.write(runtime, header, unpacked(text), self.job.folder, Watch())

    def _model(self) -> Model:
        if self._runtime is None:
            bundle = open_bundle(self.job.model)
            if bundle.digest != self.job.header.model_sha256:
                raise PvaeZooError(f"{self.job.model} is another model on node {platform.node()}: copy it there")
            self._runtime = Model(bundle, self.job.device, self.job.threads)
        return self._runtime


def _mapped(items: list[dict[str, Any]], job: Job, place: OnRay) -> Iterator[dict[str, Any]]:
    """The workers' results, as they come."""
    with _connected(place, job.threads) as (ray, check):
        asked = resources(job.device, job.threads)
        _check_gpus(ray.cluster_resources().get("GPU", 0), asked["num_gpus"] * place.workers)
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        mapped = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
            Worker,
            fn_constructor_kwargs={"job": job},
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=place.workers),
            **asked,
        )
        try:
            for row in mapped.iter_rows():
                check()
                yield row
        except ray.exceptions.RayError as error:
            reason = str(error).strip().splitlines()[-1]
            raise PvaeZooError(f"Ray gave up ({reason}): the same command goes on with what is missing") from error


@contextmanager
def _connected(place: OnRay, threads: int) -> Iterator[Any]:
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal", "RAY_DEDUP_LOGS": "0"}
    for name, value in quiet.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise PvaeZooError(MISSING) from error
    _check_answers(place.address)
    options: dict[str, Any] = {"address": place.address or "local"}
    if place.address is None:
        # Logical CPUs, more than the workers take: Ray Data's own tasks starve without one.
        options["num_cpus"] = max(4, cores(), place.workers * threads + 2)
        options |= {"include_dashboard": False, "object_store_memory": _OBJECT_STORE}
    try:
        with _training_hidden():
            ray.init(**options, logging_level=logging.ERROR, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        where = f"no cluster at {place.address}" if place.address else "Ray does not start here"
        raise PvaeZooError(f"{where}: {str(error).strip().splitlines()[0]}") from error
    try:
        # Ray has put its own handler of SIGTERM in place, and prints on standard output when a worker dies.
        with prompt_stop() as check, redirect_stdout(sys.stderr):
            yield ray, check
    finally:
        ray.shutdown()


def _check_answers(address: str | None) -> None:
    """Ray itself would try an address where nobody answers for minutes, and log each try."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():
        return  # here, or "auto": Ray knows
    try:
        socket.create_connection((host, int(port)), _PATIENCE).close()
    except (OSError, OverflowError, UnicodeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise PvaeZooError(f"no cluster at {address}: {reason}: start Ray there, or check --ray-address") from error


@contextmanager
def _training_hidden() -> Iterator[None]:
    """Workers inherit the environment that Ray starts in: what was set for training is not meant for them."""
    hidden = {
        name: os.environ.pop(name)
        for name in list(os.environ)
        if name in _NOT_FOR_WORKERS or name.startswith(_PREFIXES_NOT_FOR_WORKERS)
    }
    try:
        yield
    finally:
        os.environ.update(hidden)


def _everywhere(model: str) -> str:
    """A name as another process, in another folder, may open it."""
    meant = identify(model)
    return str(meant.folder.resolve()) if isinstance(meant, FolderName) else model
