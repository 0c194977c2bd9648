"""Making an image fit a model, as far as options allow: what else it needs is said at once.

Shapes: C channels, H rows, W columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.data.decoding import decode_image
from pvae_zoo.data.images import MAX_BYTES, ImageError, ImageSource
from pvae_zoo.data.needs import check_needs
from pvae_zoo.data.preparation import THRESHOLD, is_dark_on_light, prepared

_UNTURNED = "dark on light and taken as it is: --invert turns it"


@dataclass(frozen=True)
class Fit:
    """What may be done to an image so that it fits.

    Attributes:
        resize: crop the centre to the model's aspect ratio and resample it with Lanczos, where the size differs.
        binarize: for two levels, values from this threshold (1 to 255) on become 1; without it only 0 and 255 pass.
        convert: turn colour into grey (ITU-R 601 luma) for a model of grey images.
        enlarge: let ``resize`` and ``prepare`` blow up what is less than half as large as the model's images.
        invert: swap light and dark, of grey images.
        prepare: do what `pvae_zoo.data.preparation` does for the model, in place of all that; ``binarize`` is its
            threshold, 128 unless given.

    Raises:
        PvaeZooError: if one of them does nothing without another, or beside it.
    """

    resize: bool = False
    binarize: int | None = None
    convert: bool = False
    enlarge: bool = False
    invert: bool = False
    prepare: bool = False

    def __post_init__(self) -> None:
        if self.enlarge and not (self.resize or self.prepare):
            raise PvaeZooError("--enlarge lets --resize and --prepare blow up tiny images: add one of them")
        beside = [f"--{name}" for name in ("resize", "convert", "invert") if getattr(self, name)]
        if self.prepare and beside:
            raise PvaeZooError(f"--prepare does what must be done by itself: leave out {' and '.join(beside)}")
        if self.binarize is not None and not 1 <= self.binarize <= 255:
            raise PvaeZooError(f"--binarize {self.binarize} is no threshold: give one from 1 to 255")

    def read(self, source: ImageSource, image: ImageShape) -> tuple[NDArray[np.uint8], str | None] | ImageError:
        """`read_noted`, and an `ImageError` handed back."""
        try:
            return read_noted(source, image, self)
        except ImageError as error:
            return error


NOTHING = Fit()
"""Images are taken as they are."""


def read_noted(source: ImageSource, image: ImageShape, fit: Fit = NOTHING) -> tuple[NDArray[np.uint8], str | None]:
    """One image as a model takes it, and a note of what was done to it.

    Unasked, it is decoded (`pvae_zoo.data.decoding.decode_image`) and grey becomes RGB for a model of colour images;
    nothing else changes unless ``fit`` allows it. Any number of threads may read at once.

    Args:
        source: from `pvae_zoo.data.images.find_images`.
        image: the model's shape and levels; fewer than 256 levels are ``value * levels // 256``.
        fit: what may be done.

    Returns:
        uint8 ``(C, H, W)`` in ``0 .. levels - 1``, white is ``levels - 1``; the note, None where there is none.

    Raises:
        ImageError: if this image cannot be used; of what it needs all options are named.
        PvaeZooError: if no image could be, because the options do not suit the model.
    """
    check_suits(image, binarize=fit.binarize, invert=fit.invert)
    decoded = decode_image(source.read(MAX_BYTES))
    picture, notes = decoded.picture, list(decoded.notes)
    if image.channels == 3 and decoded.kind:
        notes.append(f"{decoded.kind}, converted to RGB")
    if fit.prepare:
        values, done = prepared(picture, image, threshold=fit.binarize or THRESHOLD, enlarge=fit.enlarge)
        notes += [f"prepared: {', '.join(done)}"] if done else []
    else:
        values = _fitted(picture, image, fit)
        if image.levels == 2 and image.channels == 1 and not fit.invert and is_dark_on_light(values):
            notes.append(_UNTURNED)
    values = values[np.newaxis] if values.ndim == 2 else values.transpose(2, 0, 1)
    if fit.binarize is not None and not fit.prepare:
        values = np.where(values >= fit.binarize, 255, 0)
    return np.ascontiguousarray((values.astype(np.uint16) * image.levels // 256).astype(np.uint8)), (
        "; ".join(notes) or None
    )


def check_suits(image: ImageShape, *, binarize: int | None, invert: bool) -> None:
    """That image files can be what a model takes, and options are for such a model.

    Raises:
        PvaeZooError: if not.
    """
    if image.channels not in (1, 3):
        raise PvaeZooError(f"the model takes {image.channels} channels; image files have 1 or 3: use its Python API")
    if binarize is not None and image.levels != 2:
        raise PvaeZooError(f"--binarize is for black-and-white models, this one has {image.levels} levels: omit it")
    if invert and image.channels != 1:
        raise PvaeZooError("--invert is for models of grey images, and this one takes colour: omit it")


def _fitted(picture: Image.Image, image: ImageShape, fit: Fit) -> NDArray[np.uint8]:
    """``(H, W)`` or ``(H, W, 3)`` in 0..255, of the model's size.

    Raises:
        ImageError: if the options do not allow all that this takes.
    """
    check_needs(
        picture, image, resize=fit.resize, binarize=fit.binarize, convert=fit.convert, enlarge=fit.enlarge,
        invert=fit.invert,
    )  # fmt: skip
    picture = picture.convert("L" if image.channels == 1 else "RGB")
    if fit.invert:
        picture = ImageOps.invert(picture)
    if picture.size != (image.width, image.height):
        picture = ImageOps.fit(picture, (image.width, image.height), Image.Resampling.LANCZOS)
    return np.asarray(picture, np.uint8)
