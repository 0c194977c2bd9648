"""Image files in folders and zips: the names are kept, the files are decoded when they are asked for."""

from __future__ import annotations

from pathlib import Path, PurePath

import numpy as np

from pvae_zoo.errors import PvaeZooError
from pvae_zoo.models.architecture import ImageShape
from pvae_zoo.runtime.decoding import decode_image
from pvae_zoo.runtime.images import ImageError, ImageSource, find_images
from pvae_zoo.training.image_store import Binarize, Images, Split, to_levels


def find_pictures(root: Path, split: Split, image: ImageShape, binarize: Binarize) -> PictureStore | None:
    """``split/`` in a folder or a zip, or a zip of that name; None if there is neither.

    Raises:
        PvaeZooError: if a folder or a zip cannot be looked into.
    """
    folders = [root / split] if (root / split).is_dir() else []
    archives = [root] if root.suffix == ".zip" else [root / f"{split}.zip", *sorted(root.glob("*.zip"))]
    for place in (*folders, *(archive for archive in archives if archive.is_file())):
        sources = find_images([place])
        if place not in folders and place.stem != split:
            inside = len(place.parts)
            sources = [source for source in sources if split in PurePath(source.name).parts[inside:-1]]
        if sources:
            return PictureStore(sources, image, binarize)
    return None


class PictureStore:
    """Image files, in the order of `find_images`.

    Args:
        sources: where they are.
        image: what the model takes.
        binarize: see `to_levels`.
    """

    def __init__(self, sources: list[ImageSource], image: ImageShape, binarize: Binarize) -> None:
        self._sources, self._image, self._binarize = sources, image, binarize

    def __len__(self) -> int:
        return len(self._sources)

    def name(self, index: int) -> str:
        return self._sources[index].name

    def image(self, index: int) -> Images:
        source = self._sources[index]
        try:
            return decode_picture(source.read(), source.name, self._image, self._binarize)
        except ImageError as error:
            raise PvaeZooError(f"{source.name} {error}") from error


def decode_picture(data: bytes, name: str, image: ImageShape, binarize: Binarize) -> Images:
    """An image file in the model's channels and levels.

    Grey, palette and CMYK become RGB for a model of colour images, and colour becomes grey for one of grey images, by
    the ITU-R 601 luma: a set may mix them. Transparency, animations, 16 bits and damage are refused.

    Args:
        data: the file's content.
        name: the file, for messages.
        image: what the model takes; the size is not looked at.
        binarize: see `to_levels`.

    Returns:
        uint8 ``(C, h, w)`` in ``0 .. levels - 1``, of the picture's own size.

    Raises:
        PvaeZooError: if the picture cannot be used.
    """
    if image.channels not in (1, 3):
        raise PvaeZooError(f"the model takes {image.channels} channels; image files have 1 or 3")
    try:
        values = np.asarray(decode_image(data, image.channels, convert=True)[0], np.uint8)
    except ImageError as error:
        raise PvaeZooError(f"{name} {error}") from error
    values = values[np.newaxis] if values.ndim == 2 else values.transpose(2, 0, 1)
    return to_levels(values, image.levels, binarize, name)
