"""A set that is decoded once: its pixels one picture after another in one piece of memory, whatever their sizes.

A picture of 64x64 takes microseconds to cut from memory and half a millisecond to decode, and training asks for each a
hundred times.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.data.image_store import ArrayStore, Images, ImageStore
from pvae_zoo.data.known_sets import Origin

_CHUNK = 64  # pictures that a thread decodes at once
_PROBES = 32  # pictures that are looked at to guess how large the set is


class HeldStore:
    """A split in memory.

    Attributes:
        pixels: uint8, of all pictures, each ``(C, h, w)`` in row-major order.
        offsets: int64 ``(N + 1,)``, where each picture begins in ``pixels``.
        sizes: int64 ``(N, 2)``, rows and columns of each.
    """

    def __init__(self, pixels: Images, sizes: NDArray[np.int64], channels: int, names: ImageStore) -> None:
        self.pixels, self.sizes, self._channels, self._names = pixels, sizes, channels, names
        self.offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(channels * sizes.prod(axis=1))])

    @property
    def origin(self) -> Origin | None:
        return self._names.origin

    def __len__(self) -> int:
        return len(self.sizes)

    def name(self, index: int) -> str:
        return self._names.name(index)

    def image(self, index: int) -> Images:
        height, width = self.sizes[index]
        image: Images = self.pixels[self.offsets[index] : self.offsets[index + 1]]
        return image.reshape(self._channels, height, width)


def hold(
    store: ImageStore, channels: int, most_bytes: int, progress: Callable[[int, int], None] = lambda done, of: None
) -> HeldStore | None:
    """Decode a whole split, on all cores.

    Args:
        store: where the pictures are.
        channels: of every picture.
        most_bytes: that their pixels may take.
        progress: called with the number of pictures that are decoded, and of all.

    Returns:
        The pictures, bit for bit those of ``store``; None if they do not fit.

    Raises:
        PvaeZooError: for the first picture that cannot be used.
    """
    if isinstance(store, ArrayStore):  # is in memory already, all pictures of one size
        sizes = np.broadcast_to(np.array(store.values.shape[2:], np.int64), (len(store), 2))
        return HeldStore(store.values.reshape(-1), sizes, channels, store)
    count = len(store)
    probes = np.linspace(0, count - 1, min(count, _PROBES)).astype(int)
    guess = int(np.mean([store.image(int(index)).size for index in probes]) * count)
    if guess > most_bytes:
        return None
    pixels = np.empty(guess, np.uint8)  # the system gives it page by page, as it is written to
    sizes = np.empty((count, 2), np.int64)
    end = 0
    for done, image in enumerate(_decoded(store)):
        start, end = end, end + image.size
        if end > most_bytes:
            return None
        if end > len(pixels):
            pixels.resize(min(most_bytes, end + end // 8), refcheck=False)
        pixels[start:end] = image.reshape(-1)
        sizes[done] = image.shape[1:]
        if (done + 1) % _CHUNK == 0 or done + 1 == count:
            progress(done + 1, count)
    pixels.resize(end, refcheck=False)
    return HeldStore(pixels, sizes, channels, store)


def _decoded(store: ImageStore) -> Iterator[Images]:
    """All pictures in order; Pillow's decoders leave the interpreter to other threads while they work."""
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def chunk(start: int) -> list[Images]:
        return [store.image(index) for index in range(start, min(start + _CHUNK, len(store)))]

    with ThreadPoolExecutor(workers, "decoding") as threads:
        ahead: deque[Future[list[Images]]] = deque()
        try:
            for start in range(0, len(store), _CHUNK):
                ahead.append(threads.submit(chunk, start))
                if len(ahead) > 2 * workers:  # what is decoded and not yet taken stays small
                    yield from ahead.popleft().result()
            while ahead:
                yield from ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()
