"""From rows as they come to rows with verdicts, the strangest first, in the memory of a few numbers a row.

Two things need the whole batch: the order, and the threshold of Benjamini-Hochberg. So rows wait on the disk, and of
each only its p-value, its strangeness and its place there are kept: 24 bytes, 2.4 MB of 100,000 images.
"""

from __future__ import annotations

import json
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import IO

import numpy as np

from pvae_zoo.screening.conformal import Discoveries
from pvae_zoo.screening.rows import Row

_IN_MEMORY = 1 << 20


@dataclass(frozen=True)
class Rate:
    """What is asked for: of images that belong, the share that may be flagged; or of flagged images, with ``fdr``, the
    share that may belong."""

    value: float
    fdr: bool = False

    def __str__(self) -> str:
        return f"--{'fdr' if self.fdr else 'fpr'} {self.value:g}"


@dataclass(frozen=True)
class Verdict:
    """A row, its index among all rows, and whether it is flagged (never where the image could not be used)."""

    index: int
    row: Row
    flagged: bool


class Verdicts:
    """Rows that wait for their verdicts; a context, for the file that they wait in.

    Args:
        rate: what is asked for.
        ranked: number of ranked calibration images.
    """

    def __init__(self, rate: Rate, ranked: int) -> None:
        self.rate = rate
        self.count = self.failed = 0
        self.names: tuple[str, ...] = ()
        """Of the scores."""
        self._discoveries = Discoveries(ranked)
        self._waiting: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - closed by __exit__
        self._p, self._strangeness, self._places = array("d"), array("d"), array("q")

    def __enter__(self) -> Verdicts:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waiting.close()

    def take(self, rows: Iterable[Row]) -> Verdicts:
        """Keep rows, in their order."""
        for row in rows:
            self._places.append(self._waiting.tell())
            self._waiting.write(json.dumps(row.as_dict()).encode("ascii") + b"\n")
            # An image that could not be used comes after all others.
            self._p.append(2.0 if row.finding is None else row.finding.p_value)
            self._strangeness.append(0.0 if row.finding is None else row.finding.strangeness)
            self.count += 1
            self.failed += row.failed
            if row.finding is not None:
                self._discoveries.add(row.finding.p_value)
                self.names = self.names or tuple(row.finding.scores)
        return self

    @property
    def threshold(self) -> float:
        """The largest p-value that is flagged; 0 if none is."""
        return self._discoveries.threshold(self.rate.value) if self.rate.fdr else self.rate.value

    @property
    def flagged(self) -> int:
        """How many images are."""
        return int((np.frombuffer(self._p) <= self.threshold).sum()) if self.count else 0

    @property
    def least(self) -> int:
        """With ``fdr``, how many images of this batch must have the smallest p-value before any can be flagged."""
        return self._discoveries.least(self.rate.value)

    def sorted(self) -> Iterator[Verdict]:
        """All rows, the strangest first, those of images that could not be used last, and else in their order."""
        order = np.lexsort((np.arange(self.count), -np.array(self._strangeness), np.array(self._p)))
        threshold = self.threshold
        for index in order.tolist():
            self._waiting.seek(self._places[index])
            row = Row.from_dict(json.loads(self._waiting.readline()))
            yield Verdict(index, row, self._p[index] <= threshold)
