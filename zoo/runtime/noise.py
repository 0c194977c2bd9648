"""Noise as a pure function of (seed, image, stage, position).

Every image has its own Philox stream for each stage, so the same seed gives the same image whatever the batch size,
the order or the number of workers, and a stage's noise can be held while another's varies. Uniforms and normals are
made from the generator's raw words, which NumPy keeps stable and any language can compute: the stream's words 4b to
4b + 3 are the four words, in order, of the Philox4x64-10 block with key (seed, image) and counter (b + 1, 0, stage, 0),
lowest word first. The first block has counter 1, not 0: NumPy increments the counter before each block.

What is drawn has an index, which is its image's number. What is scored is an image that somebody has, and its number is
made from its pixels (`content_key`): its figures are then the same in any folder, order, shard or cluster.

Reference: Parallel Random Numbers: As Easy as 1, 2, 3 (Salmon et al., 2011).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.base.errors import PvaeZooError

PIXELS = 0
"""Stage of the pixels' uniforms; the latents of level l, from 1, are stage l."""

POSTERIOR = 1024
"""Added to a level's stage for draws from its posterior, so that scoring and sampling share no noise."""

_BLOCK = 1 << 16

RESAMPLING = 2048
"""Stage of the uniform that picks a latent among weighted candidates."""


def check_seed(seed: int) -> int:
    """The seed, if it fits the generator's 64-bit key.

    Raises:
        PvaeZooError: if it does not.
    """
    if not 0 <= seed < 2**63:
        raise PvaeZooError(f"seed {seed} is out of range: choose one from 0 to 2^63 - 1")
    return seed


def content_key(image: NDArray[np.uint8]) -> int:
    """The number of an image that is scored, 0 to 2^64 - 1.

    It is the first 8 bytes, lowest first, of the SHA-256 of the values ``(C, H, W)`` in C order. Equal images share
    their noise, and so their figures; among a million different ones, two share it with a probability of 3e-8, which
    would couple their draws and spoil neither.
    """
    return int.from_bytes(hashlib.sha256(image.tobytes()).digest()[:8], "little")


def _stream(seed: int, image: int, stage: int) -> np.random.Philox:
    return np.random.Philox(key=np.array([seed, image], np.uint64), counter=np.array([0, 0, stage, 0], np.uint64))


def _words(seed: int, image: int, stage: int, count: int) -> NDArray[np.uint64]:
    return _stream(seed, image, stage).random_raw(count)


def uniforms(seed: int, images: Sequence[int], stage: int, count: int) -> NDArray[np.float32]:
    """Uniforms in [0, 1), multiples of 2^-24: the top 24 bits of each raw word, exact in float32.

    Args:
        seed: 0 to 2^63 - 1.
        images: numbers of the images, 0 to 2^64 - 1.
        stage: what the noise is for.
        count: numbers an image; more of them continue the same stream.

    Returns:
        float32 ``(len(images), count)``.
    """
    rows = [_words(seed, image, stage, count) >> np.uint64(40) for image in images]
    return (np.array(rows, np.uint64).reshape(len(images), count) * 2.0**-24).astype(np.float32)


def normals(
    seed: int, images: Sequence[int], stage: int, count: int, check: Callable[[], None] = lambda: None
) -> NDArray[np.float32]:
    """Standard normals by Box and Muller's transform, two raw words a pair, computed in float64.

    Args:
        check: called between blocks of numbers; what it raises ends the work.

    Returns:
        float32 ``(len(images), count)``; more of them continue the same stream.
    """
    drawn = np.empty((len(images), count), np.float32)
    for row, image in zip(drawn, images, strict=True):
        stream = _stream(seed, image, stage)
        for start in range(0, count, _BLOCK):  # that many at once stay in the caches
            check()
            block = row[start : start + _BLOCK]
            u = (stream.random_raw(len(block) + len(block) % 2) >> np.uint64(11)) * 2.0**-53
            radius = np.sqrt(-2.0 * np.log1p(-u[0::2]))
            angle = 2.0 * np.pi * u[1::2]
            block[0::2] = radius * np.cos(angle)
            block[1::2] = (radius * np.sin(angle))[: len(block) // 2]
    return drawn
