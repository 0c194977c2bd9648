"""Stopping on a signal: what a scheduler sends (SIGTERM) does what Ctrl-C does.

`stop_requested` waits until the state is whole; `prompt_stop` acts at once, where nothing can be lost. Every command
runs under `terminable`, so that both signals end it alike.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_Handlers = dict[int, Any]


@contextmanager
def stop_requested() -> Iterator[Callable[[], bool]]:
    """Turn SIGINT and SIGTERM into a question to ask between steps; a second one acts at once."""
    seen: list[int] = []
    before: _Handlers = {}

    def remember(number: int, frame: object) -> None:
        seen.append(number)
        _restore(before)

    _install(remember, before, signal.SIGINT, signal.SIGTERM)
    try:
        yield lambda: bool(seen)
    finally:
        _restore(before)


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM raises `KeyboardInterrupt`, as SIGINT does where nobody changed it."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before: _Handlers = {}
    _install(stop, before, signal.SIGTERM)
    try:
        yield
    finally:
        _restore(before)


@contextmanager
def prompt_stop() -> Iterator[Callable[[], None]]:
    """SIGINT and SIGTERM raise `KeyboardInterrupt`.

    Yields:
        A function to call between batches. Python swallows what is raised in a destructor, an interrupt that arrives
        there too; the function raises it again.
    """
    seen: list[int] = []
    before: _Handlers = {}

    def stop(number: int, frame: object) -> None:
        seen.append(number)
        raise KeyboardInterrupt

    def check() -> None:
        if seen:
            raise KeyboardInterrupt

    _install(stop, before, signal.SIGINT, signal.SIGTERM)
    try:
        yield check
    finally:
        _restore(before)


def _install(handler: Callable[[int, object], None], before: _Handlers, *numbers: signal.Signals) -> None:
    """Handle signals, and note in ``before`` who handled them."""
    for number in numbers:
        try:
            before[number] = signal.signal(number, handler)
        except ValueError:  # not the main thread: whoever runs us there handles signals
            break


def _restore(before: _Handlers) -> None:
    for number, handler in before.items():
        signal.signal(number, handler)
