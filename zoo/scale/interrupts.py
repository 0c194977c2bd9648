"""Stopping at once where nothing can be lost: what a scheduler sends does what Ctrl-C does."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def prompt_stop() -> Iterator[Callable[[], None]]:
    """SIGINT and SIGTERM raise `KeyboardInterrupt`.

    Yields:
        A function to call between batches. Python swallows what is raised in a destructor, an interrupt that arrives
        there too; the function raises it again.
    """
    seen: list[int] = []

    def stop(number: int, frame: object) -> None:
        seen.append(number)
        raise KeyboardInterrupt

    def check() -> None:
        if seen:
            raise KeyboardInterrupt

    before = {}
    for name in (signal.SIGINT, signal.SIGTERM):
        try:
            before[name] = signal.signal(name, stop)
        except ValueError:  # not the main thread: whoever runs us there handles signals
            break
    try:
        yield check
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
