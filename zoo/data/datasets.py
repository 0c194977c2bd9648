"""Data sets in the formats people really have, as batches of uint8 ``(B, C, H, W)``.

A folder may hold
    - Larochelle's static binarised MNIST: ``binarized_mnist_{train,valid,test}.amat``, plain or ``.gz``;
    - MNIST idx files: ``{train,t10k}-images-idx3-ubyte``, plain or ``.gz`` (the last 10,000 of train are valid);
    - downsampled ImageNet of 2017: ``train_data_batch_*.npz`` and ``val_data.npz``, at any depth (there is no test
      split);
    - LSUN: ``<category>_{train,val}_lmdb/`` (``test_lmdb/`` for test), or it may be one of these;
    - ``train/``, ``valid/`` and ``test/`` with images in them, at any depth, such as ``train_64x64/`` and
      ``valid_64x64/`` of the ImageNet 64x64 of 2016;
    - zips with those folders, or zips named after the splits.

The first two are small and held in memory. The others are read image by image as training asks for them, or held in
memory too (`ImageSet.held`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.architecture import ArchitectureError, ImageShape
from pvae_zoo.data.array_files import find_amat, find_idx
from pvae_zoo.data.augmentation import NO_AUGMENTATION, Augmentation, Placement, draw_views, jpeg_copy
from pvae_zoo.data.held_store import HeldStore, hold
from pvae_zoo.data.image_store import ArrayStore, Binarize, Images, ImageStore, JoinedStore, Split
from pvae_zoo.data.images import ImageError
from pvae_zoo.data.known_sets import Origin
from pvae_zoo.data.lmdb_store import find_lmdb
from pvae_zoo.data.memory import available_memory
from pvae_zoo.data.npz_store import find_npz
from pvae_zoo.data.picture_store import find_pictures

MEMORY_SHARE = 0.25
"""Of the memory that is available, what the pixels of one held set may take; torchrun's processes divide it."""

_FORMATS = (find_amat, find_idx, find_npz, find_lmdb, find_pictures)
_LOOKED_AT = 1000  # pictures of a set whose first is too small


class ImageSet:
    """A split of a data set, as the model sees it. Any number of threads may read it at once.

    Args:
        store: the images.
        image: the shape and levels that the model expects.
        augmentation: what training does to them.
        jpeg_quality: of the JPEG copies that evaluation sees in place of the images; None for the images themselves.

    Raises:
        PvaeZooError: if the augmentation does not suit the model.
    """

    def __init__(
        self, store: ImageStore, image: ImageShape, augmentation: Augmentation, jpeg_quality: int | None = None
    ) -> None:
        try:
            augmentation.check_model(image)
        except ArchitectureError as error:
            raise PvaeZooError(str(error)) from error
        if jpeg_quality is not None and image.levels < 256:
            raise PvaeZooError(f"JPEG copies have 256 levels, and the model has only {image.levels}")
        self._store, self._image, self._augmentation, self._quality = store, image, augmentation, jpeg_quality

    @classmethod
    def of(cls, values: Images, image: ImageShape) -> ImageSet:
        """A set of images that are in memory already, uint8 ``(N, C, H, W)``."""
        return cls(ArrayStore(values, image, "refuse", "the array"), image, NO_AUGMENTATION)

    def __len__(self) -> int:
        return len(self._store)

    @property
    def image(self) -> ImageShape:
        """The shape and levels of what is read."""
        return self._image

    @property
    def origin(self) -> Origin | None:
        """Which published set this is; None for any other."""
        return self._store.origin

    @property
    def pictures(self) -> HeldStore | None:
        """The pictures themselves, where they are held in memory."""
        return self._store if isinstance(self._store, HeldStore) else None

    def held(
        self, share: float = MEMORY_SHARE, progress: Callable[[int, int], None] = lambda done, of: None
    ) -> ImageSet:
        """The same set in memory, decoded once; the set itself, which is read from its files, if it does not fit.

        `read` gives the same images either way.

        Args:
            share: of the available memory, what the pixels may take.
            progress: called with the number of pictures that are decoded, and of all.

        Raises:
            PvaeZooError: for the first picture that cannot be used.
        """
        if self.pictures is not None:
            return self
        processes = os.environ.get("LOCAL_WORLD_SIZE", "")  # torchrun's, on this machine
        budget = int(share * available_memory() / max(1, int(processes) if processes.isdecimal() else 1))
        store = hold(self._store, self._image.channels, budget, progress)
        if store is None:
            return self
        self._check_sizes(store)
        return ImageSet(store, self._image, self._augmentation, self._quality)

    def as_jpeg(self, quality: int) -> ImageSet:
        """The same set, each image that evaluation sees as it comes back from a JPEG file of this quality, 1 to 100."""
        return ImageSet(self._store, self._image, self._augmentation, quality)

    def read(self, indices: NDArray[np.int64], generator: np.random.Generator | None) -> Images:
        """Some of the images.

        Args:
            indices: which, ``(B,)``, of ``0 .. len - 1``.
            generator: for a random view of each, as in training; None for the one view that evaluation takes.

        Returns:
            uint8 ``(B, C, H, W)`` with values ``0 .. image.levels - 1``.

        Raises:
            PvaeZooError: if an image is damaged or does not suit the model; the message names it.
        """
        return self.read_views(indices, None if generator is None else draw_views(generator, len(indices)))

    def read_views(self, indices: NDArray[np.int64], draws: NDArray[np.float64] | None) -> Images:
        """`read` with the random numbers of `draw_views` themselves, ``(B, 6)``."""
        batch = np.empty((len(indices), *self._image.chw), np.uint8)
        for row, index in enumerate(indices):
            picture = self._store.image(int(index))
            try:
                view = self._augmentation.view(picture, self._image, None if draws is None else draws[row])
            except ImageError as error:
                raise PvaeZooError(f"{self._store.name(int(index))} {error}") from error
            batch[row] = view if draws is not None or self._quality is None else jpeg_copy(view, self._quality)
        return batch

    def place(self, indices: NDArray[np.int64], draws: NDArray[np.float64] | None) -> Placement:
        """What `read_views` does to the pictures of a set that is held in memory."""
        assert self.pictures is not None
        placed = self._augmentation.place(self.pictures.sizes[indices], self._image, draws)
        if draws is None and self._quality is not None:
            placed.quality[:] = self._quality
        return placed

    def check(self, where: str) -> None:
        """Look at the first image, to find a set that does not suit the model before work begins.

        Raises:
            PvaeZooError: if it cannot be used; if it is too small and all others are too (of a large set the first
                thousand), that is said of ``where``.
        """
        height, width = self._image.height, self._image.width

        def share(index: int) -> tuple[float, str]:
            """How much of the window a picture covers; 1 or more where it covers it."""
            try:
                rows, columns = self._store.image(index).shape[1:]
            except PvaeZooError:
                return 0.0, "unreadable"
            return min(rows / height, columns / width), f"{columns}x{rows}"

        if len(self) and 0 < share(0)[0] < 1:
            looked_at = min(len(self), _LOOKED_AT)
            largest, size = max(map(share, range(looked_at)))
            if largest < 1:
                raise PvaeZooError(
                    f"nothing in {where} is as large as the model's {width}x{height}: the largest of "
                    f"{looked_at} images is {size}"
                )
        self.read(np.arange(min(1, len(self))), None)

    def _check_sizes(self, store: HeldStore) -> None:
        """Refuse the first picture that no view can be taken of."""
        model = np.array([self._image.height, self._image.width])
        unfit = store.sizes < model if self._augmentation.crop == "random" else store.sizes != model
        for index in np.flatnonzero(unfit.any(axis=1))[:1]:
            try:
                self._augmentation.check_size(int(store.sizes[index, 0]), int(store.sizes[index, 1]), self._image)
            except ImageError as error:
                raise PvaeZooError(f"{store.name(int(index))} {error}") from error


def load_split(
    root: Path | Sequence[Path],
    split: Split,
    image: ImageShape,
    *,
    binarize: Binarize = "refuse",
    augmentation: Augmentation = NO_AUGMENTATION,
) -> ImageSet:
    """All images of a split. Only the first is read, to find a set that does not suit the model before work begins.

    Args:
        root: the folder of the data set (or one zip); several are joined, of which some may lack ``valid`` or ``test``.
        split: which part.
        image: the shape and levels that the model expects.
        binarize: "threshold" turns grey images black and white at 128 for a binary model; "refuse" does not.
        augmentation: what `ImageSet.read` does to an image with a generator, and how it crops without one.

    Raises:
        PvaeZooError: if a folder, the split or a file is missing, damaged or of another shape.
    """
    roots = [root] if isinstance(root, Path) else list(root)
    for number, one in enumerate(roots):
        if not one.exists():
            raise PvaeZooError(f"no data at {one}: give the folder of the data set with --data")
        if any(one.samefile(other) for other in roots[:number]):
            raise PvaeZooError(f"{one} is given twice with --data: give it once")
    found = [(one, _find(one, split, image, binarize)) for one in roots]
    stores = [store for _, store in found if store is not None]
    lacking = [one for one, store in found if store is None]
    if lacking and (split == "train" or not stores):
        raise PvaeZooError(
            f"no {split} split in {lacking[0]}: expected binarized_mnist_{split}.amat[.gz], MNIST idx files, "
            f"downsampled ImageNet's npz batches, LSUN's *_lmdb folders, a folder {split}/ of images, or a zip of one"
        )
    images = ImageSet(stores[0] if len(stores) == 1 else JoinedStore(stores), image, augmentation)
    images.check(f"the {split} split in {' and '.join(map(str, roots))}")
    return images


def _find(root: Path, split: Split, image: ImageShape, binarize: Binarize) -> ImageStore | None:
    return next((store for find in _FORMATS if (store := find(root, split, image, binarize)) is not None), None)
