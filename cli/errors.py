"""How what goes wrong in a command becomes one line and an exit code.

A user's mistake is a `PvaeZooError` with a line of its own. Whatever else comes out of a command (a library's
exception, a fault of ours) is one line as well, with its type; ``PVAE_ZOO_DEBUG=1`` shows where it came from.
"""

from __future__ import annotations

import errno
import os
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from pvae_zoo.base.errors import PvaeZooError, PvaeZooWarning
from pvae_zoo.base.interrupts import INTERRUPTED
from pvae_zoo.base.printable import shown, spelled_lines

DEBUG = "PVAE_ZOO_DEBUG"
"""Environment variable: anything but an empty text or 0 shows the traceback of an error before its line."""

_OUT_OF_MEMORY = "out of memory: lower --batch-size or the number of images"
_MOST = 400
_NO_MEMORY_LEFT = ("Failed to allocate memory", "bad_alloc", "bad allocation")


@contextmanager
def one_line_errors(ctx: click.Context) -> Iterator[None]:
    """Let nothing out but what click shows as one line, and what it takes for no error."""
    try:
        yield
    except (click.exceptions.Exit, click.Abort):
        raise
    except click.ClickException as error:
        vars(error)["message"] = spelled_lines(error.message)  # click declares it final
        raise
    except PvaeZooError as error:
        raise _shown_as(spelled_lines(str(error)), error) from error
    except KeyboardInterrupt:
        click.echo("Interrupted", err=True)
        ctx.exit(INTERRUPTED)
    except OSError as error:
        if error.errno in (errno.EPIPE, errno.ENOSPC, errno.EBADF) and error.filename is None:
            raise  # of the output: `main` knows what became of it
        raise _shown_as(_line(error), error) from error
    except Exception as error:
        raise _shown_as(_line(error), error) from error


@contextmanager
def warnings_as_notes() -> Iterator[None]:
    """Print this package's warnings as notes on stderr, and leave all others as they are."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", PvaeZooWarning)
        usual = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, PvaeZooWarning):
                click.echo(f"Note: {spelled_lines(str(message))}", err=True)
            else:
                usual(message, category, *where, **more)

        warnings.showwarning = show
        yield


def _shown_as(line: str, error: BaseException) -> click.ClickException:
    if os.environ.get(DEBUG, "0") not in ("", "0"):
        click.echo(spelled_lines("".join(traceback.format_exception(error))), err=True, nl=False)
    return click.ClickException(line)


def _line(error: Exception) -> str:
    """An exception that has no line of its own."""
    text = _text(error)
    if isinstance(error, MemoryError) or any(sign in text for sign in _NO_MEMORY_LEFT):
        return _OUT_OF_MEMORY
    # onnxruntime's come from an extension module, and are of no common kind: they are known by where they were made.
    if type(error).__module__.partition(".")[0] == "onnxruntime":
        return f"onnxruntime failed: {shown(text, _MOST)}"
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename is not None else ""
        return shown(f"{where}{error.strerror}", _MOST) + _where_from()
    kind = type(error).__name__
    return (f"{kind}: {shown(text, _MOST)}" if text else kind) + _where_from()


def _text(error: Exception) -> str:
    """The first line of what an exception says; some cannot say anything."""
    try:
        lines = [line for line in str(error).splitlines() if line.strip()]
    except Exception:
        return ""
    return lines[0].strip() if lines else ""


def _where_from() -> str:
    return f" (unexpected: {DEBUG}=1 shows where it comes from)"
