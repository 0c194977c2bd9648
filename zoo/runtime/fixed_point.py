"""Drawing all pixels at once, again and again, until none changes [1].

Each pass draws every value with its own uniform from the image of the pass before. A value that was drawn from right
values before it is right for good, so each pass makes at least one more right, and the image that a pass leaves as it
was is the sample: the one that a wavefront draws, but for rounding. Neighbours are mostly told by few others, so the
passes are far fewer than the values: some 30 for a digit of 784.

Images stay on the device, in two buffers that take turns; a pass gives back how many values of each image changed.
Images that no longer change are left out once the others fit half of the rows.

References:
    [1] Predictive Sampling with Forecasting Autoregressive Models (Wiggers & Hoogeboom, 2020), arXiv 2002.09928,
        section 3
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count as numbers
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.base.devices import Device
from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.folder import Bundle
from pvae_zoo.runtime.captures import open_capturing
from pvae_zoo.runtime.contexts import DeviceContext
from pvae_zoo.runtime.failures import device_failures
from pvae_zoo.runtime.grid import Progress
from pvae_zoo.runtime.sampler import PixelDraw
from pvae_zoo.runtime.sessions import (
    device_of,
    import_onnxruntime,
    placement,
    run_options,
)
from pvae_zoo.runtime.side_by_side import side_by_side

AT_ONCE = {"cpu": 1 << 20, "cuda": 1 << 28}
"""Numbers of the largest tensor at once, float32, of which four or five live together: on a GPU a few GB."""

_Images = NDArray[np.uint8]
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settled:
    """Images ``(N, C, H, W)`` uint8, and the passes of each batch of them, the last of which changed nothing."""

    images: _Images
    passes: tuple[int, ...]


class FixedPointSampler:
    """Drives the graph of `pvae_zoo.graphs.fixed_point`.

    Args:
        bundle: its ``decoder.onnx`` is verified on opening.
        device: where the passes run.
        workers: batches drawn side by side on the CPU, by one session of one thread: its rows then have the same
            results in any batch.
        multiple: to which batches are filled up on the CPU, for the same reason.

    Raises:
        PvaeZooError: if the device is missing, or no logits are found in the graph.
    """

    def __init__(self, bundle: Bundle, device: Device = "cpu", workers: int = 1, multiple: int = 1) -> None:
        from pvae_zoo.graphs.fixed_point import fixed_point_graph, numbers_per_image

        self.name, self.image = bundle.name, bundle.config.image
        self.image_type = bundle.config.image_type
        model = fixed_point_graph(bundle.read_graph("decoder"), self.image, self.name)
        self.session, uncaptured = open_capturing(model, device)
        self.graphs = uncaptured is None
        self.place, self.device = placement(self.session), device_of(self.session)
        on_cpu = self.place.name == "cpu"
        self.workers, self.multiple = (workers, multiple) if on_cpu else (1, 1)
        fitting = AT_ONCE[self.place.name] // numbers_per_image(model)
        self.images_at_once = max(1, fitting - fitting % multiple if on_cpu else 1 << max(fitting.bit_length() - 1, 0))
        self._graph_ids = numbers(1)
        self._kept: dict[int, _Passes] = {}

    def slices(self, count: int) -> list[slice]:
        """How ``count`` images are cut: even parts of at most ``images_at_once``, one a worker at least."""
        parts = max(min(count, self.workers), -(-count // self.images_at_once))
        bounds = [count * part // parts for part in range(parts + 1)]
        return [slice(a, b) for a, b in pairwise(bounds)]

    def draw(self, what: PixelDraw, *, progress: Progress | None = None) -> Settled:
        """Draw the pixels of ``what``.

        Args:
            what: N images.
            progress: called with (values that the last pass left as they were, values in all) after each pass, never
                with fewer than before; what it raises ends the work.

        Raises:
            DeviceMemoryError: if a batch does not fit the memory of a GPU.
            PvaeZooError: if the images do not settle in as many passes as they have values, which no graph does in
                which a value depends on those before it alone.
        """
        contexts = what.context
        assert not isinstance(contexts, DeviceContext)  # images that have settled leave it
        parts = self.slices(len(what.uniforms))
        tally = _Tally([(part.stop - part.start) * self.image.dimensions for part in parts], progress)

        def work(piece: tuple[int, slice], check: Callable[[], None]) -> tuple[_Images, int]:
            number, chosen = piece
            context, uniforms, given = contexts[chosen], what.uniforms[chosen], what.given[chosen]
            start = np.where(given < 0, 0, np.minimum(given, self.image.levels - 1)).astype(self.image_type)
            some = _Some(context, uniforms, given, np.array([what.temperature], np.float32), start)

            def report(changed: int) -> None:
                check()
                tally.changed(number, changed)

            most = int((given < 0).reshape(len(given), -1).sum(axis=1).max()) + 1
            return self._settled(some, most, report)

        drawn = side_by_side(work, list(enumerate(parts)), self.workers)
        passes = tuple(count for _, count in drawn)
        _log.info("%s", _words(len(what.uniforms), passes), extra={"passes": passes})
        return Settled(np.concatenate([images for images, _ in drawn]).astype(np.uint8, copy=False), passes)

    def _settled(self, some: _Some, most: int, report: Callable[[int], None]) -> tuple[NDArray[Any], int]:
        """Images, once at most ``most`` passes have settled them, and the passes."""
        count = len(some.start)
        with device_failures(self.device):
            passes = self._passes_of(some)
            passes.load(some)
        for number in range(1, most + 1):
            with device_failures(self.device):
                changed = passes.run()[:count]
            report(int(changed.sum()))
            moving = changed > 0
            if not moving.any():
                return passes.image()[:count], number
            if self._rows(int(moving.sum())) <= passes.rows // 2:
                images = passes.image()[:count]
                images[moving], more = self._settled(some.at(moving, images), most - number, report)
                return images, number + more
        raise PvaeZooError(
            f"{self.name}: images do not settle in as many passes as they have values, so decoder.onnx draws values by "
            "more than those before them: choose --order wavefront, and run pvae-zoo verify"
        )

    def _rows(self, count: int) -> int:
        """Rows that ``count`` images are filled up to; on a GPU few sizes, since each is prepared and captured once."""
        on_cpu = self.place.name == "cpu"
        return count + -count % self.multiple if on_cpu else 1 << (count - 1).bit_length()

    def _passes_of(self, some: _Some) -> _Passes:
        """Buffers of the size that is needed: on a GPU those of that size that are there."""
        rows = self._rows(len(some.start))
        if self.place.name == "cpu":
            return _Passes(self.session, rows, some, None)
        if rows not in self._kept:
            ids = (next(self._graph_ids), next(self._graph_ids)) if self.graphs else None
            self._kept[rows] = _Passes(self.session, rows, some, ids)
        return self._kept[rows]


@dataclass(frozen=True)
class _Some:
    """Images that are drawn together: what the graph is fed, and the images as they are."""

    context: NDArray[np.float32]
    uniforms: NDArray[np.float32]
    given: NDArray[np.int64]
    temperature: NDArray[np.float32]
    start: NDArray[Any]

    def at(self, chosen: NDArray[np.bool_], images: NDArray[Any]) -> _Some:
        """Those that are chosen, as they are among ``images`` now."""
        context, uniforms, given = self.context[chosen], self.uniforms[chosen], self.given[chosen]
        return _Some(context, uniforms, given, self.temperature, images[chosen])

    def filled(self, rows: int) -> dict[str, NDArray[Any]]:
        """Inputs of the graph for so many rows, the last image being repeated."""
        at = np.minimum(np.arange(rows), len(self.start) - 1)
        return {
            "image": np.ascontiguousarray(self.start[at]),
            "context": np.ascontiguousarray(self.context[at]),
            "uniforms": np.ascontiguousarray(self.uniforms[at]),
            "given": np.ascontiguousarray(self.given[at]),
            "temperature": self.temperature,
        }


class _Passes:
    """Buffers of so many images where a session computes, at addresses that stay, and passes between two of them.

    Args:
        rows: images.
        some: of the types and shapes that the buffers are to have.
        graph_ids: of the CUDA graphs of the two passes, None where none are captured.
    """

    def __init__(self, session: Any, rows: int, some: _Some, graph_ids: tuple[int, int] | None) -> None:
        ort, place = import_onnxruntime(), placement(session)

        def buffer(value: NDArray[Any]) -> Any:
            return ort.OrtValue.ortvalue_from_numpy(value, place.name, place.number)

        self.session, self.rows, self._turn = session, rows, 0
        values = {name: np.zeros_like(value) for name, value in some.filled(rows).items()}
        self._images = buffer(values["image"]), buffer(values.pop("image").copy())
        self._inputs = {name: buffer(value) for name, value in values.items()}
        self._changed = buffer(np.zeros(rows, np.int64))
        self._bindings, self._options = [], [run_options(number) for number in graph_ids or (None, None)]
        for before, after in (self._images, self._images[::-1]):
            binding = session.io_binding()
            for name, value in self._inputs.items():
                binding.bind_ortvalue_input(name, value)
            binding.bind_ortvalue_input("image", before)
            binding.bind_ortvalue_output("next_image", after)
            binding.bind_ortvalue_output("changed", self._changed)
            self._bindings.append(binding)

    def load(self, some: _Some) -> None:
        """Begin with other images."""
        self._turn = 0
        for name, value in some.filled(self.rows).items():
            (self._images[0] if name == "image" else self._inputs[name]).update_inplace(value)

    def run(self) -> NDArray[np.int64]:
        """Draw every value once; how many of each image changed, ``(rows,)``."""
        self.session.run_with_iobinding(self._bindings[self._turn], self._options[self._turn])
        self._turn = 1 - self._turn
        changed: NDArray[np.int64] = self._changed.numpy()
        return changed

    def image(self) -> NDArray[Any]:
        """The images of the last pass, ``(rows, C, H, W)``."""
        return np.array(self._images[self._turn].numpy())


class _Tally:
    """Values of all batches that the last pass left as they were; more of them at each call, or as many."""

    def __init__(self, values: list[int], progress: Progress | None) -> None:
        self.values, self.progress = values, progress
        self._settled = [0] * len(values)
        self._lock = threading.Lock()

    def changed(self, batch: int, count: int) -> None:
        """The last pass changed ``count`` values of a batch."""
        with self._lock:
            self._settled[batch] = max(self._settled[batch], self.values[batch] - count)
            if self.progress is not None:
                self.progress(sum(self._settled), sum(self.values))


def _words(images: int, passes: tuple[int, ...]) -> str:
    """What was done, for who wants to know."""
    drawn = f"fixed point: {images} image{'s' * (images > 1)}"
    if len(passes) == 1:
        return f"{drawn} in {passes[0]} passes"
    return f"{drawn} in {len(passes)} batches of {min(passes)} to {max(passes)} passes"
