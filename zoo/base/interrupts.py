"""Stopping on a signal: what a scheduler sends (SIGTERM) does what Ctrl-C does.

`stop_requested` waits until the state is whole; `prompt_stop` acts at once, where nothing can be lost. Every command
runs under `terminable`, so that both signals end it alike. Python handles a signal when the call that it is in comes
back, which may take seconds for one that is written in C: a thread beside the main one hears it at once, ends what can
be ended (`while_stopping`), and ends the process when a second one comes.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

INTERRUPTED = 130
"""Exit code of a command that a signal ended."""

AGAIN_SECONDS = 0.3
"""Signals that come within this time are one: the terminal and whoever started us may both have sent it."""

_Handlers = dict[int, Any]
_switches: list[Callable[[bool], None]] = []


def while_stopping(switch: Callable[[bool], None]) -> None:
    """Have ``switch(True)`` called, by another thread, when a signal comes, and ``switch(False)`` after the command."""
    _switches.append(switch)


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
    """SIGTERM raises `KeyboardInterrupt`, as SIGINT does where nobody changed it; a second one ends the process.

    What a library makes of an interrupt that reaches it (an import that failed, a run that was ended) is one too.
    """
    seen = threading.Event()

    def stop(number: int, frame: object) -> None:
        seen.set()
        raise KeyboardInterrupt

    before: _Handlers = {}
    numbers = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell ignores it for what runs behind it
        numbers.append(signal.SIGINT)
    _install(stop, before, *numbers)
    try:
        with _heard(seen):
            yield
    except Exception as error:
        if seen.is_set():
            raise KeyboardInterrupt from error
        raise
    finally:
        _restore(before)
        if seen.is_set():
            _switch(False)


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


@contextmanager
def _heard(seen: threading.Event) -> Iterator[None]:
    """A thread that hears of signals while the main one is anywhere (`signal.set_wakeup_fd`)."""
    ears, mouth = socket.socketpair()
    mouth.setblocking(False)
    try:
        before = signal.set_wakeup_fd(mouth.fileno(), warn_on_full_buffer=False)
    except ValueError:  # not the main thread: whoever runs us there handles signals
        ears.close()
        mouth.close()
        yield
        return
    thread = threading.Thread(target=_listen, args=(ears, seen), daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        mouth.close()
        thread.join()
        ears.close()


def _listen(ears: socket.socket, seen: threading.Event) -> None:
    first = None
    while numbers := ears.recv(64):
        if not set(numbers) & {signal.SIGINT, signal.SIGTERM}:
            continue
        if first is None:
            first = time.monotonic()
            seen.set()
            _switch(True)
        elif time.monotonic() - first > AGAIN_SECONDS:
            with suppress(OSError):
                os.write(2, b"Interrupted twice: ended at once\n")
            os._exit(INTERRUPTED)


def _switch(on: bool) -> None:
    for switch in _switches:
        switch(on)


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
