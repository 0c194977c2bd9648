"""Images as they were painted: an animation of the order in which pixels were drawn."""

from __future__ import annotations

import io
import math
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pvae_zoo.base.atomic import atomic_write
from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.runtime.layouts import LEVELS, UNKNOWN, spread
from pvae_zoo.runtime.pictures import check_target, grid_picture
from pvae_zoo.runtime.wavefront import Order, steps

FRAMES = 60
FRAME_MS = 50
LAST_MS = 2000
IMAGES = 64
"""Images in an animation, at most."""


def check_trace(target: str) -> None:
    """Find out before the work whether `save_trace` can write there.

    Raises:
        PvaeZooError: unless it is a ``.gif`` in a place that can be written to.
    """
    if not target.lower().endswith(".gif") or os.path.isdir(target):
        raise PvaeZooError(f"cannot write the trace {target!r}: give a .gif")
    check_target(os.path.join(os.path.dirname(target) or ".", ""))


def painting(images: NDArray[np.uint8], *, levels: int, slope: int, order: Order, frames: int) -> NDArray[np.uint8]:
    """The images as they stood after evenly spaced steps, grey where nothing was drawn yet.

    Which pixel was drawn in which step is known from the order alone, so this needs the finished images only.

    Args:
        images: ``(N, C, H, W)``.
        levels: of the images.
        slope: of the wavefront.
        order: in which they were drawn.
        frames: at most; fewer where there are fewer steps.

    Returns:
        uint8 ``(frames, N, C, H, W)`` with 256 levels, the last one the whole images.
    """
    height, width = images.shape[2:]
    drawn_in = np.zeros((height, width), np.int64)
    count = 0
    for count, step in enumerate(steps(height, width, slope, order), start=1):
        drawn_in[step.rows, step.columns] = count
    shown = spread(images, levels)
    moments = np.unique(np.ceil(np.linspace(0, count, min(frames, count + 1))).astype(int))
    return np.stack([np.where(drawn_in <= moment, shown, np.uint8(UNKNOWN)) for moment in moments])


def save_trace(
    images: NDArray[np.uint8], path: Path, *, levels: int, slope: int, order: Order, columns: int | None = None
) -> None:
    """Write an animated GIF of the first `IMAGES` images being painted, in a grid.

    Raises:
        PvaeZooError: if the file cannot be written.
    """
    chosen = images[:IMAGES]
    columns = columns or math.ceil(math.sqrt(len(chosen)))
    moments = painting(chosen, levels=levels, slope=slope, order=order, frames=FRAMES)
    pictures = [grid_picture(moment, levels=LEVELS, columns=columns) for moment in moments]
    if pictures[0].mode == "RGB":
        # One palette for all frames, or colours would flicker: that of the first and the last, grey and images.
        ends = np.concatenate([np.asarray(pictures[0]), np.asarray(pictures[-1])])
        palette = Image.fromarray(ends).quantize(256)
        pictures = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    buffer = io.BytesIO()
    durations = [FRAME_MS] * (len(pictures) - 1) + [LAST_MS]
    pictures[0].save(buffer, "GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0)
    atomic_write(path, buffer.getvalue())
