"""Images beside what became of them, ready for `pvae_zoo.runtime.pictures.save_grid`; masks.

Shapes: N images, C channels, H rows, W columns. A layout has 256 levels whatever the model has, so that it can show
what is no value of a model: the unknown part of an image, and an empty place.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.base.regular_files import open_regular
from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.data.decoding import decode_image
from pvae_zoo.data.images import MAX_BYTES, ImageError

LEVELS = 256
UNKNOWN = 128
EMPTY = 64  # the colour of the gaps in a grid

Images = NDArray[np.uint8]


def spread(images: Images, levels: int) -> Images:
    """Values ``0 .. levels - 1`` over 0..255, rounded up as `pvae_zoo.runtime.pictures.to_picture` does."""
    return (-(-images.astype(np.int32) * 255 // (levels - 1))).astype(np.uint8)


def pairs(upper: Images, lower: Images, *, levels: int, columns: int) -> Images:
    """Rows of images with what belongs to them below: ``(2 * rows * columns, C, H, W)``, to show in ``columns``.

    Args:
        upper: ``(N, C, H, W)``.
        lower: of the same shape.
        levels: of both.
        columns: pairs in a row; the last row is filled up with empty places.
    """
    rows = -(-len(upper) // columns)
    layout = np.full((rows, 2, columns, *upper.shape[1:]), EMPTY, np.uint8)
    for half, images in enumerate((upper, lower)):
        for index, image in enumerate(spread(images, levels)):
            layout[index // columns, half, index % columns] = image
    return layout.reshape(-1, *upper.shape[1:])


def completions(images: Images, keep: NDArray[np.bool_], drawn: Images, *, levels: int) -> Images:
    """Each image with its unknown part grey, then its completions: ``(N * (K + 1), C, H, W)``, K + 1 in a row.

    Args:
        images: ``(N, C, H, W)``.
        keep: what is known, ``(H, W)``.
        drawn: ``(N, K, C, H, W)``.
        levels: of both.
    """
    known = np.where(keep, spread(images, levels), np.uint8(UNKNOWN))
    return np.concatenate([known[:, None], spread(drawn, levels)], axis=1).reshape(-1, *images.shape[1:])


def between(drawn: Images, ends: Images, *, levels: int) -> Images:
    """A path with the two images that it leads from and to: ``(N + 2, C, H, W)``.

    Args:
        drawn: ``(N, C, H, W)``.
        ends: ``(2, C, H, W)``.
        levels: of both.
    """
    return spread(np.concatenate([ends[:1], drawn, ends[1:]]), levels)


def top_rows(image: ImageShape, rows: int) -> NDArray[np.bool_]:
    """A mask ``(H, W)`` that keeps the first rows.

    Raises:
        PvaeZooError: if that is all of the image or none.
    """
    if not 0 < rows < image.height:
        raise PvaeZooError(f"--rows {rows}: keep from 1 to {image.height - 1} of the {image.height} rows")
    return np.broadcast_to(np.arange(image.height)[:, None] < rows, (image.height, image.width))


def read_mask(path: Path, image: ImageShape) -> NDArray[np.bool_]:
    """A mask ``(H, W)`` from a picture in black and white, grey or RGB: white is kept, black is drawn.

    Raises:
        PvaeZooError: if it is no such picture, of another size, or all white.
    """
    try:
        with open_regular(path) as file:  # a pipe would be waited for
            picture = decode_image(file.read(MAX_BYTES)).picture.convert("L")
    except OSError as error:
        raise PvaeZooError(f"the mask {path} cannot be read: {error.strerror}") from error
    except ImageError as error:
        raise PvaeZooError(f"the mask {path} {error}") from error
    size, values = picture.size, np.asarray(picture)
    if size != (image.width, image.height):
        raise PvaeZooError(
            f"the mask {path} is {size[0]}x{size[1]}: make it {image.width}x{image.height}, like the images"
        )
    if not np.isin(values, (0, 255)).all():
        raise PvaeZooError(f"the mask {path} must be black and white only: white is kept, black is drawn")
    if values.all():
        raise PvaeZooError(f"the mask {path} is all white, so there is nothing to draw: paint black what to draw")
    keep: NDArray[np.bool_] = values == 255
    return keep
