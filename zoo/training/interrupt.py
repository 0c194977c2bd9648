"""Stopping between two steps, when the state is whole."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def stop_requested() -> Iterator[Callable[[], bool]]:
    """Turn SIGINT and SIGTERM into a question to ask between steps; a second one acts at once."""
    seen: list[int] = []
    handlers: dict[int, Any] = {}

    def remember(number: int, frame: object) -> None:
        seen.append(number)
        for handled, previous in handlers.items():
            signal.signal(handled, previous)

    for name in (signal.SIGINT, signal.SIGTERM):
        try:
            handlers[name] = signal.signal(name, remember)
        except ValueError:  # not the main thread: whoever runs us there handles signals
            break
    try:
        yield lambda: bool(seen)
    finally:
        for handled, previous in handlers.items():
            signal.signal(handled, previous)
