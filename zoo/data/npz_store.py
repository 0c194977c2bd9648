"""The official batches of downsampled ImageNet, mapped into memory and never loaded.

``train_data_batch_1.npz`` to ``_10.npz`` and ``val_data.npz`` hold ``data``, uint8 ``(N, C * S * S)``: each row is an
image, one channel after the other. The labels beside it are not looked at.

References:
    P. Chrabaszcz, I. Loshchilov, F. Hutter, A Downsampled Variant of ImageNet as an Alternative to the CIFAR datasets
    (2017), https://arxiv.org/abs/1707.08819
"""

from __future__ import annotations

import math
import re
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.data.image_store import Binarize, Images, JoinedStore, Split, to_levels
from pvae_zoo.data.images import walk
from pvae_zoo.data.known_sets import IMAGENET64_2017, Origin

_TRAIN, _VALID, _MEMBER = re.compile(r"train_data_batch_(\d+)\.npz"), "val_data.npz", "data.npy"
_LOCAL_HEADER = struct.Struct("<26x2H")  # of a zip's member; it ends with the lengths of the name and the extra field
_COPY_BYTES = 1 << 20
_LENGTH_64 = 3 * 64 * 64


def find_npz(root: Path, split: Split, image: ImageShape, binarize: Binarize) -> JoinedStore | None:
    """The batches of a split, at any depth; None if there are none.

    Raises:
        PvaeZooError: if a batch is missing, damaged or of another layout, or if the test split is asked for.
    """
    if not root.is_dir():
        return None
    found = [Path(e.path) for e in walk(root) if e.is_file() and (e.name == _VALID or _TRAIN.fullmatch(e.name))]
    if found and split == "test":
        raise PvaeZooError(f"downsampled ImageNet in {root} has no test split: use the valid split")
    valid = sorted(path for path in found if path.name == _VALID)
    paths = valid if split == "valid" else _in_order(root, [path for path in found if path.name != _VALID])
    stores = [NpzStore(path, image, binarize) for path in paths]
    is_64 = all(store.row_length == _LENGTH_64 for store in stores)
    origin = Origin(IMAGENET64_2017, split, sum(map(len, stores))) if is_64 else None
    return JoinedStore(stores, origin) if stores else None


def _in_order(root: Path, paths: list[Path]) -> list[Path]:
    """By number, all there: a batch that was not fetched would be missed by nobody."""
    numbered = sorted((int(path.stem.rpartition("_")[2]), path) for path in paths)
    numbers = [number for number, _ in numbered]
    if numbers != list(range(1, len(numbers) + 1)):
        listed = ", ".join(map(str, numbers))
        raise PvaeZooError(f"{root} has the training batches {listed}: give a folder with each of 1, 2, ... once")
    return [path for _, path in numbered]


class NpzStore:
    """One batch.

    Args:
        path: the npz.
        image: what the model takes.
        binarize: see `to_levels`.

    Raises:
        PvaeZooError: if it is damaged, of another layout or of another number of channels.
    """

    def __init__(self, path: Path, image: ImageShape, binarize: Binarize) -> None:
        self._path, self._levels, self._binarize = path, image.levels, binarize
        self._rows = _map_rows(path)
        self._shape = _shape_of(self._rows.shape[1], image, path)

    @property
    def origin(self) -> Origin | None:
        return None

    @property
    def row_length(self) -> int:
        """Values an image."""
        return int(self._rows.shape[1])

    def __len__(self) -> int:
        return len(self._rows)

    def name(self, index: int) -> str:
        return f"image {index} of {self._path}"

    def image(self, index: int) -> Images:
        values = self._rows[index].reshape(self._shape)
        return to_levels(values, self._levels, self._binarize, self.name(index))


def _shape_of(length: int, image: ImageShape, path: Path) -> tuple[int, int, int]:
    """``(C, h, w)`` of a row: the model's, or else square."""
    if length == image.dimensions:
        return image.chw
    side = math.isqrt(length // image.channels)
    if image.channels * side * side != length:
        raise PvaeZooError(
            f"{path} has rows of {length} values: expected {image.dimensions}, for {image.channels} channel(s) of "
            f"{image.width}x{image.height}"
        )
    return image.channels, side, side


def _map_rows(path: Path) -> Images:
    """``data`` as an array ``(N, length)`` that stays on the disk."""
    try:
        with zipfile.ZipFile(path) as archive:
            if _MEMBER not in archive.namelist():
                raise PvaeZooError(f"{path} has no array 'data': it is no batch of downsampled ImageNet")
            member = archive.getinfo(_MEMBER)
            with _opened(path, archive, member) as file:
                start = file.tell()
                shape = _read_shape(file, path)
                if file.tell() - start + math.prod(shape) != member.file_size:
                    raise PvaeZooError(f"{path} is cut short: its header promises {shape[0]} rows: fetch it again")
                return np.memmap(file, np.uint8, "r", file.tell(), shape)
    # A damaged, encrypted or oddly compressed member raises any of these.
    except (OSError, zipfile.BadZipFile, ValueError, EOFError, zlib.error, struct.error, RuntimeError) as error:
        raise PvaeZooError(f"{path} is cut short or no npz ({error}): fetch it again") from error


def _read_shape(file: IO[bytes], path: Path) -> tuple[int, int]:
    """``(N, length)`` from an npy header; the file then stands at the first value."""
    read_header = npy.read_array_header_1_0 if npy.read_magic(file) == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read_header(file)
    if len(shape) != 2 or dtype != np.uint8 or fortran or 0 in shape:
        raise PvaeZooError(f"{path} has data of type {dtype} and shape {shape}: expected uint8 rows, one an image")
    return shape[0], shape[1]


@contextmanager
def _opened(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[IO[bytes]]:
    """A file to map, at the start of the member's npy: the npz itself, or an unpacked copy where it is compressed."""
    if member.compress_type == zipfile.ZIP_STORED:
        with path.open("rb") as file:
            file.seek(member.header_offset)
            file.seek(sum(_LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))), 1)
            yield file
        return
    with tempfile.TemporaryFile() as copy:  # has no name: it is gone with its mapping, however the program ends
        try:
            with archive.open(member) as source:
                shutil.copyfileobj(source, copy, _COPY_BYTES)
            copy.seek(0)
        except OSError as error:
            folder = tempfile.gettempdir()
            raise PvaeZooError(f"cannot unpack {path} into {folder} ({error}): set TMPDIR to a larger place") from error
        yield copy
