"""Drawing a grid without coming back to the host between its steps.

Everything lies on the device at addresses that stay: the inputs of all steps as tables, the canvases, what was drawn,
and the cursor by which the grown step graph finds its way (`pvae_zoo.graphs.step_tables`). Steps have one of `SIZES`
shapes. So each shape is captured as a CUDA graph once, and a step is one launch; what was drawn comes back once, when
all are done.

A capture belongs to addresses, and lives as long as its session: onnxruntime 1.31 has a function to release it, which
does nothing on CUDA. So the memory of a draw is kept for the next draw of as many images, a draw of others captures
anew under numbers that were never used, and after `CAPTURES` of them the session is opened anew.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.base.devices import Device
from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.config import StepSpec, TensorSpec
from pvae_zoo.graphs.step_tables import ADVANCE, CURSOR, LANES, WANTED, next_of, table_of, with_tables
from pvae_zoo.runtime.captures import open_capturing
from pvae_zoo.runtime.contexts import DeviceContext
from pvae_zoo.runtime.failures import device_failures
from pvae_zoo.runtime.plan import Plan
from pvae_zoo.runtime.sessions import (
    device_of,
    import_onnxruntime,
    placement,
    run_options,
)
from pvae_zoo.runtime.wavefront import Order, canvas_rows

if TYPE_CHECKING:
    from pvae_zoo.runtime.grid import GridDraw

SIZES = 3
"""Shapes of steps, at most, and so captures of a draw (`pvae_zoo.runtime.plan` says what filler that leaves)."""

UNSEEN = 16
"""Steps that are begun before the host waits for them, so that a GPU never waits for the host."""

CAPTURES = 96
"""CUDA graphs of a session, after which it is opened anew."""


class DeviceSteps:
    """A step graph with tables, and the memory of its last draw.

    Args:
        model: the published step graph, already verified.
        spec: its grid.
        drawn: its outputs that are no canvases.
        device: where all of it lives.
        wanted: for draws with values that stand where the step would draw others.

    Attributes:
        session: of the grown graph.
        uncaptured: None if steps are captured as CUDA graphs, or else why not.
    """

    def __init__(
        self, model: bytes, spec: StepSpec, drawn: tuple[TensorSpec, ...], device: Device, wanted: bool = False
    ) -> None:
        self.spec, self._drawn = spec, drawn
        self._open = partial(open_capturing, with_tables(model, wanted), device)
        self.session, self.uncaptured = self._open()
        self._numbers = count(1)
        self._kept: tuple[Any, _Draw] | None = None
        self._lock = threading.Lock()

    def draw(self, what: GridDraw, order: Order, step_done: Callable[[], None]) -> dict[str, NDArray[Any]]:
        """Draw a whole grid.

        Args:
            what: all of it.
            order: of the positions.
            step_done: called once for each step, as soon as it has been begun.

        Returns:
            What was drawn by name, ``(N, C, H, W)``.

        Raises:
            DeviceMemoryError: if the memory of the device is used up; that of earlier draws is free then.
            PvaeZooError: of anything else that went wrong there.
        """
        with self._lock:  # two draws at once would share their memory
            try:
                with device_failures(device_of(self.session)):
                    prepared = self._prepared(what, order)
                return prepared.run(step_done)
            except PvaeZooError:
                self._kept = None
                raise

    def _prepared(self, what: GridDraw, order: Order) -> _Draw:
        """The memory of the last draw if it has the same shapes, or else its own, filled."""
        key = (len(what), order, threading.get_ident())  # captures are of a thread
        kept, self._kept = self._kept, None  # to be kept again once it is whole
        if kept is None or kept[0] != key:
            del kept  # before other memory is taken
            numbers = None if self.uncaptured else self._captures()
            kept = key, _Draw(self.session, Plan(self.spec, len(what), order, SIZES), self._drawn, numbers)
        kept[1].fill(what)
        self._kept = kept
        return kept[1]

    def _captures(self) -> list[int]:
        """A number for each capture of a draw."""
        numbers = [next(self._numbers) for _ in range(SIZES)]
        if numbers[-1] > CAPTURES:
            self._numbers = count(1)
            self.session, self.uncaptured = self._open()
            return self._captures()
        return numbers


@dataclass
class _Size:
    """Runs of one shape."""

    binding: Any
    advance: Any
    options: Any


class _Draw:
    """The memory of a draw of so many images, and the runs that are bound to it."""

    def __init__(self, session: Any, plan: Plan, drawn: tuple[TensorSpec, ...], captures: list[int] | None) -> None:
        self.session, self.plan, self.place, self.captures = session, plan, placement(session), captures
        self.values: dict[str, Any] = {}
        self.drawn = [tensor.name for tensor in drawn]
        rows, spec = plan.steps[-1].stop, plan.spec
        for canvas in spec.canvases:
            self._put(canvas.name, np.zeros((canvas_rows(spec.geometry, plan.count), canvas.channels), np.float32))
        for tensor in drawn:
            self._put(table_of(tensor.name), np.zeros((rows, spec.channels), tensor.dtype))
        for name, values in plan.rows.items():
            self._put(table_of(name), values)
        self.written = [*(canvas.name for canvas in spec.canvases), *map(table_of, self.drawn), CURSOR]
        self.sizes: dict[int, _Size] = {}

    def fill(self, what: GridDraw) -> None:
        """Bring what is drawn from to the device. Canvases stay: a step reads what this draw wrote, or margins."""
        if isinstance(what.context, DeviceContext):
            if "context" not in self.values:
                self.values["context"] = what.context.memory(self.place)
            what.context.fill(self.values["context"], self.place)
        else:
            self._put("context", what.context.reshape(-1, what.context.shape[-1]))
        values = dict(what.values) if what.fixed is None else {**what.values, WANTED: what.fixed}
        for name, value in values.items():
            self._put(table_of(name), self.plan.taken(value))
        for name, constant in what.constants.items():
            self._put(name, constant)
        self._put(CURSOR, np.zeros(1, np.int64))
        if not self.sizes:
            self._bind()

    def run(self, step_done: Callable[[], None]) -> dict[str, NDArray[Any]]:
        """Run all steps; what was drawn by name, ``(N, C, H, W)``."""
        wait = next(iter(self.sizes.values())).binding.synchronize_outputs
        failures = partial(device_failures, device_of(self.session))  # what a caller's progress raises is none
        try:
            for number, step in enumerate(self.plan.steps, 1):
                size = self.sizes[step.stop - step.start]
                with failures():
                    self.session.run_with_iobinding(size.binding, size.options)
                    if number % UNSEEN == 0:
                        wait()
                step_done()
        finally:
            with failures():
                wait()  # nothing of ours may run any more when this memory is read, filled or freed
        with failures():
            reached, rows = int(self.values[CURSOR].numpy()[0]), self.plan.steps[-1].stop
            drawn = {name: self.values[table_of(name)].numpy() for name in self.drawn}
        if reached != rows:
            raise PvaeZooError(f"steps of {reached} rows ran on the GPU in place of {rows}: use --device cpu")
        return {name: self.plan.placed(table) for name, table in drawn.items()}

    def _bind(self) -> None:
        """Bind the runs of each size, and capture them.

        The largest first: what CUDA kernels keep for themselves grows with the shapes, and would leave the addresses
        that an earlier capture knows. The runs of a capture advance by 0: they write rows that are drawn later.
        """
        for index, rows in enumerate(sorted({step.stop - step.start for step in self.plan.steps}, reverse=True)):
            lanes = self._value(np.arange(rows))
            advance = self._value(np.array([0 if self.captures else rows]))
            binding = self.session.io_binding()
            for name, value in {**self.values, LANES: lanes, ADVANCE: advance}.items():
                binding.bind_ortvalue_input(name, value)
            for name in self.written:
                binding.bind_ortvalue_output(next_of(name), self.values[name])
            number = self.captures[index] if self.captures else None
            if self.captures:
                self.session.run_with_iobinding(binding, run_options(number))
                advance.update_inplace(np.array([rows]))
            self.sizes[rows] = _Size(binding, advance, run_options(number, waits=number is None))

    def _put(self, name: str, values: NDArray[Any]) -> None:
        if name in self.values:
            self.values[name].update_inplace(np.ascontiguousarray(values))
        else:
            self.values[name] = self._value(values)

    def _value(self, values: NDArray[Any]) -> Any:
        """A tensor of our own on the device."""
        ours = np.array(values, order="C") if self.place.name == "cpu" else np.ascontiguousarray(values)
        return import_onnxruntime().OrtValue.ortvalue_from_numpy(ours, self.place.name, self.place.number)
