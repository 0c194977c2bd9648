"""A set that lives on the device it is trained on: a batch is cut from it there, and nothing has to be sent.

A GPU that trains on 4,000 images of 64x64 a second would be sent 50 MB a second, from a host that has to cut and mirror
them one by one.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pvae_zoo.data.datasets import ImageSet
from pvae_zoo.data.memory import available_memory

DEVICE_SHARE = 0.25
"""Of the device's memory that is free, what the pixels of one set may take."""


class DeviceImages:
    """The pictures of a set on a device.

    Windows and mirror images are taken there. What has to be resampled or stored as JPEG comes from the host, so that
    the pixels are those of `ImageSet.read_views`, bit for bit.

    Args:
        images: held in memory (`ImageSet.held`).
        device: where the pictures go.
    """

    def __init__(self, images: ImageSet, device: torch.device | str) -> None:
        pictures = images.pictures
        assert pictures is not None, "call ImageSet.held first"
        self._images, self._device, self._chw = images, torch.device(device), images.image.chw
        self._offsets, self._sizes = pictures.offsets, pictures.sizes
        pixels = pictures.pixels if pictures.pixels.flags.writeable else pictures.pixels.copy()
        self._pixels = torch.from_numpy(pixels).to(self._device)
        channels, height, width = self._chw
        self._channel = torch.arange(channels, device=self._device).view(1, channels, 1, 1)
        self._row = torch.arange(height, device=self._device).view(1, 1, height, 1)
        self._column = torch.arange(width, device=self._device).view(1, 1, 1, width)

    @classmethod
    def fitting(cls, images: ImageSet, device: torch.device | str, share: float = DEVICE_SHARE) -> DeviceImages | None:
        """The set on the device; None if it is not held in memory or would take more than a share of what is free."""
        free = torch.cuda.mem_get_info(device)[0] if torch.device(device).type == "cuda" else available_memory()
        if images.pictures is None or images.pictures.pixels.nbytes > share * free:
            return None
        return cls(images, device)

    def __len__(self) -> int:
        return len(self._images)

    def read(self, indices: NDArray[np.int64], draws: NDArray[np.float64] | None) -> Tensor:
        """Some of the images, on the device.

        Args:
            indices: which, ``(B,)``.
            draws: from `draw_views`, ``(B, 6)``; None for the view that evaluation takes.

        Returns:
            uint8 ``(B, C, H, W)``, equal to ``images.read_views(indices, draws)``.
        """
        placed, sizes = self._images.place(indices, draws), self._sizes[indices]
        elsewhere = np.flatnonzero((placed.scaled != sizes).any(axis=1) | (placed.quality > 0))
        rows, columns = sizes.T
        top, left = np.where((placed.scaled == sizes).all(axis=1, keepdims=True), placed.corner, 0).T
        last = self._chw[2] - 1
        # The pixel of a window's first column in memory, and the way to the next: backwards in a mirror image.
        first = self._offsets[indices] + top * columns + left + np.where(placed.mirrored, last, 0)
        step = np.where(placed.mirrored, -1, 1)
        first, plane, width, step = self._sent(np.stack([first, rows * columns, columns, step]))
        at = first + self._channel * plane + self._row * width + self._column * step
        batch = self._pixels[at]
        if len(elsewhere):
            host = self._images.read_views(indices[elsewhere], None if draws is None else draws[elsewhere])
            batch[self._sent(elsewhere)[:, 0, 0, 0]] = self._sent_as_they_are(torch.from_numpy(host))
        return batch

    def _sent(self, values: NDArray[np.int64]) -> Tensor:
        """Numbers of images, ``(..., B)``, as ``(..., B, 1, 1, 1)`` on the device."""
        return self._sent_as_they_are(torch.from_numpy(values))[..., None, None, None]

    def _sent_as_they_are(self, values: Tensor) -> Tensor:
        """From pinned memory, because a copy from any other waits for all that a GPU has to do."""
        return values.pin_memory().to(self._device, non_blocking=True) if self._device.type == "cuda" else values
