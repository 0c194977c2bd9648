"""What the rows of gpu_tables.py are measured with: the models on a device, the networks in PyTorch, a clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

import numpy as np
import torch
from cuda_rows import Rates

import pvae_zoo
from pvae_zoo.export.bundle import model_of
from pvae_zoo.export.weights import checkpoint_of
from pvae_zoo.models.pixelvae import PixelVAE
from pvae_zoo.runtime.model import Model
from pvae_zoo.sources.registry import open_bundle

Images = np.ndarray[Any, np.dtype[np.uint8]]


class Bench:
    """What a process has loaded.

    Args:
        device: "cuda", or "cpu" to see that everything runs.
        quick: as few repetitions as can be.

    Attributes:
        rates: what earlier rows have measured.
        model: a model on the device by name and other arguments of `Model`. Two are kept, since each holds the memory
            of what it did.
        cpu: a model on the CPU by name.
        network: the same weights in PyTorch on the device, by name.
        images: what the CPU draws of a model by name, 16 images again and again, so many.
    """

    def __init__(self, device: str, *, quick: bool) -> None:
        self.device, self.quick = device, quick
        self.rates: Rates = {}
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False  # as the graphs compute
        torch.backends.cudnn.benchmark = True  # PyTorch at its best
        self.model = lru_cache(2)(self._model)
        self.cpu = cache(lambda name: pvae_zoo.load(name, device="cpu"))
        self.network = lru_cache(1)(self._network)
        self.images = cache(self._images)

    def _model(self, name: str, **options: Any) -> Model:
        return Model(open_bundle(name), self.device, **options)

    def _network(self, name: str) -> PixelVAE:
        return model_of(checkpoint_of(open_bundle(name))).to(self.device)

    def _images(self, name: str, count: int) -> Images:
        drawn = self.cpu(name).sample(2 if self.quick else 16)
        return np.concatenate([drawn] * -(-count // len(drawn)))[:count]

    def timed(self, work: Callable[[], Any], most: int = 5, seconds: float = 2.0) -> tuple[float, Any]:
        """The median time in seconds of a few calls after one to warm up, and the last result.

        Args:
            most: calls that are timed.
            seconds: after which no further one begins.
        """
        result, times = None if self.quick else work(), []
        while len(times) < (1 if self.quick else most) and (not times or sum(times) < seconds):
            self.synchronise()
            start = time.perf_counter()
            result = work()
            self.synchronise()
            times.append(time.perf_counter() - start)
        return sorted(times)[len(times) // 2], result

    def synchronise(self) -> None:
        """Wait for what PyTorch has begun."""
        if self.device != "cpu":
            torch.cuda.synchronize()

    def check(self) -> None:
        """Compute something on the device.

        Raises:
            RuntimeError: if that cannot be done any more.
        """
        torch.ones(1, device=self.device).item()

    def against(self, rate: float, name: str, opponent: str) -> str:
        """A ratio in words, of what an earlier row has measured; nothing where it has not."""
        return f", {rate / self.rates[name]:.2f} x {opponent}" if name in self.rates else ""
