"""Rows of a table, measured one by one in a process of their own, most important first, within a budget of seconds.

A GPU can be had for minutes, so nothing may cost more than its own row: one that fails is written down with its error,
one that hangs or takes the process down with it is cut and the next begins in a new process, and those that cannot
begin any more are written down as not reached. The table is written anew after each row.
"""

from __future__ import annotations

import multiprocessing
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

Rates = dict[str, float]
"""What rows have measured, by name, for the ratios of later ones."""

Measured = tuple[str, Rates]
"""What a row says, and what later ones are to know."""

NOT_REACHED = "not reached"
PATIENCE = 2
"""A row is cut after that many times the seconds that were reckoned for it."""


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        what: is measured.
        measure: a function from the process's `cuda_bench.Bench` to what it found; of a module, so that it travels.
        wanted: the figure to reach.
        seconds: that it takes at most, loading and warming up included: it does not begin with less.
    """

    what: str
    measure: Callable[[Any], Measured]
    wanted: str = ""
    seconds: float = 10.0


class Worker:
    """A process that measures rows, with what it has loaded for earlier ones.

    Args:
        make: called in the process, gives what rows are measured with; it has `rates`, and `check`, which raises if
            nothing more can be measured there.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, make), daemon=True)
        self._process.start()
        theirs.close()
        self.sound = True

    def measure(self, row: Row, rates: Rates, seconds: float) -> Measured | None:
        """What the row found, or None if it took longer; the process is of no use then.

        Raises:
            EOFError: if the process has ended by itself.
        """
        self._ours.send((row.measure, rates))
        if not self._ours.poll(seconds):
            return None
        measured, self.sound = self._ours.recv()
        return measured

    def end(self) -> int | None:
        """End the process; what it had ended with, if it had ended by itself."""
        if not self.sound:
            self._process.join(1)  # a crash is heard of before it is over
        code = self._process.exitcode
        self._process.kill()
        self._process.join()
        return code


def measured_rows(rows: list[Row], make: Callable[[], Any], seconds: float) -> Iterator[tuple[int, str]]:
    """The numbers of the rows and what they say, each as soon as it is measured; those not reached are left out.

    Args:
        rows: most important first.
        make: see `Worker`.
        seconds: the budget of all.
    """
    deadline, worker, rates = time.monotonic() + seconds, None, Rates()
    for number, row in enumerate(rows):
        left = deadline - time.monotonic()
        if left < row.seconds:
            continue  # a shorter one may still fit
        worker = worker or Worker(make)
        limit = min(left, PATIENCE * row.seconds)
        try:
            measured = worker.measure(row, rates, limit)
        except (EOFError, OSError):
            measured, worker.sound = None, False
            text = f"failed: the process ended with {worker.end()}"
        else:
            text, more = measured or (f"cut after {limit:.0f} s", {})
            rates |= more
        yield number, text
        if measured is None or not worker.sound:
            worker.end()
            worker = None
    if worker is not None:
        worker.end()


def _serve(connection: Connection, make: Callable[[], Any]) -> None:
    bench = None
    while True:
        try:
            measure, rates = connection.recv()
        except EOFError:
            return
        try:
            bench = bench or make()
            bench.rates = rates
            connection.send((measure(bench), True))
        except Exception as error:
            traceback.print_exc()  # the whole of it is in the log
            line = (str(error).strip().splitlines() or [""])[0]
            text = f"failed: {type(error).__name__}: {line[:160]}".replace("|", "/")
            connection.send(((text, {}), _sound(bench)))


def _sound(bench: Any) -> bool:
    """Whether more can be measured here: some errors of CUDA end all that a process could do with it."""
    try:
        bench.check()
    except Exception:
        return False
    return True
