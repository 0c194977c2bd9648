"""From a picture of any size to the model's: scale, crop and flip, as the recipe says.

Training takes a random view of an image each time, evaluation always the same one. An image costs a fixed number of
random numbers whatever becomes of it, so that a process can draw for its share of a batch alone and still draw what one
process would have drawn for the whole. Shapes: C channels; H, W the model's rows and columns; h, w the picture's.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pvae_zoo.contract.architecture import ArchitectureError, ImageShape
from pvae_zoo.data.images import ImageError

_DRAWS = 6  # numbers an image: scale, column, row, flip, whether it is a JPEG copy, the quality of that
_QUALITIES = (60, 96)  # of JPEG copies in training: what photographs on the web have


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What training does to an image, the recipe's ``[data]``.

    Attributes:
        crop: "none" takes images of the model's size and refuses others; "random" takes a random window of the model's
            size in training and the central one in evaluation.
        flip: mirror half of the training images left to right.
        scale: lowest and highest factor by which an image is scaled before it is cropped, drawn uniformly; never so
            small that the image no longer covers the window. Evaluation takes the factor nearest to 1.
        jpeg: share of the training images that are replaced by a JPEG copy of what the model would have seen, of a
            quality from 60 to 96, drawn uniformly: many small pictures that people have were JPEGs.

    Raises:
        ArchitectureError: for an impossible value; the message names the key.
    """

    crop: Literal["none", "random"] = "none"
    flip: bool = False
    scale: tuple[float, float] = (1.0, 1.0)
    jpeg: float = 0.0

    def __post_init__(self) -> None:
        if self.crop not in ("none", "random"):
            raise ArchitectureError(f"data.crop={self.crop!r} must be 'none' or 'random'")
        low, high = self.scale
        if not 0 < low <= high < math.inf:
            raise ArchitectureError(f"data.scale={list(self.scale)} must be two positive factors, the smaller first")
        if self.scales and self.crop == "none":
            raise ArchitectureError(f"data.scale={list(self.scale)} changes the size of images: set data.crop='random'")
        if not 0 <= self.jpeg <= 1:
            raise ArchitectureError(f"data.jpeg={self.jpeg} must be a share of the images, from 0 to 1")

    @property
    def scales(self) -> bool:
        """Whether pixels are resampled."""
        return self.scale != (1.0, 1.0)

    def check_model(self, image: ImageShape) -> None:
        """Refuse what would give a model values that it does not have.

        Raises:
            ArchitectureError: naming the key.
        """
        levels = f"and the model has only {image.levels} levels: leave it out"
        if self.scales and image.levels < 256:
            raise ArchitectureError(f"data.scale blurs images, {levels}")
        if self.jpeg and image.levels < 256:
            raise ArchitectureError(f"data.jpeg makes greys of all levels, {levels}")
        if self.jpeg and image.channels not in (1, 3):
            raise ArchitectureError(f"data.jpeg is for 1 or 3 channels, the model takes {image.channels}: leave it out")

    def check_size(self, height: int, width: int, image: ImageShape) -> None:
        """Refuse a picture that no view of the model's size can be taken of.

        Raises:
            ImageError: naming both sizes.
        """
        sizes = f"{width}x{height}, the model takes {image.width}x{image.height}"
        if height < image.height or width < image.width:
            raise ImageError(f"is {sizes}, and a smaller image is not enlarged: remove it from the set")
        if self.crop == "none" and (height, width) != (image.height, image.width):
            raise ImageError(f'is {sizes}: set crop = "random" under [data] in the recipe')

    def view(
        self, picture: NDArray[np.uint8], image: ImageShape, draws: NDArray[np.float64] | None
    ) -> NDArray[np.uint8]:
        """What the model sees of a picture.

        Args:
            picture: uint8 ``(C, h, w)``.
            image: the model's shape.
            draws: the picture's row of `draw_views`; None for evaluation.

        Returns:
            uint8 ``(C, H, W)``, which may share memory with ``picture``.

        Raises:
            ImageError: if the picture is too small, or has another size and ``crop`` is "none".
        """
        height, width = picture.shape[1:]
        self.check_size(height, width, image)
        placed = self.place(np.array([[height, width]]), image, None if draws is None else draws[np.newaxis])
        (rows, columns), (top, left) = placed.scaled[0].tolist(), placed.corner[0].tolist()
        window = _scaled_window(picture, (rows, columns), top, left, image)
        window = window[:, :, ::-1] if placed.mirrored[0] else window
        return jpeg_copy(window, int(placed.quality[0])) if placed.quality[0] else window

    def place(self, sizes: NDArray[np.int64], image: ImageShape, draws: NDArray[np.float64] | None) -> Placement:
        """Where the windows of pictures lie and what is done to them.

        Args:
            sizes: rows and columns of each picture, ``(B, 2)``, none smaller than the model's.
            image: the model's shape.
            draws: from `draw_views`, ``(B, 6)``; None for evaluation.
        """
        model, (low, high) = np.array([image.height, image.width]), self.scale
        factor = np.full(len(sizes), min(max(1.0, low), high)) if draws is None else low + (high - low) * draws[:, 0]
        factor = np.maximum(factor, (model / sizes).max(axis=1))
        # Rounding must not make it smaller than the window either.
        scaled = np.maximum(model, np.rint(sizes * factor[:, np.newaxis]).astype(np.int64))
        spare = scaled - model  # the window may start at 0 .. spare
        if draws is None:
            none = np.zeros(len(sizes), np.int64)
            return Placement(scaled=scaled, corner=spare // 2, mirrored=none.astype(bool), quality=none)
        least, most = _QUALITIES
        quality = least + (draws[:, 5] * (most + 1 - least)).astype(np.int64)
        return Placement(
            scaled=scaled,
            corner=(draws[:, [2, 1]] * (spare + 1)).astype(np.int64),
            mirrored=(draws[:, 3] < 0.5) & self.flip,
            quality=np.where(draws[:, 4] < self.jpeg, quality, 0),
        )


@dataclass(frozen=True, kw_only=True)
class Placement:
    """What becomes of B pictures: scaled, cut, mirrored and stored as JPEG, in this order.

    Attributes:
        scaled: rows and columns that each is scaled to, ``(B, 2)``.
        corner: row and column where its window begins, ``(B, 2)``.
        mirrored: whether left and right change places, ``(B,)``.
        quality: of the JPEG copy, ``(B,)``; 0 where there is none.
    """

    scaled: NDArray[np.int64]
    corner: NDArray[np.int64]
    mirrored: NDArray[np.bool_]
    quality: NDArray[np.int64]


NO_AUGMENTATION = Augmentation()


def draw_views(generator: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Random numbers for the views of ``count`` images, uniform on [0, 1), ``(count, 6)``."""
    return generator.random((count, _DRAWS))


def view_generator(seed: int, step: int, first: int = 0) -> np.random.Generator:
    """The random numbers of a step's views, from image ``first`` of the global batch on.

    Two processes with half a batch each see what one with the whole batch would.
    """
    bits = np.random.PCG64([seed, step])
    bits.advance(first * _DRAWS)  # one 64-bit word a number
    return np.random.Generator(bits)


def jpeg_copy(window: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """An image as it comes back from a JPEG file, with Pillow's defaults (colour at half the resolution).

    Args:
        window: uint8 ``(C, H, W)`` of 256 levels, one channel or three.
        quality: 1 to 100, as Pillow and libjpeg count.

    Returns:
        uint8 ``(C, H, W)``.
    """
    file = io.BytesIO()
    Image.fromarray(window[0] if len(window) == 1 else window.transpose(1, 2, 0)).save(file, "JPEG", quality=quality)
    values = np.asarray(Image.open(file, formats=["JPEG"]))
    return values[np.newaxis] if values.ndim == 2 else values.transpose(2, 0, 1)


def _scaled_window(
    picture: NDArray[np.uint8], scaled: tuple[int, int], top: int, left: int, image: ImageShape
) -> NDArray[np.uint8]:
    """The window at ``(top, left)`` of the picture, had it been resampled to ``scaled`` (rows, columns)."""
    height, width = picture.shape[1:]
    bottom, right = top + image.height, left + image.width
    if scaled == (height, width):
        return picture[:, top:bottom, left:right]
    # Only the window is computed. Whole numbers are multiplied first, so that the box never leaves the picture.
    box = (left * width / scaled[1], top * height / scaled[0], right * width / scaled[1], bottom * height / scaled[0])
    size = (image.width, image.height)
    # Lanczos, as `Fit` resizes: a model is to meet the same sharpness when it is used.
    return np.stack(
        [np.asarray(Image.fromarray(band).resize(size, Image.Resampling.LANCZOS, box=box)) for band in picture]
    )
