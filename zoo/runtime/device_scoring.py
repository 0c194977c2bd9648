"""Scoring on a GPU: one graph for all that a bound needs, in batches that its memory holds.

A batch is one upload (images, noise), one run and one download. All runs have one of a few shapes, what is missing in
the last one filled up, so that cuDNN looks for its algorithms once. Where the memory does not do, the batch is halved.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from functools import cached_property
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.base.devices import Device
from pvae_zoo.base.errors import PvaeZooWarning
from pvae_zoo.base.nvidia import free_bytes
from pvae_zoo.contract.config import BundleConfig
from pvae_zoo.runtime.failures import DeviceMemoryError, device_failures
from pvae_zoo.runtime.scoring import Evaluated, Gaussian
from pvae_zoo.runtime.sessions import CudaOptions, device_of, open_session, placement, run_options
from pvae_zoo.runtime.side_by_side import Check

DRAWS_AT_ONCE = 256
"""Draws that a run scores, at most, of large images: that many fill a GPU."""

SMALL_DRAWS_AT_ONCE = 1024
"""The same of small images, as long as they have no more than `VALUES_AT_ONCE` values together."""

VALUES_AT_ONCE = 1 << 20

PIECES = 4
"""That many images are cut into, if a piece still fills a GPU."""

MEMORY_SHARE = 0.5
"""Of the free memory, for the tensors of a run: convolutions want work space, and no piece of memory fits exactly."""

BYTES_A_LOGIT = 64
"""That a run takes, where a graph does not say: four times what those of the zoo take."""

FILL = 8
"""A shape that was run serves this fraction of its images, and no fewer; any other is searched for anew."""

_Arrays = list[NDArray[Any]]


class _Shape(NamedTuple):
    """Of a run: so many images with so many draws of each."""

    images: int
    draws: int


class DeviceScorer:
    """The graphs of `pvae_zoo.graphs.joined`, in one session. Any number of threads may use it.

    Args:
        graph: gives the bytes of a role's graph, verified.
        config: of the bundle.
        device: "cuda", "cuda:1", or "auto" where CUDA is known to load; "cpu" computes the same.
        cuda: how CUDA computes; its ``memory_bytes`` bound the batch too.
    """

    def __init__(self, graph: Callable[[str], bytes], config: BundleConfig, device: Device, cuda: CudaOptions) -> None:
        self._graph, self._config, self._device, self._cuda = graph, config, device, cuda
        levels = [f"z{number}" for number in range(1, len(config.latents) + 1)]
        self._of_images = [f"{level}_{what}" for level in levels for what in ("mean", "log_std")]
        self._of_draws = [*levels, *(("prior_mean", "prior_log_std") if len(levels) > 1 else ()), "log_prob"]
        self._session: Any = None
        self._batch: int | None = None
        self._shapes: set[_Shape] = set()
        self._halved = False
        self._lock = Lock()
        """Of all that: one run at a time, whose memory is what the batch was sized for."""

    @property
    def batch(self) -> int:
        """Draws that a run scores, at most; fewer once the memory did not do."""
        with self._lock:
            self._opened()
            assert self._batch is not None
            return self._batch

    def images_at_once(self, count: int, samples: int) -> int:
        """Images to hand to `evaluate` at once, of ``count`` with so many draws each: a power of two.

        No more than a run holds, and of many images a part, so that two threads have something to do in turn: this one
        makes the noise of a piece and sums up the last one while the GPU works at that of the other.
        """
        batch = self.batch
        part = _ceiling(math.ceil(count / PIECES))
        return min(_floor(batch // samples), max(_floor(min(batch, DRAWS_AT_ONCE) // samples), part))

    def evaluate(
        self, images: NDArray[np.uint8], noise: Sequence[NDArray[np.float32]], samples: int, check: Check = lambda: None
    ) -> Evaluated:
        """What the graphs make of images ``(N, C, H, W)`` with K = ``samples`` draws each.

        Args:
            noise: standard normal, of each level ``(N * K, *latent_shape)``, the draws of an image in a row.
            check: called before each run; what it raises ends the work.

        Raises:
            DeviceMemoryError: if the memory does not do for a single draw.
        """
        eps = [level.reshape(len(images), samples, *level.shape[1:]) for level in noise]
        parts: list[tuple[_Arrays, _Arrays]] = []
        done = 0
        while done < len(images):
            batch = self.batch
            draws = math.ceil(samples / math.ceil(samples / batch))
            most = _Shape(_floor(batch // draws), draws)  # one image where its draws take more than a run
            some = slice(done, done + most.images)
            shape = self._filled(len(images[some]), most)
            try:
                parts.append(self._drawn(images[some], [level[some] for level in eps], shape, check))
            except DeviceMemoryError:
                if not self._halve(batch, shape):
                    raise
            else:
                done = some.stop
        q, drawn = ([np.concatenate(column) for column in zip(*each, strict=True)] for each in zip(*parts, strict=True))
        levels, log_prob = len(noise), drawn[-1]
        prior = [Gaussian(drawn[2], drawn[3])] if levels > 1 else []
        return Evaluated(_gaussians(q), drawn[:levels], [*prior, None], log_prob)

    def _drawn(
        self, images: NDArray[np.uint8], eps: Sequence[NDArray[np.float32]], shape: _Shape, check: Check
    ) -> tuple[_Arrays, _Arrays]:
        """What the graph gives of images, and of their draws ``(n * K, ...)``, an image's perhaps in several runs."""
        samples = eps[0].shape[1]
        runs = []
        for start in range(0, samples, shape.draws):
            check()
            runs.append(self._run(images, [level[:, start : start + shape.draws] for level in eps], shape))
        joined = [np.concatenate(column, axis=1) for column in zip(*(drawn for _, drawn in runs), strict=True)]
        return runs[0][0], [values.reshape(len(images) * samples, *values.shape[2:]) for values in joined]

    def _run(
        self, images: NDArray[np.uint8], eps: Sequence[NDArray[np.float32]], shape: _Shape
    ) -> tuple[_Arrays, _Arrays]:
        """One run, filled up with copies of the last image and its last draw; of draws ``(n, d, ...)``."""
        count, taken = eps[0].shape[:2]
        image, draw = np.minimum(np.arange(shape.images), count - 1), np.minimum(np.arange(shape.draws), taken - 1)
        feed: dict[str, Any] = {
            "image": images[image].astype(self._config.image_type, copy=False),
            "rows": np.repeat(np.arange(shape.images), shape.draws),
        }
        for number, level in enumerate(eps, start=1):
            feed[f"z{number}_noise"] = level[image[:, None], draw].reshape(-1, *level.shape[2:])
        names = [*self._of_images, *self._of_draws]
        with self._lock:
            session = self._opened()
            with device_failures(device_of(session)):
                values = session.run(names, feed, run_options())
        q, drawn = values[: len(self._of_images)], values[len(self._of_images) :]
        drawn = [value.reshape(*shape, *value.shape[1:])[:count, :taken] for value in drawn]
        return [value[:count] for value in q], drawn

    def _filled(self, count: int, most: _Shape) -> _Shape:
        """The shape of a run of ``count`` images, at most ``most``: one that was run, or the next power of two."""
        with self._lock:
            run = [shape.images for shape in self._shapes if shape.draws == most.draws]
            serving = [images for images in run if count <= images <= min(FILL * count, most.images)]
            images = min(serving, default=min(most.images, _ceiling(count)))
            shape = _Shape(images, most.draws)
            self._shapes.add(shape)
            return shape

    def _opened(self) -> Any:
        if self._session is None:
            self._session = open_session(self._model.SerializeToString(), self._device, 1, self._cuda)
            if self._batch is None:
                self._batch = self._fitting(self._session)
        return self._session

    @cached_property
    def _model(self) -> Any:
        import onnx

        from pvae_zoo.graphs.joined import scoring_graph, scoring_roles

        levels = len(self._config.latents)
        parts = {role: onnx.load_from_string(self._graph(role)) for role in scoring_roles(levels)}
        return scoring_graph(parts, levels)

    def _fitting(self, session: Any) -> int:
        """The batch, a power of two, that `MEMORY_SHARE` of what is free holds."""
        from pvae_zoo.graphs.memory import bytes_a_row

        image = self._config.image
        most = min(SMALL_DRAWS_AT_ONCE, max(DRAWS_AT_ONCE, _floor(VALUES_AT_ONCE // image.dimensions)))
        where = placement(session)
        free = [self._cuda.memory_bytes, free_bytes(where.number) if where.name == "cuda" else None]
        known = [size for size in free if size is not None]
        if not known:
            return most
        try:
            a_row = bytes_a_row(self._model)
        except ValueError:
            a_row = BYTES_A_LOGIT * image.dimensions * image.logits_per_value
        return min(most, _floor(int(MEMORY_SHARE * min(known)) // a_row))

    def _halve(self, batch: int, tried: _Shape) -> bool:
        """Halve what failed, unless another thread has done it, and give all memory back; False if it is one draw."""
        draws = tried.images * tried.draws
        with self._lock:
            if self._batch == batch:
                if draws == 1:
                    return False
                self._batch = draws // 2
                self._session = None  # what it had taken of the memory is in pieces of the wrong size
                self._shapes.clear()
                if not self._halved:
                    text = f"no memory left on the GPU for {draws} draws at once: going on with smaller batches"
                    warnings.warn(text, PvaeZooWarning, stacklevel=3)
                self._halved = True
            return True


def _gaussians(values: _Arrays) -> list[Gaussian]:
    """Of each level, from their means and logarithms of standard deviations in turn."""
    return [Gaussian(mean, log_std) for mean, log_std in zip(values[0::2], values[1::2], strict=True)]


def _ceiling(count: int) -> int:
    """The smallest power of two that is no less."""
    return 1 << (count - 1).bit_length()


def _floor(count: int) -> int:
    """The largest power of two that is no more, at least 1."""
    return 1 << max(0, count.bit_length() - 1)
