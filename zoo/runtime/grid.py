"""Drawing a grid of values with a single-step graph, a wavefront at a time: pixels, or the locations of z1.

The loop lives here, not in the graph. Canvases are bound as input and output of a step at once, so nothing is copied:
a step writes its features in place (`pvae_zoo.runtime.wavefront` has the invariant that makes it safe). The batch is
cut into slices, and each worker drives its own single-threaded session over its own slices, which beats one session
with many threads. Noise is keyed by image, so neither changes a value (onnxruntime rounds the last few elements of a
vectorised operator differently unless widths are multiples of 8, as those of every recipe are).
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.config import StepSpec
from pvae_zoo.contract.folder import Bundle
from pvae_zoo.runtime.sessions import CPU, Device, active_provider, import_onnxruntime, open_session
from pvae_zoo.runtime.wavefront import Order, Step, canvas_rows, positions, step_count, steps

POSITIONS = 384
"""Positions that a CPU worker computes in a step: enough to fill the matrix products, few enough for the caches.

A GPU takes little more than twice as long for the steps of 1,024 digits as for those of one
(benchmarks/RESULTS-cuda.md): there the batch is one slice.
"""

Progress = Callable[[int, int], None]
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class GridDraw:
    """What to draw.

    Attributes:
        context: the context graph's output, ``(N, rows, channels)`` float32.
        values: inputs of the step by name, for every position of the grid: ``(N, C, H, W)``.
        constants: inputs of the step that are the same for all positions.
        fixed: values ``(N, C, H, W)`` that stand where the step would draw others, NaN where it draws. What the step
            computes for a position reads those before it and never its own, so they may be put there after it.
    """

    context: NDArray[np.float32]
    values: Arrays
    constants: Arrays
    fixed: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.context)

    def part(self, chosen: slice) -> GridDraw:
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

    Attributes:
        images_at_once: that a worker draws; their share of a wavefront's steps is about `POSITIONS` positions each on
            the CPU, and all of a batch elsewhere.
    """

    def __init__(self, bundle: Bundle, role: str, device: Device = "cpu", workers: int = 1) -> None:
        self.spec = bundle.config.steps[role]
        outputs = [tensor.name for tensor in bundle.config.graphs[role].outputs]
        self.drawn = [name for name in outputs if not name.startswith("canvas_")]
        model = bundle.read_graph(role)
        first = open_session(model, device)
        self._open = partial(open_session, model, device)
        _check_contract(first, bundle.name, role, self.spec)
        self.provider = active_provider(first)
        on_cpu = self.provider == CPU
        share = POSITIONS * self.steps_per_slice() // (self.spec.height * self.spec.width)
        self.images_at_once = max(1, share) if on_cpu else sys.maxsize
        self.workers = workers if on_cpu else 1
        self._sessions = [first]

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
        workers = min(len(parts), self.workers)
        while len(self._sessions) < workers:
            self._sessions.append(self._open())
        free = list(self._sessions)
        stop = threading.Event()

        def work(part: slice) -> dict[str, NDArray[Any]]:
            session = free.pop()
            try:
                return self._draw_slice(session, what.part(part), order, counter, stop)
            finally:
                free.append(session)

        if workers == 1:
            drawn = [work(part) for part in parts]
        else:
            with ThreadPoolExecutor(workers) as pool:
                try:
                    drawn = list(pool.map(work, parts))
                except BaseException:
                    stop.set()  # Ctrl-C must not wait for the slices of other workers
                    pool.shutdown(wait=True, cancel_futures=True)
                    raise
        return {name: np.concatenate([part[name] for part in drawn]) for name in self.drawn}

    def _draw_slice(
        self, session: Any, what: GridDraw, order: Order, counter: _Counter, stop: threading.Event
    ) -> dict[str, NDArray[Any]]:
        spec, count = self.spec, len(what)
        grids: dict[str, NDArray[Any]] = {}
        run = _BoundStep(session, self.provider, spec, what, self.drawn)
        for step in steps(spec.height, spec.width, spec.geometry.slope, order):
            if stop.is_set():
                break
            feed = step_feed(spec, count, step, what.values)
            outputs = run(**feed)
            if what.fixed is not None:
                outputs[0] = run.fix(feed["positions"], outputs[0], _at(what.fixed, step.rows, step.columns))
            for name, rows in zip(self.drawn, outputs, strict=True):
                if name not in grids:
                    grids[name] = np.zeros((count, spec.channels, spec.height, spec.width), rows.dtype)
                place(grids[name], step, rows)
            counter.advance()
        return grids


def step_feed(spec: StepSpec, count: int, step: Step, values: Arrays) -> dict[str, NDArray[Any]]:
    """The inputs of one step for ``count`` images; ``values`` are ``(N, C, H, W)``. Context and canvases are beside."""
    ys, xs = step.rows, step.columns
    within = ys * spec.width + xs if spec.context.rows > 1 else np.zeros_like(ys)
    owners = np.arange(count)[:, None]
    return {
        "positions": positions(spec.geometry, count, step),
        "context_rows": np.ascontiguousarray((owners * spec.context.rows + within[None, :]).ravel()),
        **{name: _at(value, ys, xs) for name, value in values.items()},
    }


def place(grid: NDArray[Any], step: Step, rows: NDArray[Any]) -> None:
    """Write what a step drew, ``(N * k, C)``, to its positions in ``(N, C, H, W)``."""
    count, channels = grid.shape[:2]
    grid[:, :, step.rows, step.columns] = rows.reshape(count, len(step.rows), channels).transpose(0, 2, 1)


class _BoundStep:
    """A session with the slice's canvases bound as inputs and outputs, so that each step writes in place."""

    def __init__(self, session: Any, provider: str, spec: StepSpec, what: GridDraw, drawn: list[str]) -> None:
        ort = import_onnxruntime()
        self.session, self.drawn = session, drawn
        self.binding = session.io_binding()
        self.on_cpu = provider == CPU
        device = "cpu" if provider == CPU else "cuda"
        self.canvases = []
        rows = canvas_rows(spec.geometry, len(what))
        self.seen = np.zeros((rows, spec.canvases[0].channels), np.float32)
        for index, canvas in enumerate(spec.canvases):
            zeros = self.seen if index == 0 else np.zeros((rows, canvas.channels), np.float32)
            value = ort.OrtValue.ortvalue_from_numpy(zeros, device, 0)
            self.canvases.append(value)
            self.binding.bind_ortvalue_input(canvas.name, value)
            self.binding.bind_ortvalue_output(f"{canvas.name}_next", value)
        table = np.ascontiguousarray(what.context.reshape(-1, spec.context.channels))
        self.binding.bind_ortvalue_input("context", ort.OrtValue.ortvalue_from_numpy(table, device, 0))
        for name, constant in what.constants.items():
            self.binding.bind_cpu_input(name, constant)

    def __call__(self, **inputs: NDArray[Any]) -> list[NDArray[Any]]:
        for name, value in inputs.items():
            self.binding.bind_cpu_input(name, value)
        for name in self.drawn:
            self.binding.bind_output(name, "cpu")
        self.session.run_with_iobinding(self.binding)
        # In the order in which they were first bound: the canvases came before.
        return [value.numpy() for value in self.binding.get_outputs()[-len(self.drawn) :]]

    def fix(self, positions: NDArray[np.int64], drawn: NDArray[Any], wanted: NDArray[np.float32]) -> NDArray[Any]:
        """What was drawn, ``(M, C)``, with the wanted values where they are numbers; later steps see them too."""
        values = np.where(np.isnan(wanted), drawn, wanted)
        if self.on_cpu:  # the canvas is the memory of this array
            self.seen[positions] = values
        else:
            canvas = self.canvases[0].numpy()
            canvas[positions] = values
            self.canvases[0].update_inplace(canvas)
        return values


def _check_contract(session: Any, model: str, role: str, spec: StepSpec) -> None:
    """The graph knows its own geometry: a config that says otherwise would draw wrong images without a word."""
    stated = json.loads(session.get_modelmeta().custom_metadata_map.get("pvae.config", "{}"))
    if stated.get("steps", {}).get(role) != json.loads(json.dumps(asdict(spec))):
        raise PvaeZooError(f"{model}: config.json and {role}.onnx disagree; pull or export the bundle again")


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


def _at(values: NDArray[Any], ys: NDArray[np.int64], xs: NDArray[np.int64]) -> NDArray[Any]:
    """``(N, C, H, W)`` at a step's positions: ``(N * k, C)``."""
    picked = values[:, :, ys, xs]  # (N, C, k)
    return np.ascontiguousarray(picked.transpose(0, 2, 1).reshape(-1, values.shape[1]))
