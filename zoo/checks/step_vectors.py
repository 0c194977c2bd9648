"""Golden vectors of single steps: whoever ports the loop can check one step before a whole sample.

For the first, a middle and the last step of a step graph, on the first golden image, ``golden.npz`` holds what the
graph is given and what it must give. Array ``<role>.<step>.<tensor>`` is the graph's input or output of that name, but
for tables, of which only the rows that matter are kept:

    context   zeros (context rows of an image, channels), with the rows ``context_rows`` as stored
    canvas    zeros (rows_per_image + 1, channels), with the rows ``canvas_rows`` as stored
    *_next    the canvas that was given, with the rows ``positions`` as stored

``temperature`` is 1. The features are those of PyTorch in whole passes over the image, which know of no canvas.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.checks.gaps import largest_gap
from pvae_zoo.contract.config import BundleConfig, StepSpec
from pvae_zoo.runtime.wavefront import Step, canvas_rows, steps

STEPS = ("first", "middle", "last")
"""What the steps are called; the middle one is the step after half of all."""

VALUES = {"decoder_step": ("uniforms", "given"), "prior_step": ("noise",)}
"""Inputs of a step graph that it has for every position and channel."""

DRAWN = {"decoder_step": ("pixels", "log_prob"), "prior_step": ("z1",)}
"""Outputs of a step graph but for the canvases."""

T = TypeVar("T")
_Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class StepVector:
    """A run of a step graph.

    Attributes:
        role: of the graph.
        step: of `STEPS`.
        feed: every input by name, tables whole.
        expected: every output by name, tables whole.
    """

    role: str
    step: str
    feed: dict[str, NDArray[Any]]
    expected: dict[str, NDArray[Any]]


def chosen_steps(spec: StepSpec) -> dict[str, Step]:
    """The steps that have vectors, by what they are called."""
    return chosen(list(steps(spec.height, spec.width, spec.geometry.slope)))


def chosen(of_steps: Sequence[T]) -> dict[str, T]:
    """Of one thing a step, in order, those of the steps that have vectors."""
    return dict(zip(STEPS, (of_steps[0], of_steps[len(of_steps) // 2], of_steps[-1]), strict=True))


def step_vectors(config: BundleConfig, role: str, golden: _Arrays) -> list[StepVector]:
    """The vectors of a step graph; none for a bundle that was made before there were any.

    Raises:
        PvaeZooError: if some are missing, or not of the shapes that the config says.
    """
    if not any(name.startswith(f"{role}.") for name in golden):
        return []
    return [_vector(config, role, step, golden) for step in STEPS]


def _vector(config: BundleConfig, role: str, step: str, golden: _Arrays) -> StepVector:
    spec = config.steps[role]

    def take(name: str, dtype: Any, *shape: int) -> NDArray[Any]:
        key = f"{role}.{step}.{name}"
        array = golden.get(key)
        if array is None:
            raise PvaeZooError(f"the golden vectors lack {key}")
        free = tuple(-1 if size == -1 else n for size, n in zip(shape, array.shape, strict=False))
        if array.dtype != dtype or array.ndim != len(shape) or free != shape:
            raise PvaeZooError(f"{key} of the golden vectors is {array.dtype} {array.shape}, not as the graph has it")
        return array

    def rows(name: str, count: int) -> NDArray[np.int64]:
        found = take(name, np.int64, -1)
        if not ((found >= 0) & (found < count)).all():
            raise PvaeZooError(f"{role}.{step}.{name} of the golden vectors names rows that are none of {count}")
        return found

    def table(at: NDArray[np.int64], name: str, count: int, channels: int) -> NDArray[np.float32]:
        whole = np.zeros((count, channels), np.float32)
        whole[at] = take(name, np.float32, len(at), channels)
        return whole

    height = canvas_rows(spec.geometry, 1)
    positions, kept = rows("positions", height), rows("canvas_rows", height)
    of_context = rows("context_rows", spec.context.rows)
    if len(of_context) != len(positions):
        raise PvaeZooError(f"{role}.{step} of the golden vectors has not one row of the context for each position")
    feed: dict[str, NDArray[Any]] = {"positions": positions, "context_rows": of_context}
    feed["context"] = table(of_context, "context", spec.context.rows, spec.context.channels)
    types = {tensor.name: np.dtype(tensor.dtype) for tensor in _tensors(config, role)}
    each = (len(positions), spec.channels)
    feed |= {name: take(name, types[name], *each) for name in VALUES[role]}
    if role == "decoder_step":
        feed["temperature"] = np.ones(1, np.float32)
    expected = {name: take(name, types[name], *each) for name in DRAWN[role]}
    for canvas in spec.canvases:
        name, after = canvas.name, f"{canvas.name}_next"
        feed[name] = table(kept, name, height, canvas.channels)
        expected[after] = feed[name].copy()
        expected[after][positions] = take(after, np.float32, len(positions), canvas.channels)
    return StepVector(role, step, feed, expected)


def _tensors(config: BundleConfig, role: str) -> tuple[Any, ...]:
    graph = config.graphs[role]
    return (*graph.inputs, *graph.outputs)


def step_gap(vector: StepVector, outputs: _Arrays) -> float:
    """The `largest_gap` of a step's outputs from the golden ones; infinite where one is missing or no number."""
    gaps = [
        largest_gap(outputs[name], value) if name in outputs else math.inf for name, value in vector.expected.items()
    ]
    return math.inf if any(map(math.isnan, gaps)) else max(gaps)
