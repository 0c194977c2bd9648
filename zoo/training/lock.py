"""One process at a time trains in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pvae_zoo.base.atomic import write_error
from pvae_zoo.base.errors import PvaeZooError


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Hold a run's folder, which is made if need be; it is free again when this process ends, however it ends.

    Raises:
        PvaeZooError: if another process holds it, or it cannot be written.
    """
    lock = FileLock(run / ".lock", blocking=False)
    try:
        run.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise PvaeZooError(f"another process is training in {run}: wait for it, or choose another --out") from None
    except OSError as error:
        raise write_error(run, error) from error
    try:
        yield
    finally:
        lock.release()
