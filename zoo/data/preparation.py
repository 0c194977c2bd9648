"""Making a picture as people have it into an image as a model was trained on.

What that takes depends on the model. For one of black-and-white images it is what made MNIST [1]: the ink is fitted
into a box of 20x20 of 28x28 pixels with its proportions kept, and its centre of mass comes to the middle. For any other
it is the largest crop of the middle that has the model's proportions, resampled: of a square image the shorter side.

References:
    [1] The MNIST database of handwritten digits (LeCun, Cortes, Burges), http://yann.lecun.com/exdb/mnist/
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.data.images import ImageError

THRESHOLD = 128
BOX = 20 / 28
"""Side of the box that holds the ink, as a share of the image's shorter side ([1])."""

_BLANK = 32  # of 255: less contrast than this is paper
_THIN, _WANTED = 1.2, 1.9  # width of strokes in the box, in pixels; of the digits of MNIST it is 1.0 to 2.6


def prepared(
    picture: Image.Image, image: ImageShape, *, threshold: int = THRESHOLD, enlarge: bool = False
) -> tuple[NDArray[np.uint8], list[str]]:
    """A picture as the model takes it, and what was done to it, in order.

    Args:
        picture: mode L or RGB; turned into grey for a model of one channel, into RGB for one of three.
        image: the model's shape and levels.
        threshold: of models with two levels, 1 to 255: values from it on are white.
        enlarge: blow up what has less than half of the pixels that are needed, too.

    Returns:
        uint8 ``(H, W)`` or ``(H, W, 3)`` in 0..255, for two levels 0 and 255 alone; phrases such as "inverted".

    Raises:
        ImageError: if nothing is drawn on it, or it is too small.
    """
    done = []
    if image.channels == 1 and picture.mode != "L":
        picture = picture.convert("L")
        done.append("grey")
    elif image.channels == 3:
        picture = picture.convert("RGB")  # of grey: the file's note says that it is
    if image.levels == 2 and image.channels == 1:
        return _as_digit(np.asarray(picture, np.uint8), image, threshold, enlarge, done)
    if picture.size != (image.width, image.height):
        crop = min(picture.width, picture.height * image.width / image.height)
        _check_size(crop, crop * image.height / image.width, image.width, image.height, enlarge)
        done.append(f"the middle of {picture.width}x{picture.height} as {image.width}x{image.height}")
        picture = ImageOps.fit(picture, (image.width, image.height), Image.Resampling.LANCZOS)
    return np.asarray(picture, np.uint8), done


def is_dark_on_light(grey: NDArray[np.uint8]) -> bool:
    """Whether the rim of an image ``(H, W)`` in 0..255 is light and something within is dark."""
    return bool((_rim(grey) >= 128).mean() > 0.9 and grey.min() < 128)


def _as_digit(
    grey: NDArray[np.uint8], image: ImageShape, threshold: int, enlarge: bool, done: list[str]
) -> tuple[NDArray[np.uint8], list[str]]:
    ink = _boxed(_ink(grey, done))
    box = round(BOX * min(image.height, image.width))
    height, width = ink.shape
    _check_size(width, height, *_fitted(ink, box), enlarge)
    if ink.shape != _fitted(ink, box)[::-1]:
        ink = _boxed(_thickened(ink, box / max(ink.shape), done))
        size, resampling = _fitted(ink, box), Image.Resampling.BOX
        done.append(f"ink of {ink.shape[1]}x{ink.shape[0]} fitted to {size[0]}x{size[1]}")
        if max(ink.shape) < box:
            resampling = Image.Resampling.BICUBIC
        ink = np.asarray(Image.fromarray(ink).resize(size, resampling))
    done += ["centred", f"black and white from {threshold}"]
    return np.where(_centred(ink, image) >= threshold, 255, 0).astype(np.uint8), done


def _ink(grey: NDArray[np.uint8], done: list[str]) -> NDArray[np.uint8]:
    """How far each pixel is from the background, 0..255 over what there is."""
    background, darkest, lightest = float(np.median(_rim(grey))), float(grey.min()), float(grey.max())
    is_dark = background - darkest > lightest - background
    contrast = max(background - darkest, lightest - background)
    if contrast < _BLANK:
        raise ImageError("is blank, there is nothing to prepare: give a picture with something drawn on it")
    if is_dark:
        done.append("inverted")
    values = (background - np.arange(256)) if is_dark else (np.arange(256) - background)
    table: NDArray[np.uint8] = np.clip(values * 255 / contrast, 0, 255).astype(np.uint8)
    return table[grey]


def _rim(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.concatenate([grey[0], grey[-1], grey[1:-1, 0], grey[1:-1, -1]])


def _boxed(ink: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Cropped to what is at least half as dark as the darkest."""
    rows, columns = (np.flatnonzero((ink >= 128).any(axis=axis)) for axis in (1, 0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _fitted(ink: NDArray[np.uint8], box: int) -> tuple[int, int]:
    """Width and height of the ink with its longer side as long as the box."""
    height, width = ink.shape
    return max(1, round(width * box / max(ink.shape))), max(1, round(height * box / max(ink.shape)))


def _thickened(ink: NDArray[np.uint8], scale: float, done: list[str]) -> NDArray[np.uint8]:
    """Strokes so thin that they would fade when they are made smaller, made wider: a pen is thinner than a marker."""
    inside = np.pad(ink >= 128, 1)
    edges = sum(int((inside != np.roll(inside, 1, axis)).sum()) for axis in (0, 1))
    width = 2 * int(inside.sum()) / edges  # of a long stroke: its area over half of what goes around it
    by = round((_WANTED / scale - width) / 2)
    if width * scale >= _THIN or by < 1:
        return ink
    done.append("strokes thickened")
    wide, full = np.pad(ink, 2 * by), 2 * by + 1
    for axis in (0, 1):  # the largest of `full` values from each on, by doubling
        seen = 1
        while seen < full:
            step = min(seen, full - seen)
            wide = np.maximum(wide, np.roll(wide, -step, axis))
            seen += step
    return wide[: ink.shape[0] + 2 * by, : ink.shape[1] + 2 * by]


def _centred(ink: NDArray[np.uint8], image: ImageShape) -> NDArray[np.uint8]:
    """Whole pixels from there: the centre of mass at pixel ``(H / 2, W / 2)``, counted from 0, as in MNIST."""
    place = []
    for axis, (side, length) in enumerate(zip((image.height, image.width), ink.shape, strict=True)):
        mass = ink.sum(axis=1 - axis, dtype=np.int64)
        centre = float(mass @ np.arange(length)) / float(mass.sum())
        place.append(min(max(0, round(side / 2 - centre)), side - length))
    values = np.zeros((image.height, image.width), np.uint8)
    values[place[0] : place[0] + ink.shape[0], place[1] : place[1] + ink.shape[1]] = ink
    return values


def _check_size(width: float, height: float, to_width: int, to_height: int, enlarge: bool) -> None:
    if not enlarge and (2 * width < to_width or 2 * height < to_height):
        raise ImageError(
            f"has {width:.0f}x{height:.0f} pixels to make {to_width}x{to_height} of, less than half as many: add "
            "--enlarge if it is to be blown up"
        )
