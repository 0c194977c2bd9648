"""The processes that train together: one by default, several under ``torchrun``, each with a GPU of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist

from pvae_zoo.base.devices import device_parts, no_such_gpu
from pvae_zoo.base.errors import PvaeZooError


@dataclass(frozen=True)
class World:
    """This process's ``rank`` among ``size`` processes, and its ``local_rank`` among those of its machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    def any(self, flag: bool) -> bool:
        """Whether any process says yes."""
        if self.size == 1:
            return flag
        answer = torch.tensor(int(flag))
        dist.all_reduce(answer, dist.ReduceOp.MAX)
        return bool(answer)

    def sum(self, values: list[float]) -> list[float]:
        """Sums over all processes, the same in each."""
        if self.size == 1:
            return values
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total)
        answer: list[float] = total.tolist()
        return answer

    def first(self, value: int) -> int:
        """What the first process says."""
        return int(self.sum([0.0 if self.rank else float(value)])[0])

    def barrier(self) -> None:
        """Wait for all."""
        if self.size > 1:
            dist.barrier()

    def device(self, name: str) -> torch.device:
        """This process's device: "cpu", "cuda" for the GPU of its own number, or "cuda:1" for one process alone.

        Raises:
            PvaeZooError: if there is no GPU for it.
        """
        kind, number = device_parts(name)
        if kind != "cuda":
            return torch.device(kind)
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if not count:
            raise PvaeZooError(
                "PyTorch finds no CUDA device: install its CUDA build (pytorch.org), or use --device cpu"
            )
        if self.local_rank >= count:
            raise PvaeZooError(f"{self.local_rank + 1} processes on this machine and {count} GPUs: start one for each")
        if number and self.size > 1:
            raise PvaeZooError(f"--device {name}: {self.size} processes have a GPU each: use --device cuda")
        if number >= count:
            raise no_such_gpu(name, count)
        own = number or self.local_rank
        torch.cuda.set_device(own)
        return torch.device("cuda", own)


@contextmanager
def joined_world() -> Iterator[World]:
    """Join the processes that ``torchrun`` started (its ``WORLD_SIZE``, ``RANK`` and ``LOCAL_RANK``); alone otherwise.

    Raises:
        PvaeZooError: if these variables do not fit together.
    """
    size = _number("WORLD_SIZE", 1)
    if size <= 1:
        yield World()
        return
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise PvaeZooError(
            f"WORLD_SIZE={size} is set and {', '.join(missing)} not: start several processes with torchrun, or unset it"
        )
    rank = _number("RANK", 0)
    if not 0 <= rank < size:
        raise PvaeZooError(f"RANK={rank} is none of WORLD_SIZE={size} processes: start them with torchrun")
    # Gloo carries the small collectives on any machine; with a GPU each, gradients go over NCCL.
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield World(rank, size, _number("LOCAL_RANK", 0))
    finally:
        dist.destroy_process_group()


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    try:
        return int(text)
    except ValueError:
        raise PvaeZooError(
            f"{name}={text!r} is no number: start several processes with torchrun, or unset it"
        ) from None
