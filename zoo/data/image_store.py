"""What a format has to offer: images one at a time, in the model's channels and levels, of any size.

A store reads an image when it is asked for it, so that memory does not grow with the set. Shapes: N images, C channels,
h rows, w columns (the picture's own).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.data.known_sets import Origin

Images = NDArray[np.uint8]
Split = Literal["train", "valid", "test"]
Binarize = Literal["refuse", "threshold"]


class ImageStore(Protocol):
    """A split of a data set in one format. Any number of threads may ask for images at once."""

    @property
    def origin(self) -> Origin | None:
        """The known set that it is a split of; None for any other."""
        ...

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """The image in words that its owner can find it by."""
        ...

    def image(self, index: int) -> Images:
        """One image, uint8 ``(C, h, w)`` in ``0 .. levels - 1``.

        Raises:
            PvaeZooError: if it cannot be used; the message names it.
        """
        ...


class ArrayStore:
    """A small set that is held in memory.

    Attributes:
        values: uint8 ``(N, C, h, w)`` in ``0 .. levels - 1``.

    Args:
        values: uint8 ``(N, C, h, w)``; for fewer than 256 levels they may be in these already, or else are grey from 0
            to 255.
        image: what the model takes.
        binarize: see `to_levels`.
        where: the set, for messages.

    Raises:
        PvaeZooError: if channels or levels are not the model's.
    """

    def __init__(self, values: Images, image: ImageShape, binarize: Binarize, where: str) -> None:
        if values.shape[1] != image.channels:
            raise PvaeZooError(f"{where} has {values.shape[1]} channel(s); the model takes {image.channels}")
        self._where = where
        fits = int(values.max(initial=0)) < image.levels
        self.values = values if fits else to_levels(values, image.levels, binarize, where)

    @property
    def origin(self) -> Origin | None:
        return None

    def __len__(self) -> int:
        return len(self.values)

    def name(self, index: int) -> str:
        return f"image {index} of {self._where}"

    def image(self, index: int) -> Images:
        image: Images = self.values[index]
        return image


class JoinedStore:
    """Several stores, one after the other; ``origin`` is that of all of them together."""

    def __init__(self, parts: Sequence[ImageStore], origin: Origin | None = None) -> None:
        self._parts, self._origin = parts, origin
        self._ends = np.cumsum([len(part) for part in parts])

    @property
    def origin(self) -> Origin | None:
        return self._origin

    def __len__(self) -> int:
        return int(self._ends[-1])

    def name(self, index: int) -> str:
        part, within = self._find(index)
        return part.name(within)

    def image(self, index: int) -> Images:
        part, within = self._find(index)
        return part.image(within)

    def _find(self, index: int) -> tuple[ImageStore, int]:
        number = int(np.searchsorted(self._ends, index, side="right"))
        part = self._parts[number]
        return part, index - (int(self._ends[number]) - len(part))


def to_levels(values: Images, levels: int, binarize: Binarize, where: str) -> Images:
    """Values of an image file in the model's levels.

    Args:
        values: uint8 of any shape, ``0 .. 255``.
        levels: 2 to 256; white is ``levels - 1``.
        binarize: "threshold" turns grey into black and white at 128 for two levels; "refuse" lets only images pass
            that are black and white already.
        where: what the values belong to, for the message.

    Raises:
        PvaeZooError: for grey values where only black and white may be.
    """
    if levels == 256:
        return values
    if levels > 2:
        return (values.astype(np.uint16) * levels // 256).astype(np.uint8)
    if binarize == "threshold":
        return (values >= 128).astype(np.uint8)
    if np.isin(values, (0, 255)).all():
        return values // 255
    raise PvaeZooError(f"{where} has grey values; the model takes 0..1: set binarize = 'threshold' in the recipe")
