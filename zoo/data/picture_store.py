"""Image files in folders and zips: the names are kept, the files are decoded when they are asked for."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import numpy as np

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.data.decoding import decode_image
from pvae_zoo.data.image_store import Binarize, Images, Split, to_levels
from pvae_zoo.data.images import ImageError, ImageSource, NoImagesError, find_images
from pvae_zoo.data.known_sets import IMAGENET64_2016, Origin

_SPLITS: dict[str, Split] = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}
_SPLIT = re.compile(rf"(?P<split>{'|'.join(_SPLITS)})(_\d+x\d+)?", re.IGNORECASE)


def find_pictures(root: Path, split: Split, image: ImageShape, binarize: Binarize) -> PictureStore | None:
    """The pictures of a split; None if there are none.

    They are looked for in folders named after the split, then in zips of that name, then in the folders of that name
    in whatever else there is, all zips together. What lies in a folder named after another split is never taken, so a
    ``train.zip`` that holds ``train/`` and ``valid/`` gives each its own. ``val``, ``validation`` and
    ``valid_64x64`` are names of splits as well.

    Args:
        root: a folder, or one zip.
        split: which part.
        image: what the model takes.
        binarize: see `to_levels`.

    Raises:
        PvaeZooError: if a folder or a zip cannot be looked into.
    """
    sources = find_sources(root, split)
    return PictureStore(sources, image, binarize, _origin(sources, split)) if sources else None


def find_sources(root: Path, split: Split) -> list[ImageSource]:
    """The files of the pictures of a split, as `find_pictures` says; none if there are none.

    Raises:
        PvaeZooError: if a folder or a zip cannot be looked into.
    """
    places = [root] if root.is_file() else sorted(root.iterdir())
    folders = [place for place in places if place.is_dir() and split_named(place.name)]
    zips = [place for place in places if place.is_file() and place.suffix.lower() == ".zip"]
    named = [[place for place in kind if split_named(place.stem) == split] for kind in (folders, zips)]
    for group in (*named, [*folders, *zips]):
        sources = [source for place in group for source in _of_split(place, split)]
        if sources:
            return sources
    return []


def split_named(name: str) -> Split | None:
    """The split that a folder or a zip of this name holds."""
    match = _SPLIT.fullmatch(name)
    return _SPLITS[match["split"].lower()] if match else None


def _of_split(place: Path, split: Split) -> list[ImageSource]:
    """The pictures in a folder or a zip that are of a split."""
    try:
        sources = find_images([place])
    except NoImagesError:
        return []
    inner = [_inner_split(place, source) for source in sources]
    own = split_named(place.stem)
    if own is None or None not in inner:  # all lie in folders of splits, whatever the zip around them is called
        return [source for source, found in zip(sources, inner, strict=True) if found == split]

    def belongs(found: Split | None) -> bool:
        # A folder "train" beside others in valid/ is a class: pictures of trains.
        return own == split if found is None or found == "train" else found == split

    return [source for source, found in zip(sources, inner, strict=True) if belongs(found)]


def _inner_split(place: Path, source: ImageSource) -> Split | None:
    """What the first folder inside the place that is named after a split says."""
    inside = PurePosixPath(source.member.filename) if source.member else source.path.relative_to(place)
    return next(filter(None, map(split_named, inside.parts[:-1])), None)


def _origin(sources: list[ImageSource], split: Split) -> Origin | None:
    """The older ImageNet 64x64 is known by its folders, or by how many it has."""
    first = sources[0]
    folders = (*first.path.parts[:-1], *(PurePosixPath(first.member.filename).parts if first.member else ()))
    is_named = any(split_named(folder) and folder.endswith("_64x64") for folder in folders)
    if is_named or len(sources) == IMAGENET64_2016.images.get(split):
        return Origin(IMAGENET64_2016, split, len(sources))
    return None


class PictureStore:
    """Image files, in the order of `find_images`.

    Args:
        sources: where they are.
        image: what the model takes.
        binarize: see `to_levels`.
        origin: the known set that they are.
    """

    def __init__(
        self, sources: list[ImageSource], image: ImageShape, binarize: Binarize, origin: Origin | None = None
    ) -> None:
        self._sources, self._image, self._binarize, self._origin = sources, image, binarize, origin

    @property
    def origin(self) -> Origin | None:
        return self._origin

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
    the ITU-R 601 luma; a colour profile is converted to sRGB: a set may mix them. Transparency, animations, 16 bits and
    damage are refused.

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
        picture = decode_image(data).picture.convert("L" if image.channels == 1 else "RGB")
    except ImageError as error:
        raise PvaeZooError(f"{name} {error}") from error
    values = np.asarray(picture, np.uint8)
    values = values[np.newaxis] if values.ndim == 2 else values.transpose(2, 0, 1)
    return to_levels(values, image.levels, binarize, name)
