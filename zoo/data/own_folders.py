"""What people have: a folder or a zip of pictures, with ``train/`` and ``valid/`` or without, or a data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.data.array_files import find_amat, find_idx
from pvae_zoo.data.fitted_store import FittedStore, Fitting
from pvae_zoo.data.image_store import Binarize, ImageStore, Split
from pvae_zoo.data.images import ImageSource, find_images, reason, shown
from pvae_zoo.data.lmdb_store import find_lmdb
from pvae_zoo.data.npz_store import find_npz
from pvae_zoo.data.picture_store import PictureStore, find_sources

_SETS = (find_amat, find_idx, find_npz, find_lmdb)
_SIDES: tuple[Split, ...] = ("train", "valid")

Found = list[tuple[Split | None, ImageStore]]
"""Stores with the side that each is of; None for what is not divided."""


def find_stores(
    roots: Sequence[Path], image: ImageShape, *, binarize: Binarize, fitting: Fitting | None = None
) -> Found:
    """Everything there is to train on and to measure on, in files that are not opened yet.

    Args:
        roots: folders and zips; of several, those that are not divided are divided by their content.
        image: what the model takes.
        binarize: of sets in files of their own, and of pictures without ``fitting``.
        fitting: how pictures are brought to the model's size; None leaves them as they are.

    Raises:
        PvaeZooError: if there is nothing, or it is damaged.
    """
    found: Found = []
    for number, root in enumerate(roots):
        if not root.exists():
            raise PvaeZooError(f"no folder or zip {root}: give the one that your images are in")
        if any(root.samefile(other) for other in roots[:number]):
            raise PvaeZooError(f"{root} is given twice: give it once")
        found += _in_files(root, image, binarize) or _pictures(root, image, binarize, fitting)
    return found


def _in_files(root: Path, image: ImageShape, binarize: Binarize) -> Found:
    if not root.is_dir():
        return []
    for find in _SETS:
        found: Found = []
        for side in _SIDES:
            store = find(root, side, image, binarize)
            found += [] if store is None else [(side, store)]
        if found:
            return found
    return []


def _pictures(root: Path, image: ImageShape, binarize: Binarize, fitting: Fitting | None) -> Found:
    def store(sources: list[ImageSource]) -> ImageStore:
        return PictureStore(sources, image, binarize) if fitting is None else FittedStore(sources, fitting)

    try:
        train, valid = (find_sources(root, side) for side in _SIDES)
    except OSError as error:
        raise PvaeZooError(f"cannot look into {shown(root)}: {reason(error)}") from error
    if train and valid:
        return [("train", store(train)), ("valid", store(valid))]
    if valid:
        return [("valid", store(valid))]
    # A folder train/ by itself is no division: what is measured on must come from somewhere.
    return [(None, store(train or find_images([root])))]
