"""Which images are copies of each other, pixel for pixel or nearly so.

Exact copies are known by the SHA-256 of their pixels. Near copies (another compression, size or brightness of the same
photo) have nearly the same difference hash, 64 signs of the brightness between neighbours on an 8x9 thumbnail, and
nearly the same 8x8 thumbnail as well: the hash alone takes all plain images for one. Own code, because imagehash
brings SciPy and PyWavelets for these lines.

Reference: N. Krawetz, Kind of Like That (2013), https://www.hackerfactor.com/blog/index.php?/archives/529.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pvae_zoo.data.image_store import Images

BITS = 6
"""Of the 64 signs, how many may differ between near copies."""

DIFFERENCE = 6.0
"""Root mean square difference of thumbnails of near copies, of values 0 .. 255, the mean of each left out."""

_PLAIN = 3.0  # standard deviation of a thumbnail's brightness
_SIDE = 8
_BLOCK = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What an image is known by.

    Attributes:
        digest: SHA-256 of its shape and pixels, hexadecimal.
        signs: the difference hash.
        thumbnail: int16 ``(64,)``, brightness of 8x8 places about their mean.
    """

    digest: str
    signs: int
    thumbnail: NDArray[np.int16]


def look_at(values: Images, levels: int) -> Look:
    """What an image ``(C, h, w)`` of so many levels is known by."""
    digest = hashlib.sha256(repr(values.shape).encode() + values.tobytes()).hexdigest()
    grey = values.mean(axis=0) * (255 / (levels - 1))
    picture = Image.fromarray(grey.astype(np.uint8))
    # A box is the mean of a place; other filters would ring around a digit.
    wide = np.asarray(picture.resize((_SIDE + 1, _SIDE), Image.Resampling.BOX), np.int16)
    small = np.asarray(picture.resize((_SIDE, _SIDE), Image.Resampling.BOX), np.int16).reshape(-1)
    signs = int.from_bytes(np.packbits(wide[:, 1:] > wide[:, :-1]).tobytes(), "big")
    return Look(digest, signs, small - np.int16(np.rint(small.mean())))


def near_pairs(looks: list[Look]) -> Iterator[tuple[int, int]]:
    """Pairs ``(i, j)``, ``i < j``, of images that are nearly the same."""
    if len(looks) < 2:
        return
    signs = np.array([look.signs for look in looks], np.uint64)
    thumbnails = np.stack([look.thumbnail for look in looks]).astype(np.float32)
    for start in range(0, len(looks), _BLOCK):
        rows = signs[start : start + _BLOCK, np.newaxis]
        close = _count(rows ^ signs[np.newaxis, start:]) <= BITS
        for i, j in np.argwhere(np.triu(close, k=1)) + start:
            gap = np.sqrt(np.square(thumbnails[i] - thumbnails[j]).mean())
            contrast = float(thumbnails[i].std())
            # Of an image with little contrast a small difference is all there is, and a plain one tells nothing.
            if contrast >= _PLAIN and gap <= min(DIFFERENCE, 0.25 * contrast):
                yield int(i), int(j)


def _count(words: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """How many bits of each word are set (numpy counts them itself from version 2 on)."""
    found: NDArray[np.uint8] = _SET[words.view(np.uint16)].reshape(*words.shape, 4).sum(axis=-1, dtype=np.uint8)
    return found


_SET = np.array([bin(word).count("1") for word in range(1 << 16)], np.uint8)


def grouped(count: int, pairs: Iterator[tuple[int, int]]) -> list[int]:
    """For each of ``count`` images the first one of its group: those that pairs join."""
    first = list(range(count))

    def root(index: int) -> int:
        while first[index] != index:
            first[index] = first[first[index]]
            index = first[index]
        return index

    for i, j in pairs:
        a, b = sorted((root(i), root(j)))
        first[b] = a
    return [root(index) for index in range(count)]
