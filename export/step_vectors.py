"""Golden vectors of single steps, from whole passes of PyTorch (see `pvae_zoo.checks.step_vectors`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pvae_zoo.checks.step_vectors import chosen, chosen_steps
from pvae_zoo.contract.config import StepSpec
from pvae_zoo.models.masked_conv import MaskedConv2d
from pvae_zoo.models.masked_stack import GatedLayer, MaskedStack
from pvae_zoo.runtime.plan import Plan
from pvae_zoo.runtime.wavefront import Step, canvas_rows, positions

_Arrays = Mapping[str, NDArray[Any]]


@torch.no_grad()
def step_arrays(
    role: str,
    stack: MaskedStack,
    spec: StepSpec,
    seen: torch.Tensor,
    context: torch.Tensor,
    values: _Arrays,
    drawn: _Arrays,
) -> dict[str, NDArray[Any]]:
    """Inputs and outputs of the chosen steps of one image, tables as the rows that matter.

    Args:
        role: of the step graph.
        stack: the network.
        spec: grid and canvases.
        seen: what the network sees of the image, ``(1, in_channels, H, W)``.
        context: ``(1, context_channels, 1 or H, 1 or W)``.
        values: inputs for every position, ``(1, C, H, W)``.
        drawn: outputs for every position, ``(1, C, H, W)``.
    """
    canvas = _canvas(spec, _features(stack, seen, context))
    table = context[0].flatten(1).T.contiguous().numpy()
    arrays: dict[str, NDArray[Any]] = {}
    feeds = chosen(list(Plan(spec, 1).feeds(values)))
    for name, step in chosen_steps(spec).items():
        feed = feeds[name]
        at = feed["positions"]
        kept = np.where(_read(stack, spec, at, canvas.shape), canvas, np.float32(0))
        rows = np.flatnonzero(kept.any(axis=1))
        found = {**feed, "context": table[feed["context_rows"]], "canvas_rows": rows}
        found |= {output: value[0][:, step.rows, step.columns].T for output, value in drawn.items()}
        found |= dict(_by_canvas(spec, kept[rows], "")) | dict(_by_canvas(spec, canvas[at], "_next"))
        arrays |= {f"{role}.{name}.{key}": np.ascontiguousarray(value) for key, value in found.items()}
    return arrays


def _features(stack: MaskedStack, seen: torch.Tensor, context: torch.Tensor) -> NDArray[np.float32]:
    """What the layers read of every position, ``(H, W, channels)``: what is seen, then each gated layer's input."""
    inputs: list[torch.Tensor] = []
    layers = [stack.input, *stack.layers]
    hooks = [layer.register_forward_pre_hook(lambda _, given: inputs.append(given[0])) for layer in layers]
    stack.parameters_of(seen, context)
    for hook in hooks:
        hook.remove()
    return torch.cat(inputs, dim=1)[0].permute(1, 2, 0).contiguous().numpy()


def _canvas(spec: StepSpec, features: NDArray[np.float32]) -> NDArray[np.float32]:
    """The canvases of a whole image side by side, ``(P, channels)``."""
    height, width, channels = features.shape
    canvas = np.zeros((canvas_rows(spec.geometry, 1), channels), np.float32)
    ys, xs = np.divmod(np.arange(height * width), width)
    canvas[positions(spec.geometry, 1, Step(ys, xs))] = features.reshape(-1, channels)
    return canvas


def _read(stack: MaskedStack, spec: StepSpec, at: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which entries of the canvases ``(P, channels)`` are read for the positions ``at``."""
    read, first = np.zeros(shape, np.bool_), 0
    for conv in _convolutions(stack):
        offsets = np.array([dy * spec.geometry.stride + dx for dy, dx in conv.window.neighbours], np.int64)
        channels = conv.weight.shape[1]
        read[(at[:, None] + offsets).ravel(), first : first + channels] = True
        first += channels
    return read


def _convolutions(stack: MaskedStack) -> Iterator[MaskedConv2d]:
    yield stack.input
    for layer in stack.layers:
        assert isinstance(layer, GatedLayer)
        yield layer.conv


def _by_canvas(spec: StepSpec, rows: NDArray[np.float32], suffix: str) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Rows ``(R, channels)`` of all canvases as those of each."""
    first = 0
    for canvas in spec.canvases:
        yield f"{canvas.name}{suffix}", rows[:, first : first + canvas.channels]
        first += canvas.channels
