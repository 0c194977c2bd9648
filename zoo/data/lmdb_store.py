"""LSUN's databases: ``<category>_train_lmdb/`` and ``<category>_val_lmdb/``, whose values are image files.

Three million images a category are common, so that of an image only its key is kept.

References:
    F. Yu, A. Seff, Y. Zhang, S. Song, T. Funkhouser, J. Xiao, LSUN: Construction of a Large-scale Image Dataset using
    Deep Learning with Humans in the Loop (2015), https://arxiv.org/abs/1506.03365
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.data.image_store import Binarize, Images, JoinedStore, Split
from pvae_zoo.data.known_sets import Origin
from pvae_zoo.data.picture_store import decode_picture

if TYPE_CHECKING:
    import lmdb

_FOLDERS = {"train": "*_train_lmdb", "valid": "*_val_lmdb", "test": "test_lmdb"}
_FILE = "data.mdb"


def find_lmdb(root: Path, split: Split, image: ImageShape, binarize: Binarize) -> JoinedStore | None:
    """The databases of a split in ``root``, sorted by category, or ``root`` itself; None if there are none.

    Raises:
        PvaeZooError: if one is damaged or empty, or the lmdb package is missing.
    """
    pattern = _FOLDERS[split]
    itself = fnmatch(root.absolute().name, pattern)
    folders = [root] if itself else sorted(folder for folder in root.glob(pattern) if folder.is_dir())
    return JoinedStore([LmdbStore(folder, image, binarize) for folder in folders]) if folders else None


class LmdbStore:
    """One database, its images in the order of their keys.

    Args:
        folder: holds ``data.mdb``.
        image: what the model takes.
        binarize: see `to_levels`.

    Raises:
        PvaeZooError: if it is damaged or empty, or the lmdb package is missing.
    """

    def __init__(self, folder: Path, image: ImageShape, binarize: Binarize) -> None:
        self._folder, self._image, self._binarize = folder, image, binarize
        self._environment = _open(folder)
        # All keys in one piece and where each ends: as objects, they would take three times the room.
        self._keys, self._ends = bytearray(), array("q")
        with _damage_named(folder), self._environment.begin() as transaction:
            for key in transaction.cursor().iternext(keys=True, values=False):
                self._keys += key
                self._ends.append(len(self._keys))
        if not self._ends:
            raise PvaeZooError(f"{folder / _FILE} holds no images: fetch it again")

    @property
    def origin(self) -> Origin | None:
        return None

    def __len__(self) -> int:
        return len(self._ends)

    def name(self, index: int) -> str:
        key = self._key(index)
        return f"{self._folder}/{key.decode() if key.isascii() and key.decode().isprintable() else key.hex()}"

    def image(self, index: int) -> Images:
        with _damage_named(self._folder), self._environment.begin() as transaction:
            data = transaction.get(self._key(index), default=b"")
        return decode_picture(data, self.name(index), self._image, self._binarize)

    def _key(self, index: int) -> bytes:
        return bytes(self._keys[self._ends[index - 1] if index else 0 : self._ends[index]])


def _open(folder: Path) -> lmdb.Environment:
    try:
        import lmdb
    except ImportError as error:
        raise PvaeZooError(f"{folder} needs the lmdb package: pip install 'pvae-zoo[train]'") from error
    path = folder / _FILE
    if not path.is_file():
        raise PvaeZooError(f"{folder} has no {_FILE}: unpack its zip again")
    with _damage_named(folder):
        # No lock file, so that a folder without write permission will do; images are read in random order.
        environment = lmdb.open(str(folder), readonly=True, lock=False, readahead=False)
    # The database is mapped into memory, and touching a page that the file lacks would kill the process.
    size, needed = path.stat().st_size, (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    if size < needed:
        raise PvaeZooError(f"{path} is cut short ({size} of {needed} bytes): fetch it again, or try mdb_copy -c")
    return environment


@contextmanager
def _damage_named(folder: Path) -> Iterator[None]:
    import lmdb

    try:
        yield
    except lmdb.Error as error:
        raise PvaeZooError(f"{folder / _FILE} is damaged or no lmdb ({error}): fetch it again") from error
