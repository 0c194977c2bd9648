"""Drawing images with the single-step graph, a wavefront at a time.

The loop lives here, not in the graph. Canvases are bound as input and output of a step at once, so nothing is copied:
a step writes its features in place (`pvae_zoo.runtime.wavefront` has the invariant that makes it safe). The batch is
cut into slices, and each worker drives its own single-threaded session over its own slices, which beats one session
with many threads. Noise is keyed by image, so neither changes a pixel (onnxruntime rounds the last few elements of a
vectorised operator differently unless widths are multiples of 8, as those of every recipe are).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.bundle import Bundle, BundleConfig
from pvae_zoo.errors import PvaeZooError
from pvae_zoo.runtime.sessions import CPU, Device, active_provider, import_onnxruntime, open_session
from pvae_zoo.runtime.wavefront import Order, canvas_rows, positions, step_count, steps

SLICE = 32
"""Images a worker draws at once: enough to fill the matrix products of a step, small enough for the caches."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Draw:
    """What to draw.

    Attributes:
        context: ``decoder_context``'s output, ``(N, rows, channels)`` float32.
        uniforms: in [0, 1), ``(N, C, H, W)`` float32.
        given: values to keep, -1 where to draw, ``(N, C, H, W)`` int64.
        temperature: divides the logits; 1 is the model itself.
    """

    context: NDArray[np.float32]
    uniforms: NDArray[np.float32]
    given: NDArray[np.int64]
    temperature: float = 1.0

    def __len__(self) -> int:
        return len(self.context)

    def part(self, chosen: slice) -> Draw:
        return Draw(self.context[chosen], self.uniforms[chosen], self.given[chosen], self.temperature)


@dataclass(frozen=True)
class Drawn:
    """Values ``(N, C, H, W)`` uint8 and their log-probabilities at temperature 1, float32, in nats."""

    images: NDArray[np.uint8]
    log_prob: NDArray[np.float32]


class StepSampler:
    """Drives ``decoder_step.onnx``.

    Args:
        bundle: verified on opening.
        device: where the steps run; canvases stay there from step to step.
        workers: sessions that work side by side, on the CPU.
    """

    def __init__(self, bundle: Bundle, device: Device = "cpu", workers: int = 1) -> None:
        self.config = bundle.config
        model = bundle.read_graph("decoder_step")
        first = open_session(model, device)
        _check_contract(first, self.config)
        self.provider = active_provider(first)
        extra = workers - 1 if self.provider == CPU else 0
        self._sessions = [first, *(open_session(model, device) for _ in range(extra))]

    def steps_per_slice(self, order: Order = "wavefront") -> int:
        """Runs of the step graph for one slice of the batch."""
        image = self.config.image
        return step_count(image.height, image.width, self.config.geometry.slope, order)

    def steps(self, count: int, order: Order = "wavefront") -> int:
        """Runs of the step graph for ``count`` images, of all workers together."""
        return len(self.slices(count)) * self.steps_per_slice(order)

    def slices(self, count: int) -> list[slice]:
        """How ``count`` images are shared among the workers: even parts of at most `SLICE` images."""
        workers = len(self._sessions)
        parts = max(1, min(count, workers), -(-count // SLICE))
        parts = -(-parts // workers) * workers if count >= workers else parts
        bounds = [count * p // parts for p in range(parts + 1)]
        return [slice(a, b) for a, b in pairwise(bounds) if b > a]

    def draw(self, what: Draw, *, order: Order = "wavefront", progress: Progress | None = None) -> Drawn:
        """Draw the pixels of ``what``.

        Args:
            order: "wavefront", or "raster" for one position an image and step: slower, the same pixels.
            progress: called with (steps done, steps in all) after each step.
        """
        parts = self.slices(len(what))
        counter = _Counter(self.steps(len(what), order), progress)
        free = list(self._sessions)
        stop = threading.Event()

        def work(part: slice) -> Drawn:
            session = free.pop()
            try:
                return self._draw_slice(session, what.part(part), order, counter, stop)
            finally:
                free.append(session)

        if len(parts) == 1 or len(self._sessions) == 1:
            drawn = [work(part) for part in parts]
        else:
            with ThreadPoolExecutor(len(self._sessions)) as pool:
                try:
                    drawn = list(pool.map(work, parts))
                except BaseException:
                    stop.set()  # Ctrl-C must not wait for the slices of other workers
                    pool.shutdown(wait=True, cancel_futures=True)
                    raise
        return Drawn(np.concatenate([d.images for d in drawn]), np.concatenate([d.log_prob for d in drawn]))

    def _draw_slice(self, session: Any, what: Draw, order: Order, counter: _Counter, stop: threading.Event) -> Drawn:
        config, count = self.config, len(what)
        image, per_pixel = config.image, config.context.rows > 1
        images = np.zeros((count, *image.chw), np.uint8)
        log_prob = np.zeros((count, *image.chw), np.float32)
        run = _BoundStep(session, self.provider, config, what)
        owners = np.arange(count)[:, None]
        for step in steps(image.height, image.width, config.geometry.slope, order):
            if stop.is_set():
                break
            ys, xs = step.rows, step.columns
            within = ys * image.width + xs if per_pixel else np.zeros_like(ys)
            pixels, logs = run(
                positions=positions(config.geometry, count, step),
                context_rows=np.ascontiguousarray((owners * config.context.rows + within[None, :]).ravel()),
                uniforms=_at(what.uniforms, ys, xs),
                given=_at(what.given, ys, xs),
            )
            images[:, :, ys, xs] = pixels.reshape(count, len(ys), image.channels).transpose(0, 2, 1)
            log_prob[:, :, ys, xs] = logs.reshape(count, len(ys), image.channels).transpose(0, 2, 1)
            counter.advance()
        return Drawn(images, log_prob)


class _BoundStep:
    """A session with the slice's canvases bound as inputs and outputs, so that each step writes in place."""

    def __init__(self, session: Any, provider: str, config: BundleConfig, what: Draw) -> None:
        ort = import_onnxruntime()
        self.session = session
        self.binding = session.io_binding()
        device = "cpu" if provider == CPU else "cuda"
        rows = canvas_rows(config.geometry, len(what))
        for canvas in config.canvases:
            zeros = np.zeros((rows, canvas.channels), np.float32)
            value = ort.OrtValue.ortvalue_from_numpy(zeros, device, 0)
            self.binding.bind_ortvalue_input(canvas.name, value)
            self.binding.bind_ortvalue_output(f"{canvas.name}_next", value)
        table = np.ascontiguousarray(what.context.reshape(-1, config.context.channels))
        self.binding.bind_ortvalue_input("context", ort.OrtValue.ortvalue_from_numpy(table, device, 0))
        self.binding.bind_cpu_input("temperature", np.array([what.temperature], np.float32))

    def __call__(self, **inputs: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        for name, value in inputs.items():
            self.binding.bind_cpu_input(name, value)
        self.binding.bind_output("pixels", "cpu")
        self.binding.bind_output("log_prob", "cpu")
        self.session.run_with_iobinding(self.binding)
        *_, pixels, log_prob = self.binding.get_outputs()  # in the order in which they were first bound
        return pixels.numpy(), log_prob.numpy()


def _check_contract(session: Any, config: BundleConfig) -> None:
    """The graph knows its own geometry: a config that says otherwise would draw wrong images without a word."""
    stated = json.loads(session.get_modelmeta().custom_metadata_map.get("pvae.config", "{}"))
    ours = json.loads(json.dumps({"geometry": asdict(config.geometry), "context": asdict(config.context)}))
    if any(stated.get(key) != value for key, value in ours.items()):
        raise PvaeZooError(
            f"{config.name}: config.json and decoder_step.onnx disagree; pull or export the bundle again"
        )


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
    """``(N, C, H, W)`` at a step's pixels: ``(N * k, C)``."""
    picked = values[:, :, ys, xs]  # (N, C, k)
    return np.ascontiguousarray(picked.transpose(0, 2, 1).reshape(-1, values.shape[1]))
