"""Pictures brought to a model's size: the whole picture, its shorter side the model's.

What is longer keeps its length, so that training takes windows of it and evaluation the centre; for a model that was
trained without windows the centre is cut out at once. A picture that is too small is refused unless it may be enlarged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.data.decoding import decode_image
from pvae_zoo.data.fit import check_suits
from pvae_zoo.data.image_store import Images, ImageStore
from pvae_zoo.data.images import ImageError, ImageSource
from pvae_zoo.data.known_sets import Origin
from pvae_zoo.data.preparation import THRESHOLD, is_dark_on_light, prepared

UNTURNED = "dark on light and taken as they are"
"""The note of an image of ink on paper, for a model of white on black."""


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """How pictures become what a model takes.

    Attributes:
        image: the model's shape and levels.
        windows: keep what is longer than the model's images, for windows of it; else cut out the centre.
        enlarge: highest factor by which a picture may be enlarged; 1 for not at all.
        binarize: for two levels: values from this threshold (1 to 255) on become 1; None refuses greys.
        invert: swap light and dark before that.
        prepare: for two levels: make of drawn digits what MNIST made of them (`pvae_zoo.data.preparation`), in place of
            all that.

    Raises:
        PvaeZooError: if one of them does not suit the model.
    """

    image: ImageShape
    windows: bool
    enlarge: float = 1.0
    binarize: int | None = None
    invert: bool = False
    prepare: bool = False

    def __post_init__(self) -> None:
        image = self.image
        check_suits(image, binarize=self.binarize, invert=self.invert)
        if self.prepare and (image.levels != 2 or image.channels != 1):
            raise PvaeZooError("--prepare is for digits in black and white; photos are brought to size without it")
        if self.prepare and self.invert:
            raise PvaeZooError("--prepare turns what is dark on light by itself: leave out --invert")

    def fit(self, data: bytes) -> Fitted:
        """An image file as the model takes it.

        Raises:
            ImageError: if it cannot be used.
        """
        decoded = decode_image(data)
        picture, notes = decoded.picture, list(decoded.notes)
        if self.image.channels == 3 and decoded.kind:
            notes.append(f"{decoded.kind} made RGB")
        elif self.image.channels == 1 and picture.mode != "L":
            notes.append("colour made grey")
        if self.prepare:
            values, done = prepared(
                picture, self.image, threshold=self.binarize or THRESHOLD, enlarge=self.enlarge > 1
            )  # fmt: skip
            notes += ["inverted"] if "inverted" in done else []
        else:
            fitted = self._resized(picture.convert("L" if self.image.channels == 1 else "RGB"))
            values = np.asarray(ImageOps.invert(fitted) if self.invert else fitted, np.uint8)
            if self.image.levels == 2 and not self.invert and is_dark_on_light(values):
                notes.append(UNTURNED)
        values = values[np.newaxis] if values.ndim == 2 else values.transpose(2, 0, 1)
        return Fitted(np.ascontiguousarray(self._levels(values)), picture.size, tuple(notes))

    def _resized(self, picture: Image.Image) -> Image.Image:
        image, (width, height) = self.image, picture.size
        factor = max(image.height / height, image.width / width)
        if factor > max(1.0, self.enlarge):
            raise ImageError(
                f"is {width}x{height}, smaller than the model's {image.width}x{image.height}: "
                f"add --enlarge-by {np.ceil(10 * factor) / 10:g} to blow it up, or leave it out"
            )
        target = (image.width, image.height)
        if not self.windows:
            if picture.size == target:
                return picture
            return ImageOps.fit(picture, target, Image.Resampling.LANCZOS)
        # Rounding must not make it smaller than the window.
        target = max(image.width, round(width * factor)), max(image.height, round(height * factor))
        # Lanczos, as `Fit` resizes: a model is to meet the same sharpness when it is used.
        return picture if target == picture.size else picture.resize(target, Image.Resampling.LANCZOS)

    def _levels(self, values: Images) -> Images:
        levels = self.image.levels
        if levels == 2 and self.binarize is not None and not self.prepare:
            return (values >= self.binarize).astype(np.uint8)
        if levels == 2 and not np.isin(values, (0, 255)).all():
            raise ImageError("has greys, and the model takes black and white: add --prepare or --binarize")
        return (values.astype(np.uint16) * levels // 256).astype(np.uint8)


@dataclass(frozen=True)
class Fitted:
    """A picture as the model takes it.

    Attributes:
        values: uint8 ``(C, h, w)`` in the model's levels.
        size: width and height of the file's picture.
        notes: what was done to it unasked.
    """

    values: Images
    size: tuple[int, int]
    notes: tuple[str, ...] = ()


class FittedStore:
    """Image files, each fitted when it is asked for; see `pvae_zoo.data.image_store.ImageStore`."""

    def __init__(self, sources: Sequence[ImageSource], fitting: Fitting) -> None:
        self._sources, self._fitting = sources, fitting

    @property
    def origin(self) -> Origin | None:
        return None

    def __len__(self) -> int:
        return len(self._sources)

    def name(self, index: int) -> str:
        return self._sources[index].name

    def fitted(self, index: int) -> Fitted:
        """One picture.

        Raises:
            ImageError: if it cannot be used, without its name.
        """
        return self._fitting.fit(self._sources[index].read())

    def image(self, index: int) -> Images:
        try:
            return self.fitted(index).values
        except ImageError as error:
            raise PvaeZooError(f"{self.name(index)} {error}") from error


class SubsetStore:
    """Some of the images of a store, in the order given."""

    def __init__(self, store: ImageStore, indices: NDArray[np.int64]) -> None:
        self._store, self._indices = store, indices

    @property
    def origin(self) -> Origin | None:
        return self._store.origin if len(self) == len(self._store) else None

    def __len__(self) -> int:
        return len(self._indices)

    def name(self, index: int) -> str:
        return self._store.name(int(self._indices[index]))

    def image(self, index: int) -> Images:
        return self._store.image(int(self._indices[index]))
