"""Pieces of work on several threads, all of which end when one fails or an interrupt comes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Piece = TypeVar("Piece")
Result = TypeVar("Result")
Check = Callable[[], None]


def side_by_side(
    work: Callable[[Piece, Check], Result], pieces: Sequence[Piece], workers: int, check: Check = lambda: None
) -> list[Result]:
    """The results of all pieces, in their order.

    Args:
        work: does one, and calls what it is given beside it often: that raises once nobody waits for the result.
        pieces: at least one.
        workers: done at the same time, at most. A single one is done by this thread.
        check: called by every piece too; what it raises ends the work.
    """
    stop = threading.Event()

    def checked() -> None:
        if stop.is_set():
            raise _StoppedError
        check()

    if min(workers, len(pieces)) == 1:
        return [work(piece, checked) for piece in pieces]
    with ThreadPoolExecutor(min(workers, len(pieces))) as pool:
        try:
            return list(pool.map(lambda piece: work(piece, checked), pieces))
        except BaseException:
            stop.set()  # Ctrl-C must not wait for thousands of draws in the pieces of other workers
            pool.shutdown(wait=True, cancel_futures=True)
            raise


class _StoppedError(Exception):
    """Ends a worker whose piece nobody waits for."""
