"""Small sets in one file a split, read whole: binarised text and MNIST's idx."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.data.image_store import ArrayStore, Binarize, Images, Split

_IDX_STEMS = {"train": "train", "valid": "train", "test": "t10k"}
_IDX_VALID = 10_000


def find_amat(root: Path, split: Split, image: ImageShape, binarize: Binarize) -> ArrayStore | None:
    """Larochelle's rows of ``0 1 0 ...``, one image a line; None if there is no such file.

    Raises:
        PvaeZooError: if the file is damaged or has images of another size.
    """
    path = _first_existing([root / f"binarized_mnist_{split}.amat{end}" for end in ("", ".gz")])
    if path is None:
        return None
    text = np.frombuffer(_read(path), np.uint8)
    if not np.isin(text, np.frombuffer(b"01 \t\r\n", np.uint8)).all():
        raise PvaeZooError(f"{path} has other values than 0 and 1: fetch the binarised set")
    values = text[text >= ord("0")] - ord("0")
    if values.size == 0 or values.size % image.dimensions:
        raise PvaeZooError(f"{path} is cut short or has rows of another length than {image.dimensions}")
    return ArrayStore(values.reshape(-1, *image.chw), image, binarize, _where(root, split))


def find_idx(root: Path, split: Split, image: ImageShape, binarize: Binarize) -> ArrayStore | None:
    """MNIST's own format: big-endian magic 2051, count, rows, columns, then bytes; None if there is no such file.

    Raises:
        PvaeZooError: if the file is damaged.
    """
    path = _first_existing([root / f"{_IDX_STEMS[split]}-images-idx3-ubyte{end}" for end in ("", ".gz")])
    if path is None:
        return None
    data = _read(path)
    if len(data) < 16 or struct.unpack(">I", data[:4])[0] != 2051:
        raise PvaeZooError(f"{path} is no idx file of images (magic number 2051)")
    count, height, width = struct.unpack(">III", data[4:16])
    if len(data) != 16 + count * height * width:
        raise PvaeZooError(f"{path} is cut short: {len(data)} bytes for {count} images of {height}x{width}")
    images = np.frombuffer(data, np.uint8, offset=16).reshape(count, 1, height, width)
    return ArrayStore(_part(images, split), image, binarize, _where(root, split))


def read_idx_file(root: Path, stem: str) -> tuple[Path, bytes]:
    """One of MNIST's files, plain or ``.gz``: its path and its content.

    Raises:
        PvaeZooError: if there is none, or it is damaged.
    """
    path = _first_existing([root / f"{stem}{end}" for end in ("", ".gz")])
    if path is None:
        raise PvaeZooError(f"no {stem}[.gz] in {root}: give the folder of MNIST's idx files")
    return path, _read(path)


def _part(images: Images, split: Split) -> Images:
    """The last 10,000 training images are for validation; of a small set, the last sixth."""
    count = len(images)
    keep = count - _IDX_VALID if count > _IDX_VALID else count - count // 6
    return {"train": images[:keep], "valid": images[keep:], "test": images}[split]


def _where(root: Path, split: Split) -> str:
    return f"the {split} split in {root}"


def _first_existing(candidates: list[Path]) -> Path | None:
    return next((path for path in candidates if path.is_file()), None)


def _read(path: Path) -> bytes:
    """A file's content, decompressed."""
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise PvaeZooError(f"cannot read {path}: {error}; fetch the file again") from error
