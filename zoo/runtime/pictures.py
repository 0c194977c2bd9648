"""Images as files: one PNG as a grid, one PNG each, or NumPy arrays, always whole and with what made them inside.

Shapes: N images, C channels, H rows, W columns; uint8 values ``0 .. levels - 1``.
"""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from pvae_zoo.base.atomic import atomic_write, check_writable
from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.runtime.captions import BACKGROUND, Words, with_words

Kind = Literal["grid", "npy", "npz", "folder"]

_KINDS: dict[str, Kind] = {".png": "grid", ".npy": "npy", ".npz": "npz"}
LONGEST_NAME = 230
"""Bytes of a file's name in a folder: disks take 255, and the file has a longer name while it is written."""

_PREFIX = "pvae-zoo:"
_GAP = 2


def to_picture(images: NDArray[np.uint8], levels: int) -> Image.Image:
    """One image ``(C, H, W)`` as a Pillow picture of mode L or RGB, its levels spread over 0..255.

    `pvae_zoo.data.fit.read_noted` gives the same levels back.

    Raises:
        PvaeZooError: unless C is 1 or 3.
    """
    channels = images.shape[0]
    if channels not in (1, 3):
        raise PvaeZooError(f"images of {channels} channels make no picture: save them as .npy or .npz")
    # Rounded up, so that value * levels // 256 undoes it.
    spread = -(-np.arange(levels) * 255 // (levels - 1))
    values = spread.astype(np.uint8)[images]
    return Image.fromarray(values[0] if channels == 1 else np.ascontiguousarray(values.transpose(1, 2, 0)))


def save_grid(
    images: NDArray[np.uint8],
    path: Path,
    *,
    levels: int,
    metadata: Mapping[str, str],
    columns: int | None = None,
    scale: int | None = None,
    words: Words | None = None,
) -> None:
    """Write images ``(N, C, H, W)`` row by row into one PNG.

    Args:
        images: values ``0 .. levels - 1``.
        path: the PNG; its folder is made.
        levels: number of values of a pixel.
        metadata: what `read_metadata` gives back.
        columns: images in a row; as many as make the grid nearly square unless given.
        scale: whole number that each image is enlarged by, pixel by pixel; chosen by size and number unless given.
        words: written beside the images; the caption is noted, too.

    Raises:
        PvaeZooError: if there is no image, or the file cannot be written.
    """
    caption = {"caption": words.caption} if words is not None and words.caption else {}
    picture = grid_picture(images, levels=levels, columns=columns, scale=scale, words=words)
    atomic_write(path, _png(picture, {**metadata, **caption}))


def grid_picture(
    images: NDArray[np.uint8],
    *,
    levels: int,
    columns: int | None = None,
    scale: int | None = None,
    words: Words | None = None,
) -> Image.Image:
    """Images ``(N, C, H, W)`` row by row in one picture; see `save_grid` for the options.

    Raises:
        PvaeZooError: if there is no image.
    """
    _check_count(images)
    count, _, height, width = images.shape
    columns = min(count, columns or math.ceil(math.sqrt(count)))
    scale = scale or _pleasant_scale(max(height, width), columns)
    rows = math.ceil(count / columns)
    cell_height, cell_width = height * scale + _GAP, width * scale + _GAP
    pictures = [to_picture(image, levels) for image in images]
    background = BACKGROUND if pictures[0].mode == "L" else (BACKGROUND,) * 3
    grid = Image.new(pictures[0].mode, (columns * cell_width - _GAP, rows * cell_height - _GAP), background)
    for index, picture in enumerate(pictures):
        enlarged = picture.resize((width * scale, height * scale), Image.Resampling.NEAREST)
        grid.paste(enlarged, (index % columns * cell_width, index // columns * cell_height))
    return grid if words is None else with_words(grid, words, pitch=(cell_width, cell_height))


def save_images(
    images: NDArray[np.uint8],
    target: str | os.PathLike[str],
    *,
    levels: int,
    metadata: Mapping[str, str],
    names: Sequence[str] | None = None,
    scale: int | None = None,
) -> list[Path]:
    """Write images ``(N, C, H, W)`` as the target says.

    ``x.png`` is one grid; ``x.npy`` the array as it is; ``x.npz`` the array under ``images`` and the metadata as JSON
    under ``metadata``; an existing folder, or any path that ends in ``/``, gets one PNG per image.

    Args:
        images: values ``0 .. levels - 1``.
        target: as a string where a final ``/`` matters (a `Path` forgets it).
        levels: number of values of a pixel.
        metadata: goes into every PNG and into ``.npz``; ``.npy`` has no place for it.
        names: file names in a folder, ``.png`` is added where it is missing; ``00000.png``, ... unless given.
        scale: whole number that each picture is enlarged by, pixel by pixel; in a folder 1 unless given.

    Returns:
        The files written, in the order of the images.

    Raises:
        PvaeZooError: if the target is of another kind or cannot be written, or names clash or are too long.
    """
    kind, path = target_kind(target), Path(target)
    _check_count(images)
    if kind == "folder":
        files = [path / name for name in _file_names(names, len(images))]
        for image, file in zip(images, files, strict=True):
            picture = to_picture(image, levels)
            if scale is not None and scale > 1:
                size = picture.width * scale, picture.height * scale
                picture = picture.resize(size, Image.Resampling.NEAREST)
            atomic_write(file, _png(picture, metadata))
        return files
    if kind == "grid":
        save_grid(images, path, levels=levels, metadata=metadata, scale=scale)
        return [path]
    # Into memory first: NumPy's own error for a full disk does not say that the disk is full.
    buffer = io.BytesIO()
    if kind == "npy":
        np.save(buffer, images)
    else:
        np.savez_compressed(buffer, images=images, metadata=np.array(json.dumps(dict(metadata))))
    atomic_write(path, buffer.getvalue())
    return [path]


def target_kind(target: str | os.PathLike[str]) -> Kind:
    """What `save_images` makes of a target.

    Raises:
        PvaeZooError: if its ending says nothing.
    """
    text = os.fspath(target)
    if text.endswith(("/", os.sep)) or os.path.isdir(text):
        return "folder"
    kind = _KINDS.get(Path(text).suffix.lower())
    if kind is None:
        raise PvaeZooError(
            f"cannot write {text!r}: give a .png (one grid), a .npy or .npz (arrays), or a folder with a final / "
            f"(one PNG per image)"
        )
    return kind


def check_target(target: str | os.PathLike[str]) -> None:
    """Find out before the work whether `save_images` can write there; leaves nothing behind.

    Raises:
        PvaeZooError: if the kind of file is unknown, or the place cannot be written to.
    """
    check_writable(Path(target) / "x.png" if target_kind(target) == "folder" else Path(target))


def check_names(target: str | os.PathLike[str], names: Sequence[str]) -> None:
    """Find out before the work whether `save_images` can give these names to images; only a folder does.

    Raises:
        PvaeZooError: if one is no name for a file, is too long for one, or is that of two images.
    """
    if target_kind(target) == "folder":
        _file_names(names, len(names))


def file_name(index: int) -> str:
    """The name of image ``index`` in a folder of images without names of their own."""
    return f"{index:05}.png"


def png_name(name: str) -> str:
    """The name of the file of an image with a name of its own: with ``.png`` where it is missing."""
    return name if name.lower().endswith(".png") else f"{name}.png"


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """What `save_grid` or `save_images` noted in a PNG; empty if somebody else made it.

    Raises:
        PvaeZooError: if the file cannot be read or is no PNG.
    """
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            notes = {str(key): str(value) for key, value in picture.info.items()}
    except UnidentifiedImageError as error:
        raise PvaeZooError(f"{os.fspath(path)} is no PNG: give a .png that pvae-zoo made") from error
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise PvaeZooError(f"cannot read {os.fspath(path)}: {getattr(error, 'strerror', None) or error}") from error
    return {key.removeprefix(_PREFIX): value for key, value in notes.items() if key.startswith(_PREFIX)}


def _check_count(images: NDArray[np.uint8]) -> None:
    if len(images) == 0:
        raise PvaeZooError("there are no images to write: ask for one or more")


def _file_names(names: Sequence[str] | None, count: int) -> list[str]:
    if names is None:
        return [file_name(index) for index in range(count)]
    files = [png_name(name) for name in names]
    if len(files) != count:
        raise PvaeZooError(f"{len(files)} names for {count} images: give one for each")
    taken: set[str] = set()
    for file in files:
        if Path(file).name != file or "\\" in file:
            raise PvaeZooError(f"{file!r} is no name for a file in the folder: leave out the folders")
        if len(os.fsencode(file)) > LONGEST_NAME:
            raise PvaeZooError(f"{file!r} is too long for the name of a file: give the image a shorter name")
        if file.lower() in taken:  # one file on the disks of macOS and Windows
            raise PvaeZooError(f"two images would be written to {file!r}: give them different names")
        taken.add(file.lower())
    return files


def _pleasant_scale(side: int, columns: int) -> int:
    """A grid that is well seen on a large screen, about 960 pixels wide, of images of at least some 84 pixels.

    Within 8-fold and, where that is more than 1, 4096 pixels.
    """
    wanted = max(-(-84 // side), round(960 / (columns * side)))
    return max(1, min(wanted, 8, 4096 // (columns * side)))


def _png(picture: Image.Image, metadata: Mapping[str, str]) -> bytes:
    notes = PngImagePlugin.PngInfo()
    for key, value in metadata.items():
        notes.add_text(_PREFIX + key, value)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=notes)
    return buffer.getvalue()
