"""Looking at a data set before anything is trained: what is there, what cannot be used and why, what goes where.

Every image is decoded once. What cannot be used is a row with its reason and the rest goes on; exact copies count once;
what has no ``train/`` and ``valid/`` of its own is divided by a hash of the content, groups of near copies as one, so
that no image has a copy on the other side and the division is the same tomorrow.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.data.augmentation import Augmentation
from pvae_zoo.data.copies import Look, grouped, look_at, near_pairs
from pvae_zoo.data.datasets import ImageSet
from pvae_zoo.data.fitted_store import FittedStore, SubsetStore
from pvae_zoo.data.image_store import ImageStore, Split
from pvae_zoo.data.images import ImageError

VALID_SHARE = 8
"""One in so many images is for validation where the folder does not say."""

LEAST = 16
"""Distinct images without which nothing can be learnt and measured."""

LEAST_VALID = 4
"""Distinct validation images, at least, if that is no more than a quarter: where the hashes give fewer, the lowest ones
are taken."""

NEAR_AT_MOST = 100_000
"""Images among which near copies are looked for: the time grows with the square."""

_CHUNK = 8


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """An image that was looked at.

    Attributes:
        name: as its owner knows it.
        place: in its store.
        size: width and height as stored.
        fitted: width and height as training sees it.
        notes: what was done to it unasked.
        look: what it is known by.
    """

    name: str
    place: int
    size: tuple[int, int]
    fitted: tuple[int, int]
    notes: tuple[str, ...]
    look: Look


@dataclass(frozen=True)
class Survey:
    """What was found.

    Attributes:
        store: all images, usable or not.
        refused: names with reasons.
        copies: names, each with that of the image it is a copy of.
        near: the same of near copies, which stay, on the side of the other.
        train: the images to learn from, each once.
        valid: the images to measure on, each once.
        own_split: whether the folder says which are which.
        keeps_copies: whether copies are named alone, and stay where they are.
    """

    store: ImageStore
    refused: tuple[tuple[str, str], ...]
    copies: tuple[tuple[str, str], ...]
    near: tuple[tuple[str, str], ...]
    train: tuple[Seen, ...]
    valid: tuple[Seen, ...]
    own_split: bool
    keeps_copies: bool

    @property
    def digest(self) -> str:
        """One hash for what is learnt from and what is measured on."""
        parts = [*(seen.look.digest for seen in self.train), "valid", *(seen.look.digest for seen in self.valid)]
        return hashlib.sha256("".join(parts).encode()).hexdigest()

    def images(self, split: Split, image: ImageShape, augmentation: Augmentation) -> ImageSet:
        """A side of the division, read as the model sees it."""
        places = np.array([seen.place for seen in (self.train if split == "train" else self.valid)], np.int64)
        return ImageSet(SubsetStore(self.store, places), image, augmentation)


def survey(
    stores: Sequence[tuple[Split | None, ImageStore]],
    image: ImageShape,
    where: str,
    *,
    augmentation: Augmentation,
    least: int = LEAST,
    keep_copies: bool = False,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Survey:
    """Look at every image of some stores.

    Args:
        stores: with the side that each is of; None for what is to be divided.
        image: what the model takes.
        where: what was given, for messages.
        augmentation: what training does to them: what no view can be taken of cannot be used.
        least: different images, without which it is refused.
        keep_copies: leave the images of a known set as they are.
        progress: called with the number of images that were looked at, and of all.

    Raises:
        PvaeZooError: if there is too little to learn from; the message says what there is and the remedy.
    """
    joined, sides = _Joined([store for _, store in stores]), [side for side, store in stores for _ in range(len(store))]
    refused: list[tuple[str, str]] = []
    seen: list[Seen] = []
    for done, found in enumerate(_looked_at(joined, image, augmentation), start=1):
        if isinstance(found, Seen):
            seen.append(found)
        else:
            refused.append(found)
        progress(done, len(joined))
    copies, distinct = _without_copies(seen, sides)
    if len(distinct) < least:
        raise PvaeZooError(_too_few(len(joined), refused, seen, distinct, where, least))
    if keep_copies:
        distinct = sorted(seen, key=lambda one: one.place)
    own = any(side is not None for side in sides)
    looks = [one.look for one in distinct]
    first = grouped(
        len(looks), near_pairs(looks) if len(looks) <= NEAR_AT_MOST and not (own and keep_copies) else iter(())
    )
    near = tuple((distinct[i].name, distinct[f].name) for i, f in enumerate(first) if f != i)
    if own:
        train, valid, crossing = _own_division(distinct, first, sides, keep_copies)
        copies, near = [*copies, *crossing], tuple(pair for pair in near if pair not in crossing)
    else:
        train, valid = _division(distinct, first)
    for side, some in (("train", train), ("valid", valid)):
        if not some:
            raise PvaeZooError(f"{where} has no usable {side} image of its own: give more, or leave the folders out")
    return Survey(joined, tuple(refused), tuple(copies), near, tuple(train), tuple(valid), own, keep_copies)


class _Joined:
    """Stores one after the other, each picture with what its file says."""

    origin = None

    def __init__(self, stores: Sequence[ImageStore]) -> None:
        self._stores = stores
        self._ends = np.cumsum([len(store) for store in stores])

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def find(self, index: int) -> tuple[ImageStore, int]:
        number = int(np.searchsorted(self._ends, index, side="right"))
        store = self._stores[number]
        return store, index - (int(self._ends[number]) - len(store))

    def name(self, index: int) -> str:
        store, within = self.find(index)
        return store.name(within)

    def image(self, index: int) -> NDArray[np.uint8]:
        store, within = self.find(index)
        return store.image(within)


def _looked_at(joined: _Joined, image: ImageShape, augmentation: Augmentation) -> Iterator[Seen | tuple[str, str]]:
    """Every image in order, on all cores: Pillow leaves the interpreter to other threads while it decodes."""
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def chunk(start: int) -> list[Seen | tuple[str, str]]:
        return [_look(joined, place, image, augmentation) for place in range(start, min(start + _CHUNK, len(joined)))]

    with ThreadPoolExecutor(workers, "looking") as threads:
        starts = iter(range(0, len(joined), _CHUNK))
        ahead = [threads.submit(chunk, start) for start in islice(starts, 2 * workers)]
        try:
            while ahead:
                yield from ahead.pop(0).result()
                ahead += [threads.submit(chunk, start) for start in islice(starts, 1)]
        finally:
            for future in ahead:
                future.cancel()


def _look(joined: _Joined, place: int, image: ImageShape, augmentation: Augmentation) -> Seen | tuple[str, str]:
    store, within = joined.find(place)
    name = store.name(within)
    try:
        if isinstance(store, FittedStore):
            found = store.fitted(within)
            values, size, notes = found.values, found.size, found.notes
        else:
            values = store.image(within)
            size, notes = (values.shape[2], values.shape[1]), ()
        augmentation.check_size(values.shape[1], values.shape[2], image)
    except ImageError as error:
        return name, str(error)
    except PvaeZooError as error:  # of other stores, which name the image
        return name, str(error).removeprefix(f"{name} ")
    return Seen(name, place, size, (values.shape[2], values.shape[1]), notes, look_at(values, image.levels))


def _without_copies(seen: list[Seen], sides: list[Split | None]) -> tuple[list[tuple[str, str]], list[Seen]]:
    """Exact copies with what they are of, and the images without them; those for validation are kept first."""
    kept: dict[str, Seen] = {}
    copies = []
    for one in sorted(seen, key=lambda one: (sides[one.place] != "valid", one.place)):
        other = kept.setdefault(one.look.digest, one)
        if other is not one:
            copies.append((one.name, other.name))
    return copies, sorted(kept.values(), key=lambda one: one.place)


def _too_few(
    count: int, refused: list[tuple[str, str]], seen: list[Seen], distinct: list[Seen], where: str, least: int
) -> str:
    """What to say of a set with fewer than ``least`` different images that can be used."""
    if not seen:
        name, why = refused[0] if refused else ("", "there is none")
        return f"none of the {count} image{'s' * (count != 1)} in {where} can be used: {name} {why}"
    of = f"{len(seen)} of {count}" if refused else str(count)
    usable = f"{of} image{'s' * (count != 1)} can be used" if refused else f"{of} image{'s' * (count != 1)}"
    if len(distinct) == 1 and len(seen) > 1:
        return f"{where} holds {len(seen)} copies of one image: give at least {least} different ones"
    copies = f", {len(distinct)} of them different" if len(distinct) < len(seen) else ""
    why = f"; of {refused[0][0]}: {refused[0][1]}" if refused else ""
    return f"{where}: {usable}{copies}, too few to learn from: give at least {least}{why}"


def _division(distinct: list[Seen], first: list[int]) -> tuple[list[Seen], list[Seen]]:
    """Train and valid, a group of near copies as one, by the lowest hash in it."""
    lowest: dict[int, str] = {}
    for one, group in zip(distinct, first, strict=True):
        lowest[group] = min(lowest.get(group, "g"), one.look.digest)
    # The hash decides which, and nothing that the other images are changes it, but where there are too few.
    chosen = {group for group, digest in lowest.items() if int(digest[:8], 16) < (1 << 32) // VALID_SHARE}
    fewest = min(LEAST_VALID, max(1, len(lowest) // 4), len(lowest) - 1)
    chosen.update(sorted(lowest, key=lambda group: lowest[group])[:fewest])
    pairs = list(zip(distinct, first, strict=True))
    return [one for one, group in pairs if group not in chosen], [one for one, group in pairs if group in chosen]


def _own_division(
    distinct: list[Seen], first: list[int], sides: list[Split | None], keep: bool
) -> tuple[list[Seen], list[Seen], list[tuple[str, str]]]:
    """Train and valid as the folder has them, and what is left out of train because valid has a near copy of it."""
    valid, train = ([pair for pair in zip(distinct, first, strict=True) if (sides[pair[0].place] == "valid") is side]
                    for side in (True, False))  # fmt: skip
    measured = {} if keep else {group: one for one, group in valid}
    crossing = [(one.name, measured[group].name) for one, group in train if group in measured]
    return [one for one, group in train if group not in measured], [one for one, _ in valid], crossing


def tally(values: Sequence[object]) -> list[tuple[str, int]]:
    """What there is, with how many times, the most frequent first."""
    return Counter(map(str, values)).most_common()


def folder_name(paths: Sequence[Path]) -> str:
    """What was given, without the folders above it."""
    return " and ".join(path.resolve().name for path in paths)
