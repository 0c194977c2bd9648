"""A progress bar with speed and time left, on stderr, and only where somebody can see it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(unit: str, *, shown: bool = True) -> Iterator[Callable[[int, int], None]]:
    """A bar that is gone when the work is done.

    Args:
        unit: what is counted, for the speed ("steps").
        shown: false hides it, as does a stderr that is no terminal.

    Yields:
        A function of (done, total), safe to call from several threads.
    """
    if not (shown and sys.stderr.isatty()):
        yield lambda done, total: None
        return
    # Imported here: rich costs more than drawing a few images.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Speed(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:,.0f} {unit}/s")

    columns = (BarColumn(), TextColumn("{task.completed:,.0f}/{task.total:,.0f}"), Speed(), TimeRemainingColumn())
    # Standard output stays alone: rich would send what is printed meanwhile to stderr.
    with Progress(
        *columns, console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False
    ) as bar:
        task = bar.add_task("", total=None, start=True, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)
