"""Scoring on a cluster with Ray Data: every task is one shard, and leaves the part that `nll --shard` would.

Ray only says who does which shard. What is done is written in the folder of parts, which all nodes must share, so that
a run that was stopped is gone on with by the same command, and merged like any other. Ray Data starts a worker that
died again and gives it the same shard, as often as it takes; what was on the disk of the shard is not scored twice.
"""

from __future__ import annotations

import json
import logging
import math
import os
import platform
import socket
import sys
import zipfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.base.interrupts import prompt_stop
from pvae_zoo.contract.folder import Bundle
from pvae_zoo.data.fit import Fit
from pvae_zoo.data.images import ImageSource
from pvae_zoo.runtime.model import Model
from pvae_zoo.runtime.sessions import Device, cores
from pvae_zoo.scale.headers import Header, check_same, read_header
from pvae_zoo.scale.merge import part_names
from pvae_zoo.scale.parts import Part, part_path, read_rows
from pvae_zoo.scale.shard_scoring import Scoring, header_of, score_part
from pvae_zoo.scale.shards import MAX_SHARDS, Shard
from pvae_zoo.sources.names import FolderName
from pvae_zoo.sources.registry import identify, open_bundle

MISSING = 'Ray is not installed: run pip install "pvae-zoo[ray]"'

_PATIENCE = 10.0
"""Seconds that a cluster may take to answer at all."""

_OBJECT_STORE = 128 << 20
_NOT_FOR_WORKERS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "GLIBC_TUNABLES")
_PREFIXES_NOT_FOR_WORKERS = ("MALLOC_", "TORCHELASTIC_")


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Where and on how much to score.

    Attributes:
        address: of a running cluster, "auto" for the one that this machine is a node of; None starts one here.
        workers: processes, each of which opens the model once.
        threads: cores of a worker.
        device: "cpu", "cuda" (one GPU a worker) or "auto" (the CPU unless a worker sees CUDA by itself).
    """

    address: str | None = None
    workers: int = 1
    threads: int = 1
    device: Device = "auto"


@dataclass(frozen=True)
class Tally:
    """How far it is: images done and failed, parts in all."""

    done: int
    failed: int
    shards: int


def score_on_ray(
    model: str,
    bundle: Bundle,
    sources: Sequence[ImageSource],
    scoring: Scoring,
    folder: Path,
    cluster: Cluster,
    *,
    per_part: int,
) -> Generator[Tally, None, None]:
    """Score images in shards of about ``per_part``, leaving out those whose parts are whole.

    Args:
        model: the name that the workers open ``bundle`` by; a folder must be there on every node.
        bundle: admitted by the caller; a worker that finds other graphs under the name refuses.
        sources: from `pvae_zoo.data.images.find_images`; their files must be there on every node.
        scoring: the options.
        folder: gets the parts; all nodes share it.
        cluster: who works.
        per_part: images in a part.

    Yields:
        How far it is, after the parts that were there and after every further one.

    Raises:
        PvaeZooError: if Ray is missing, a part of another run is in the way, or a shard failed for good.
    """
    shards = min(MAX_SHARDS, math.ceil(len(sources) / per_part))
    header = header_of(bundle, "", sources, scoring, Shard(1, shards))
    mixed = [shard.of for shard in part_names(folder, "part", ".jsonl").values()] if folder.is_dir() else []
    if any(of != shards for of in mixed):
        raise PvaeZooError(f"{folder} holds parts of {mixed[0]} shards, this run has {shards}: choose another --out")
    pending, tally = [], Tally(0, 0, shards)
    for number in range(1, shards + 1):
        path = part_path(folder, Shard(number, shards))
        if path.exists():
            found = read_header(path)
            check_same(path, found, replace(header, provider=found.provider))
            failed = sum(row.figures is None for row in read_rows(path))
            tally = Tally(tally.done + len(found.block), tally.failed + failed, shards)
        else:
            pending.append(number)
    yield tally
    if not pending:
        return
    job = Job(
        _everywhere(model), asdict(header), asdict(scoring), str(folder.resolve()), cluster.device, cluster.threads
    )
    blocks = [Shard(number, shards).block(len(sources)) for number in pending]
    items = [
        {"shard": number, "sources": _packed(sources[block.start : block.stop])}
        for number, block in zip(pending, blocks, strict=True)
    ]
    for row in _mapped(items, job, cluster):
        if row["error"]:
            raise PvaeZooError(row["error"])
        tally = Tally(tally.done + row["count"], tally.failed + row["failed"], shards)
        yield tally


@dataclass(frozen=True)
class Job:
    """What a worker is told once, as plain values."""

    model: str
    header: dict[str, Any]
    scoring: dict[str, Any]
    folder: str
    device: Device
    threads: int


class Scorer:
    """A worker: opens the model when its first shard comes and writes a part for every shard."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._runtime: Model | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """A user's mistake is a result: an exception would be tried again."""
        results = []
        for shard, packed in zip(batch["shard"], batch["sources"], strict=True):
            try:
                part = self._score(int(shard), str(packed))
                results.append({"count": part.count, "failed": part.failed, "error": ""})
            except PvaeZooError as error:
                results.append({"count": 0, "failed": 0, "error": str(error)})
        return {name: [result[name] for result in results] for name in ("count", "failed", "error")}

    def _score(self, number: int, packed: str) -> Part:
        header, runtime = Header(**self.job.header), self._model()
        header = replace(header, shard=number, provider=runtime.provider)
        scoring = Scoring(**self.job.scoring | {"fit": Fit(**self.job.scoring["fit"])})
        return score_part(runtime, header, _unpacked(packed), scoring, Path(self.job.folder))

    def _model(self) -> Model:
        if self._runtime is None:
            bundle = open_bundle(self.job.model)
            if bundle.digest != self.job.header["model_sha256"]:
                raise PvaeZooError(f"{self.job.model} is another model on node {platform.node()}: copy it there")
            self._runtime = Model(bundle, self.job.device, self.job.threads)
        return self._runtime


def _mapped(items: list[dict[str, Any]], job: Job, cluster: Cluster) -> Iterator[dict[str, Any]]:
    """The workers' results, as they come."""
    with _connected(cluster) as (ray, check):
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        mapped = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
            Scorer,
            fn_constructor_kwargs={"job": job},
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=cluster.workers),
            num_cpus=cluster.threads,
            num_gpus=1 if cluster.device == "cuda" else 0,
        )
        try:
            for row in mapped.iter_rows():
                check()
                yield row
        except ray.exceptions.RayError as error:
            reason = str(error).strip().splitlines()[-1]
            raise PvaeZooError(f"Ray gave up ({reason}): the same command goes on with what is missing") from error


@contextmanager
def _connected(cluster: Cluster) -> Iterator[Any]:
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal", "RAY_DEDUP_LOGS": "0"}
    for name, value in quiet.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise PvaeZooError(MISSING) from error
    _check_answers(cluster.address)
    options: dict[str, Any] = {"address": cluster.address or "local"}
    if cluster.address is None:
        # Logical CPUs, more than the workers take: Ray Data's own tasks starve without one.
        options["num_cpus"] = max(4, cores(), cluster.workers * cluster.threads + 2)
        options |= {"include_dashboard": False, "object_store_memory": _OBJECT_STORE}
    try:
        with _training_hidden():
            ray.init(**options, logging_level=logging.ERROR, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        where = f"no cluster at {cluster.address}" if cluster.address else "Ray does not start here"
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


def _packed(sources: Sequence[ImageSource]) -> str:
    """Sources as text: a path may be no UTF-8, which JSON's escapes can carry."""
    return json.dumps([
        [source.name, os.path.abspath(source.path), source.member and source.member.header_offset, source.problem]
        for source in sources
    ])  # fmt: skip


def _unpacked(text: str) -> list[ImageSource]:
    members: dict[str, dict[int, zipfile.ZipInfo]] = {}
    sources = []
    for name, path, offset, problem in json.loads(text):
        if offset is None:
            sources.append(ImageSource(name, Path(path), problem=problem))
            continue
        if path not in members:
            try:
                with zipfile.ZipFile(path) as archive:
                    members[path] = {member.header_offset: member for member in archive.infolist()}
            except (OSError, zipfile.BadZipFile) as error:
                raise PvaeZooError(f"{path} cannot be opened by a worker ({error}): all nodes need it") from error
        sources.append(ImageSource(name, Path(path), members[path][offset], problem))
    return sources
