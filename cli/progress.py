"""A progress bar with speed and time left, on stderr, and only where somebody can see it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pvae_zoo.scale.tasks import Watch


@contextmanager
def progress_bar(unit: str, *, shown: bool = True) -> Iterator[Callable[[int, int], None]]:
    """A bar that is gone when the work is done.

    Args:
        unit: what is counted, for the speed ("steps").
        shown: false hides it, as does a stderr that is no terminal.

    Yields:
        A function of (done, total), safe to call from several threads. The bar appears with its first call.
    """
    if not (shown and sys.stderr.isatty()):
        yield lambda done, total: None
        return
    from tqdm import tqdm  # costs as much as drawing a few images

    lock = Lock()
    bar: tqdm[None] | None = None

    def progress(done: int, total: int) -> None:
        nonlocal bar
        with lock:
            if bar is None:
                bar = tqdm(total=total, unit=f" {unit}", file=sys.stderr, leave=False, dynamic_ncols=True)
            bar.total = total
            bar.update(done - bar.n)  # backwards too: the next row begins anew

    try:
        yield progress
    finally:
        if bar is not None:
            bar.close()


@contextmanager
def watched(unit: str, *, shown: bool = True) -> Iterator[Watch]:
    """A bar and Ctrl-C, as the road of many images takes them: either signal ends the work at once.

    Args:
        unit: see `progress_bar`.
        shown: see `progress_bar`.
    """
    from pvae_zoo.base.interrupts import prompt_stop
    from pvae_zoo.scale.tasks import Watch

    with prompt_stop() as check, progress_bar(unit, shown=shown) as progress:
        yield Watch(progress, check)


def share(progress: Callable[[int, int], None], part: range, count: int) -> Callable[[int, int], None]:
    """Progress of a part of ``count`` images as that of all of them, at as many steps an image as the part's."""
    return lambda done, total: progress(total * part.start // len(part) + done, total * count // len(part))
