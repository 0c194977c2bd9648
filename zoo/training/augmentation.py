"""From a picture of any size to the model's: scale, crop and flip, as the recipe says.

Training takes a random view of an image each time, evaluation always the same one. An image costs a fixed number of
random numbers whatever becomes of it, so that a process can draw for its share of a batch alone and still draw what one
process would have drawn for the whole. Shapes: C channels; H, W the model's rows and columns; h, w the picture's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pvae_zoo.models.architecture import ArchitectureError, ImageShape
from pvae_zoo.runtime.images import ImageError

_DRAWS = 4  # numbers an image: scale, column, row, flip


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What training does to an image, the recipe's ``[data]``.

    Attributes:
        crop: "none" takes images of the model's size and refuses others; "random" takes a random window of the model's
            size in training and the central one in evaluation.
        flip: mirror half of the training images left to right.
        scale: lowest and highest factor by which an image is scaled before it is cropped, drawn uniformly; never so
            small that the image no longer covers the window. Evaluation takes the factor nearest to 1.

    Raises:
        ArchitectureError: for an impossible value; the message names the key.
    """

    crop: Literal["none", "random"] = "none"
    flip: bool = False
    scale: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self) -> None:
        if self.crop not in ("none", "random"):
            raise ArchitectureError(f"data.crop={self.crop!r} must be 'none' or 'random'")
        low, high = self.scale
        if not 0 < low <= high < math.inf:
            raise ArchitectureError(f"data.scale={list(self.scale)} must be two positive factors, the smaller first")
        if self.scales and self.crop == "none":
            raise ArchitectureError(f"data.scale={list(self.scale)} changes the size of images: set data.crop='random'")

    @property
    def scales(self) -> bool:
        """Whether pixels are resampled."""
        return self.scale != (1.0, 1.0)

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
        low, high = self.scale
        factor = min(max(1.0, low), high) if draws is None else low + (high - low) * float(draws[0])
        factor = max(factor, image.height / height, image.width / width)
        # Rounding must not make it smaller than the window either.
        scaled = (max(image.height, round(height * factor)), max(image.width, round(width * factor)))
        rows, columns = scaled[0] - image.height, scaled[1] - image.width  # the window may start at 0 .. rows
        if draws is None:
            top, left = rows // 2, columns // 2
        else:
            left, top = int(draws[1] * (columns + 1)), int(draws[2] * (rows + 1))
        window = _scaled_window(picture, scaled, top, left, image)
        return window[:, :, ::-1] if self.flip and draws is not None and draws[3] < 0.5 else window


NO_AUGMENTATION = Augmentation()


def draw_views(generator: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Random numbers for the views of ``count`` images, uniform on [0, 1), ``(count, 4)``."""
    return generator.random((count, _DRAWS))


def view_generator(seed: int, step: int, first: int = 0) -> np.random.Generator:
    """The random numbers of a step's views, from image ``first`` of the global batch on.

    Two processes with half a batch each see what one with the whole batch would.
    """
    bits = np.random.PCG64([seed, step])
    bits.advance(first * _DRAWS)  # one 64-bit word a number
    return np.random.Generator(bits)


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
    # Lanczos, as `read_noted` resizes: a model is to meet the same sharpness when it is used.
    return np.stack(
        [np.asarray(Image.fromarray(band).resize(size, Image.Resampling.LANCZOS, box=box)) for band in picture]
    )
