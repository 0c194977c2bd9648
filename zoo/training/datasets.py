"""Training sets in the formats people really have, as uint8 arrays ``(N, C, H, W)``.

A folder may hold
    - Larochelle's static binarised MNIST: ``binarized_mnist_{train,valid,test}.amat``, plain or ``.gz``;
    - MNIST idx files: ``{train,t10k}-images-idx3-ubyte``, plain or ``.gz`` (the last 10,000 of train are valid);
    - ``train/``, ``valid/`` and ``test/`` with images in them, at any depth;
    - a zip with those folders, or several zips named after the splits.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.errors import PvaeZooError
from pvae_zoo.models.architecture import ImageShape
from pvae_zoo.runtime.images import ImageError, ImageSource, find_images, read_image

Images = NDArray[np.uint8]
Split = Literal["train", "valid", "test"]

_IDX_STEMS = {"train": "train", "valid": "train", "test": "t10k"}
_IDX_VALID = 10_000


def load_split(root: Path, split: Split, image: ImageShape, *, binarize: str = "refuse") -> Images:
    """All images of a split.

    Args:
        root: the folder of the data set (or one zip).
        split: which part.
        image: the shape and levels that the model expects.
        binarize: "threshold" turns grey images black and white at 128 for a binary model; "refuse" does not.

    Returns:
        uint8 ``(N, C, H, W)`` with values ``0 .. image.levels - 1``.

    Raises:
        PvaeZooError: if the folder, the split or a file is missing, damaged or of another shape.
    """
    if not root.exists():
        raise PvaeZooError(f"no data at {root}: give the folder of the data set with --data")
    for load in (_load_amat, _load_idx, _load_pictures):
        images = load(root, split, image)
        if images is not None:
            return _with_levels(images, image, binarize, f"the {split} split in {root}")
    raise PvaeZooError(
        f"no {split} split in {root}: expected binarized_mnist_{split}.amat[.gz], MNIST idx files, "
        f"a folder {split}/ of images, or a zip of one"
    )


def _with_levels(images: Images, image: ImageShape, binarize: str, where: str) -> Images:
    if images.shape[1:] != image.chw:
        raise PvaeZooError(f"{where} has images of shape {images.shape[1:]}; the model takes {image.chw}")
    largest = int(images.max(initial=0))
    if largest < image.levels:
        return images
    if image.levels == 2 and set(np.unique(images)) <= {0, 255}:
        return images // 255
    if image.levels == 2 and binarize == "threshold":
        return (images >= 128).astype(np.uint8)
    raise PvaeZooError(
        f"{where} has values up to {largest}; the model takes 0..{image.levels - 1}"
        + (": set binarize = 'threshold' in the recipe" if image.levels == 2 else "")
    )


def _first_existing(candidates: list[Path]) -> Path | None:
    return next((path for path in candidates if path.is_file()), None)


def _read(path: Path) -> bytes:
    """A file's content, decompressed."""
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise PvaeZooError(f"cannot read {path}: {error}; fetch the file again") from error


def _load_amat(root: Path, split: Split, image: ImageShape) -> Images | None:
    """Rows of ``0 1 0 ...``, one image a line."""
    path = _first_existing([root / f"binarized_mnist_{split}.amat{end}" for end in ("", ".gz")])
    if path is None:
        return None
    text = np.frombuffer(_read(path), np.uint8)
    if not np.isin(text, np.frombuffer(b"01 \t\r\n", np.uint8)).all():
        raise PvaeZooError(f"{path} has other values than 0 and 1: fetch the binarised set")
    values = text[text >= ord("0")] - ord("0")
    if values.size == 0 or values.size % image.dimensions:
        raise PvaeZooError(f"{path} is cut short or has rows of another length than {image.dimensions}")
    return values.reshape(-1, *image.chw)


def _load_idx(root: Path, split: Split, image: ImageShape) -> Images | None:
    """MNIST's own format: big-endian magic 2051, count, rows, columns, then bytes."""
    path = _first_existing([root / f"{_IDX_STEMS[split]}-images-idx3-ubyte{end}" for end in ("", ".gz")])
    if path is None:
        return None
    data = _read(path)
    if len(data) < 16 or struct.unpack(">I", data[:4])[0] != 2051:
        raise PvaeZooError(f"{path} is no idx file of images (magic number 2051)")
    count, height, width = struct.unpack(">III", data[4:16])
    if len(data) != 16 + count * height * width:
        raise PvaeZooError(f"{path} is cut short: {len(data)} bytes for {count} images of {height}x{width}")
    images = np.frombuffer(data, np.uint8, offset=16).reshape(count, 1, height, width).copy()  # a buffer is read-only
    if split == "test":
        return images
    keep = max(0, count - _IDX_VALID) if count > _IDX_VALID else count - count // 6
    return images[:keep] if split == "train" else images[keep:]


def _load_pictures(root: Path, split: Split, image: ImageShape) -> Images | None:
    """Image files in a folder or a zip; the whole set must be readable, a bad file is named."""
    folders = [root / split] if (root / split).is_dir() else []
    archives = [root] if root.suffix == ".zip" else [root / f"{split}.zip", *sorted(root.glob("*.zip"))]
    for place in (*folders, *(archive for archive in archives if archive.is_file())):
        sources = find_images([place])
        if place not in folders and place.stem != split:
            inside = len(place.parts)
            sources = [source for source in sources if split in PurePath(source.name).parts[inside:-1]]
        if sources:
            return np.stack([_picture(source, image) for source in sources])
    return None


def _picture(source: ImageSource, image: ImageShape) -> Images:
    # Read in grey for a binary model: `_with_levels` says for all formats alike what it takes.
    shape = replace(image, levels=256) if image.levels == 2 else image
    try:
        return read_image(source, shape)
    except ImageError as error:
        raise PvaeZooError(f"{source.name} {error}") from error
