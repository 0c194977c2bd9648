"""Which of many pieces of a job is meant."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

MAX_SHARDS = 9999
"""As many as the four digits of a part's name can number."""


@dataclass(frozen=True)
class Shard:
    """The piece ``number``, from 1, of ``of``.

    A shard is a block of neighbours, not every n-th one. All images cost the same once they are decoded, so striding
    would balance nothing; a block is read from one folder or zip in order, and the parts of blocks, one after another,
    are the whole in its order, so that merging holds one row at a time and one file open.
    """

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @property
    def name(self) -> str:
        """For file names: they sort in the order of the shards."""
        return f"{self.number:04}-of-{self.of:04}"

    def block(self, total: int) -> range:
        """Its indices of ``total``; the sizes of shards differ by one at most, and some are empty where there are
        more shards than indices."""
        return range(total * (self.number - 1) // self.of, total * self.number // self.of)


def parse_shard(text: str) -> Shard:
    """``3/8`` as a shard.

    Raises:
        ValueError: if it is none; the message says what one looks like.
    """
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if match is None:
        raise ValueError(f"{text!r} is no shard: give the number and the count, such as 3/8")
    number, of = map(int, match.groups())
    if of > MAX_SHARDS:
        raise ValueError(f"{of} shards are too many: cut into {MAX_SHARDS} at most")
    if not 1 <= number <= of:
        raise ValueError(f"{text!r} is no shard: shards are numbered from 1 to {of}")
    return Shard(number, of)


def chunks(block: range, size: int) -> Iterator[range]:
    """A block in pieces of ``size``, the last one of what is left."""
    for start in range(block.start, block.stop, size):
        yield range(start, min(start + size, block.stop))
