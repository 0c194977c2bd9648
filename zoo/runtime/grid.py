"""Drawing a grid of values with a single-step graph, a wavefront at a time: pixels, or the locations of z1.

The loop lives here, not in the graph, and all that its steps are fed is laid out before it begins
(`pvae_zoo.runtime.plan`). Canvases are bound as input and output of a step at once, so nothing is copied:
a step writes its features in place (`pvae_zoo.runtime.wavefront` has the invariant that makes it safe).

On a GPU all that the steps are fed lies there too, and a step costs the host no more than its launch
(`pvae_zoo.runtime.device_steps`). On the CPU that takes as long to within 1 % from 16 digits on, and what it saves of a
single one, some 10 ms of 50, is less than the 90 ms for which the graph is grown. There the batch is cut into slices,
and each worker drives its own single-threaded session over its own slices, which beats one session with many threads.
Noise is keyed by image, so neither changes a value (onnxruntime rounds the last few elements of a vectorised operator
differently unless widths are multiples of 8, as those of every recipe are).
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache, partial
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.base.devices import Device
from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.config import StepSpec, TensorSpec
from pvae_zoo.contract.folder import Bundle
from pvae_zoo.runtime.contexts import DeviceContext
from pvae_zoo.runtime.device_steps import DeviceSteps
from pvae_zoo.runtime.plan import Arrays, Plan
from pvae_zoo.runtime.sessions import CPU, active_provider, certain_provider, import_onnxruntime, open_session
from pvae_zoo.runtime.wavefront import Order, canvas_rows, step_count

POSITIONS = 384
"""Positions that a CPU worker computes in a step: enough to fill the matrix products, few enough for the caches.

A GPU takes little more than twice as long for the steps of 1,024 digits as for those of one
(benchmarks/RESULTS-cuda.md): there the batch is one slice.
"""

Progress = Callable[[int, int], None]
Strategy = Literal["bound", "tables"]
"""How steps are fed: each with slices of the host's arrays that are bound to it, or from tables on the device."""


@dataclass(frozen=True)
class GridDraw:
    """What to draw.

    Attributes:
        context: the context graph's output, ``(N, rows, channels)`` float32; for steps from tables also one that is
            computed where they read it.
        values: inputs of the step by name, for every position of the grid: ``(N, C, H, W)``.
        constants: inputs of the step that are the same for all positions.
        fixed: values ``(N, C, H, W)`` that stand where the step would draw others, NaN where it draws. What the step
            computes for a position reads those before it and never its own, so they may be put there after it.
    """

    context: NDArray[np.float32] | DeviceContext
    values: Arrays
    constants: Arrays
    fixed: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.context)

    def part(self, chosen: slice) -> GridDraw:
        """Some of the images, of an array of contexts."""
        assert not isinstance(self.context, DeviceContext)
        values = {name: value[chosen] for name, value in self.values.items()}
        fixed = None if self.fixed is None else self.fixed[chosen]
        return GridDraw(self.context[chosen], values, self.constants, fixed)


class GridSampler:
    """Drives a single-step graph.

    Args:
        bundle: verified on opening.
        role: "decoder_step" or "prior_step".
        device: where the steps run; canvases stay there from step to step.
        workers: sessions that work side by side, on the CPU, at most: each is opened when a slice needs it.
        strategy: how steps are fed: by itself "tables" on a GPU and "bound" on the CPU; "bound" is for the CPU alone.

    Attributes:
        images_at_once: that a worker draws; their share of a wavefront's steps is about `POSITIONS` positions each on
            the CPU, and all of a batch elsewhere.
        uncaptured: None if steps are captured as CUDA graphs, or else why not.
    """

    def __init__(
        self, bundle: Bundle, role: str, device: Device = "cpu", workers: int = 1, strategy: Strategy | None = None
    ) -> None:
        self.spec = bundle.config.steps[role]
        written = {f"{canvas.name}_next" for canvas in self.spec.canvases}
        self.drawn = tuple(tensor for tensor in bundle.config.graphs[role].outputs if tensor.name not in written)
        model = bundle.read_graph(role)
        self._open = partial(open_session, model, device)
        self._open_tables = cache(partial(DeviceSteps, model, self.spec, self.drawn, device))
        self._by_tables = False
        self.uncaptured: str | None = "the CPU has none"
        if strategy == "tables" or (strategy is None and certain_provider(device) != CPU):
            tables = self._open_tables(False)
            first, self.uncaptured = tables.session, tables.uncaptured
            self._by_tables = strategy == "tables" or active_provider(first) != CPU
        if not self._by_tables:
            first = self._open()
        _check_contract(first, bundle.name, role, self.spec)
        self.provider = active_provider(first)
        share = POSITIONS * self.steps_per_slice() // (self.spec.height * self.spec.width)
        self.images_at_once = sys.maxsize if self._by_tables else max(1, share)
        self.workers = 1 if self._by_tables else workers
        self._idle = [_Worker(first)]
        self._lock = threading.Lock()

    @property
    def bytes_per_image(self) -> int:
        """Memory that an image takes while it is drawn: its canvases and its context."""
        canvases = self.spec.geometry.rows_per_image * sum(canvas.channels for canvas in self.spec.canvases)
        return 4 * (canvases + self.spec.context.rows * self.spec.context.channels)

    def steps_per_slice(self, order: Order = "wavefront") -> int:
        """Runs of the step graph for one slice of the batch."""
        return step_count(self.spec.height, self.spec.width, self.spec.geometry.slope, order)

    def steps(self, count: int, order: Order = "wavefront") -> int:
        """Runs of the step graph for ``count`` images, of all workers together."""
        return len(self.slices(count)) * self.steps_per_slice(order)

    def slices(self, count: int) -> list[slice]:
        """How ``count`` images are shared among the workers: even parts of at most ``images_at_once``."""
        parts = max(1, min(count, self.workers), -(-count // self.images_at_once))
        parts = -(-parts // self.workers) * self.workers if count >= self.workers else parts
        bounds = [count * p // parts for p in range(parts + 1)]
        return [slice(a, b) for a, b in pairwise(bounds) if b > a]

    def draw(
        self, what: GridDraw, *, order: Order = "wavefront", progress: Progress | None = None
    ) -> dict[str, NDArray[Any]]:
        """Draw the whole grid.

        Args:
            order: "wavefront", or "raster" for one position an image and step: slower, the same values.
            progress: called with (steps done, steps in all) after each step.

        Returns:
            The step's outputs by name, ``(N, C, H, W)``.
        """
        parts = self.slices(len(what))
        counter = _Counter(self.steps(len(what), order), progress)
        if self._by_tables:
            return self._open_tables(what.fixed is not None).draw(what, order, counter.advance)
        workers = self._taken(min(len(parts), self.workers))
        free, stop = list(workers), threading.Event()

        def work(part: slice) -> dict[str, NDArray[Any]]:
            worker = free.pop()
            try:
                return self._draw_slice(worker, what.part(part), order, counter, stop)
            finally:
                free.append(worker)

        try:
            if len(workers) == 1:
                drawn = [work(part) for part in parts]
            else:
                with ThreadPoolExecutor(len(workers)) as pool:
                    try:
                        drawn = list(pool.map(work, parts))
                    except BaseException:
                        stop.set()  # Ctrl-C must not wait for the slices of other workers
                        pool.shutdown(wait=True, cancel_futures=True)
                        raise
        finally:
            self._idle += workers
        return {name: np.concatenate([part[name] for part in drawn]) for name in drawn[0]}

    def _taken(self, count: int) -> list[_Worker]:
        """So many workers for one draw alone; another thread that draws meanwhile has others."""
        with self._lock:
            taken, self._idle = self._idle[:count], self._idle[count:]
        return taken + [_Worker(self._open()) for _ in range(count - len(taken))]

    def _draw_slice(
        self, worker: _Worker, what: GridDraw, order: Order, counter: _Counter, stop: threading.Event
    ) -> dict[str, NDArray[Any]]:
        plan = Plan(self.spec, len(what), order)
        run = _BoundSteps(worker, plan, what, self.drawn)
        for step in plan.steps:
            if stop.is_set():
                break
            run(step)
            counter.advance()
        return {name: plan.placed(rows) for name, rows in run.drawn.items()}


class _Worker:
    """A session of the CPU and the canvases of its last slice.

    The next slice of as many images is drawn on the same: a step reads what its own draw wrote before, or margins. New
    memory has to be cleared by the system, which took 15 % of a draw's time in one container.
    """

    def __init__(self, session: Any) -> None:
        self.session = session
        self._canvases: list[NDArray[np.float32]] = []

    def canvases(self, spec: StepSpec, count: int) -> list[NDArray[np.float32]]:
        """The canvases for ``count`` images, margins at zero."""
        rows = canvas_rows(spec.geometry, count)
        if not self._canvases or len(self._canvases[0]) != rows:
            self._canvases = []  # before others are taken
            self._canvases = [np.zeros((rows, canvas.channels), np.float32) for canvas in spec.canvases]
        return self._canvases


class _BoundSteps:
    """A session of the CPU with a slice's canvases bound as inputs and outputs at once: a step writes in place.

    Attributes:
        canvases: the memory of the bound values, that of what is seen first.
        drawn: the step's other outputs for all positions of the plan, each step's once it has run.
    """

    def __init__(self, worker: _Worker, plan: Plan, what: GridDraw, drawn: tuple[TensorSpec, ...]) -> None:
        ort, spec = import_onnxruntime(), plan.spec
        self.session, self.binding = worker.session, worker.session.io_binding()
        self.canvases = worker.canvases(spec, len(what))
        for canvas, memory in zip(spec.canvases, self.canvases, strict=True):
            value = ort.OrtValue.ortvalue_from_numpy(memory)
            self.binding.bind_ortvalue_input(canvas.name, value)
            self.binding.bind_ortvalue_output(f"{canvas.name}_next", value)
        assert not isinstance(what.context, DeviceContext)
        self.binding.bind_cpu_input("context", np.ascontiguousarray(what.context.reshape(-1, spec.context.channels)))
        for name, constant in what.constants.items():
            self.binding.bind_cpu_input(name, constant)
        self.inputs = {**plan.rows, **{name: plan.taken(value) for name, value in what.values.items()}}
        self.fixed = None if what.fixed is None else plan.taken(what.fixed)
        total = plan.steps[-1].stop
        self.drawn = {tensor.name: np.zeros((total, spec.channels), tensor.dtype) for tensor in drawn}

    def __call__(self, step: slice) -> None:
        """Run one step of the plan."""
        for name, rows in self.inputs.items():
            self.binding.bind_cpu_input(name, rows[step])
        for name, rows in self.drawn.items():
            count, channels = step.stop - step.start, rows.shape[1]
            place = rows.ctypes.data + step.start * rows.strides[0]
            self.binding.bind_output(name, "cpu", 0, rows.dtype.type, [count, channels], place)
        self.session.run_with_iobinding(self.binding)
        if self.fixed is not None:
            self._fix(self.inputs["positions"][step], next(iter(self.drawn.values()))[step], self.fixed[step])

    def _fix(self, positions: NDArray[np.int64], drawn: NDArray[Any], wanted: NDArray[np.float32]) -> None:
        """Put the wanted values, where they are numbers, in the place of those drawn; later steps see them too."""
        np.copyto(drawn, wanted, where=~np.isnan(wanted), casting="unsafe")
        self.canvases[0][positions] = drawn


def _check_contract(session: Any, model: str, role: str, spec: StepSpec) -> None:
    """The graph knows its own geometry: a config that says otherwise would draw wrong images without a word."""
    stated = json.loads(session.get_modelmeta().custom_metadata_map.get("pvae.config", "{}"))
    if stated.get("steps", {}).get(role) != json.loads(json.dumps(asdict(spec))):
        raise PvaeZooError(f"{model}: config.json and {role}.onnx disagree; pull or export the bundle again")


def uncaptured(bundle: Bundle, device: Device) -> str | None:
    """None if all steps of a model are captured as CUDA graphs on a device, or else which are not and why."""
    for role in bundle.config.steps:
        reason = GridSampler(bundle, role, device).uncaptured
        if reason is not None:
            return f"{role}: {reason}"
    return None


class _Counter:
    """Steps done by all workers."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.total, self.progress, self.done = total, progress, 0
        self._lock = threading.Lock()

    def advance(self) -> None:
        with self._lock:
            self.done += 1
            if self.progress is not None:
                self.progress(self.done, self.total)
