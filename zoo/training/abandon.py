"""Leaving a step of training before it is done: it has changed no weights until the gradient is whole.

On a CPU a step may take ten seconds, most of it in one call of PyTorch. Hooks on every module and on the gradient of
what it gives are places where Python is back and can be asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn


class Abandoned(Exception):
    """A step that was left; weights and optimiser are those before it."""


@contextmanager
def abandoned_when(stopped: Callable[[], bool]) -> Iterator[None]:
    """Raise `Abandoned` out of a forward or backward pass, of a network that is not compiled, once asked to stop."""

    def look(*seen: Any) -> None:
        if stopped():
            raise Abandoned

    def follow(module: nn.Module, given: Any, output: Any) -> None:
        look()
        if isinstance(output, Tensor) and output.requires_grad:
            output.register_hook(look)

    handle = nn.modules.module.register_module_forward_hook(follow)
    try:
        yield
    finally:
        handle.remove()
