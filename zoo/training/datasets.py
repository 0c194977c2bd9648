"""Training sets in the formats people really have, as batches of uint8 ``(B, C, H, W)``.

A folder may hold
    - Larochelle's static binarised MNIST: ``binarized_mnist_{train,valid,test}.amat``, plain or ``.gz``;
    - MNIST idx files: ``{train,t10k}-images-idx3-ubyte``, plain or ``.gz`` (the last 10,000 of train are valid);
    - downsampled ImageNet: ``train_data_batch_*.npz`` and ``val_data.npz``, at any depth (there is no test split);
    - LSUN: ``<category>_{train,val}_lmdb/`` (``test_lmdb/`` for test), or it may be one of these;
    - ``train/``, ``valid/`` and ``test/`` with images in them, at any depth;
    - a zip with those folders, or several zips named after the splits.

The first two are small and held in memory. The others are read image by image as training asks for them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.errors import PvaeZooError
from pvae_zoo.models.architecture import ImageShape
from pvae_zoo.runtime.images import ImageError
from pvae_zoo.training.array_files import find_amat, find_idx
from pvae_zoo.training.augmentation import NO_AUGMENTATION, Augmentation, draw_views
from pvae_zoo.training.image_store import ArrayStore, Binarize, Images, ImageStore, Split
from pvae_zoo.training.lmdb_store import find_lmdb
from pvae_zoo.training.npz_store import find_npz
from pvae_zoo.training.picture_store import find_pictures

_FORMATS = (find_amat, find_idx, find_npz, find_lmdb, find_pictures)


class ImageSet:
    """A split of a data set, as the model sees it.

    Read it from one thread at a time (decoding changes Pillow's settings for a moment).

    Args:
        store: the images.
        image: the shape and levels that the model expects.
        augmentation: what training does to them.

    Raises:
        PvaeZooError: if the augmentation does not suit the model.
    """

    def __init__(self, store: ImageStore, image: ImageShape, augmentation: Augmentation) -> None:
        if augmentation.scales and image.levels < 256:
            raise PvaeZooError(f"data.scale blurs images, and the model has only {image.levels} levels: leave it out")
        self._store, self._image, self._augmentation = store, image, augmentation

    @classmethod
    def of(cls, values: Images, image: ImageShape) -> ImageSet:
        """A set of images that are in memory already, uint8 ``(N, C, H, W)``."""
        return cls(ArrayStore(values, image, "refuse", "the array"), image, NO_AUGMENTATION)

    def __len__(self) -> int:
        return len(self._store)

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
        draws = None if generator is None else draw_views(generator, len(indices))
        batch = np.empty((len(indices), *self._image.chw), np.uint8)
        for row, index in enumerate(indices):
            picture = self._store.image(int(index))
            try:
                batch[row] = self._augmentation.view(picture, self._image, None if draws is None else draws[row])
            except ImageError as error:
                raise PvaeZooError(f"{self._store.name(int(index))} {error}") from error
        return batch


def load_split(
    root: Path,
    split: Split,
    image: ImageShape,
    *,
    binarize: Binarize = "refuse",
    augmentation: Augmentation = NO_AUGMENTATION,
) -> ImageSet:
    """All images of a split. Only the first is read, to find a set that does not suit the model before work begins.

    Args:
        root: the folder of the data set (or one zip).
        split: which part.
        image: the shape and levels that the model expects.
        binarize: "threshold" turns grey images black and white at 128 for a binary model; "refuse" does not.
        augmentation: what `ImageSet.read` does to an image with a generator, and how it crops without one.

    Raises:
        PvaeZooError: if the folder, the split or a file is missing, damaged or of another shape.
    """
    if not root.exists():
        raise PvaeZooError(f"no data at {root}: give the folder of the data set with --data")
    for find in _FORMATS:
        store = find(root, split, image, binarize)
        if store is not None:
            images = ImageSet(store, image, augmentation)
            images.read(np.arange(min(1, len(images))), None)
            return images
    raise PvaeZooError(
        f"no {split} split in {root}: expected binarized_mnist_{split}.amat[.gz], MNIST idx files, downsampled "
        f"ImageNet's npz batches, LSUN's *_lmdb folders, a folder {split}/ of images, or a zip of one"
    )
