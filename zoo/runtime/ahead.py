"""The next batch made by a thread while the present one is used: one ahead, and no more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from pvae_zoo.runtime.side_by_side import Check

T = TypeVar("T")


def one_ahead(batches: Callable[[Check], Iterator[T]]) -> Generator[T, None, None]:
    """The batches of an iterator in their order, each made while the one before it is used.

    What making one raises is raised in its turn. Whoever stops taking them waits for the piece of work at hand alone:
    close the generator (`contextlib.closing`), and the thread is gone.

    Args:
        batches: makes the iterator. What it is given is to be called between small pieces of the work, and raises once
            nobody waits for it.
    """
    stop = threading.Event()

    def check() -> None:
        if stop.is_set():
            raise _StoppedError

    made, end = batches(check), object()
    with ThreadPoolExecutor(1, "pvae-zoo-ahead") as pool:
        try:
            coming = pool.submit(next, made, end)
            while (batch := coming.result()) is not end:
                coming = pool.submit(next, made, end)
                yield batch  # type: ignore[misc]
        finally:
            stop.set()


class _StoppedError(Exception):
    """Ends the work on a batch that nobody waits for."""
