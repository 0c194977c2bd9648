"""Standard streams as a process may get them: closed, full, or with a reader that has left."""

from __future__ import annotations

import errno
import os
import sys
from typing import Any

import click


def open_closed_streams() -> None:
    """Put something in the place of streams that were closed before we started (``>&-``).

    Their numbers would go to the next files that are opened, which libraries would then print into. Writing to such a
    standard output fails, as it does in other programs; such a standard error swallows what it is given.
    """
    try:
        while (taken := os.open(os.devnull, os.O_RDONLY)) <= 2:
            pass
        os.close(taken)
    except OSError:  # no null device, no more files: nothing to be done
        return
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # never to be closed
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def flushed(code: Any) -> Any:
    """The exit code, once all output is out; a failure that was not said before is said, but for a reader that left."""
    try:
        sys.stdout.flush()
    except OSError as error:
        # Python flushes once more on its way out: it must find nothing to complain about.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno != errno.EPIPE and not code:
            click.echo(f"Error: {cannot_write(error)}", err=True)
        return code or 1
    return code


def cannot_write(error: OSError) -> str:
    """Why the output could not be written, with the remedy."""
    if error.errno == errno.ENOSPC:
        return "cannot write the output: the disk is full"
    if error.errno == errno.EBADF:
        return "cannot write the output: it is closed"
    return f"cannot write the output: {error.strerror}"
