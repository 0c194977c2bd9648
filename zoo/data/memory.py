"""How much memory this process may take."""

from __future__ import annotations

import os
from pathlib import Path

_UNKNOWN = 4 << 30
"""Assumed where the system does not say."""


def available_memory(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that can be taken without anything being swapped out or killed, within a container's limit.

    Where Linux does not say, half of the machine's memory; where nobody does, 4 GiB.

    Args:
        proc, groups: where the kernel's files lie, for tests.
    """
    try:
        lines = (proc / "meminfo").read_text("ascii").splitlines()
        free = 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return _half_of_all()
    return min([free, *_left_in_groups(proc, groups)])


def _half_of_all() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):
        return _UNKNOWN


def _left_in_groups(proc: Path, groups: Path) -> list[int]:
    """What each limit of a control group (version 2) that this process is in leaves; page caches can be given back."""
    try:
        group = (proc / "self" / "cgroup").read_text("ascii").rpartition("::")[2].strip().strip("/")
    except OSError:
        return []
    left = []
    for folder in (groups / group, *(groups / group).parents):
        try:
            limit, used = ((folder / f"memory.{name}").read_text("ascii").strip() for name in ("max", "current"))
            cached = dict(line.split() for line in (folder / "memory.stat").read_text("ascii").splitlines())
            left.append(max(0, int(limit) - int(used) + int(cached.get("inactive_file", 0))))
        except (OSError, ValueError):  # no limit ("max"), or none of its files
            pass
        if folder == groups:
            break
    return left
