"""A task that knows nothing of places gives the same rows at each of them."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest

from pvae_zoo.data.images import ImageSource
from pvae_zoo.scale.headers import Header
from pvae_zoo.scale.image_task import ImageTask, stated
from pvae_zoo.scale.merge import Parts
from pvae_zoo.scale.places import Here, OneShard, run
from pvae_zoo.scale.shards import Shard
from pvae_zoo.scale.tasks import Watch

MODEL = SimpleNamespace(bundle=SimpleNamespace(name="tiny", digest="ab"), provider="CPU")
CHOSEN = SimpleNamespace(model=MODEL, bundle=MODEL.bundle)
SOURCES = [ImageSource(f"{index}.png", Path(f"{index}.png")) for index in range(11)]


@dataclass(frozen=True)
class Length:
    path: str
    length: int
    failed: bool = False

    def as_dict(self):
        return {"path": self.path, "length": self.length, "failed": self.failed}


@dataclass(frozen=True, kw_only=True)
class LengthHeader(Header[Length]):
    prefix: ClassVar[str] = "length"
    command: ClassVar[str] = "measure"
    factor: int

    @classmethod
    def row(cls, data):
        return Length(**data)


@dataclass(frozen=True, kw_only=True)
class Measuring(ImageTask[Length]):
    factor: int = 2
    batch_size: int = 3

    def rows(self, model, items, watch):
        watch.at(0)  # a task may tell more than its rows
        for item in items:
            yield Length(item.name, self.factor * len(item.name), item.name == "4.png")

    def header(self, bundle, provider, sources, shard):
        return LengthHeader(**stated(bundle, provider, sources, shard), factor=self.factor)


class Told:
    """Notes how far the work is said to be, and ends it there if asked to."""

    def __init__(self, stop=None):
        self.seen, self.stop = [], stop
        self.watch = Watch(lambda done, total: self.seen.append((done, total)), self.check)

    def check(self):
        if self.seen and self.seen[-1][0] == self.stop:
            raise KeyboardInterrupt


def test_rows_here_are_those_of_the_parts_of_shards(tmp_path):
    told = Told()
    here = list(run(Measuring(), CHOSEN, SOURCES, Here(), told.watch))
    assert [row.path for row in here] == [source.name for source in SOURCES] and here[10].length == 12
    assert told.seen == [(done, 11) for done in range(12)]
    for number in (3, 1, 2):
        (part,) = run(Measuring(), CHOSEN, SOURCES, OneShard(Shard(number, 3), tmp_path))
        assert part.path.name == f"length-000{number}-of-0003.jsonl" and part.failed == (number == 2)
    parts = Parts[LengthHeader, Length](tmp_path, LengthHeader)
    assert list(parts.rows()) == here and parts.header.factor == 2


def test_a_shard_that_is_gone_on_with_says_how_far_it_is_of_all(tmp_path):
    place = OneShard(Shard(2, 2), tmp_path)
    with pytest.raises(KeyboardInterrupt):
        list(run(Measuring(), CHOSEN, SOURCES, place, Told(stop=3).watch))
    told = Told()
    (part,) = run(Measuring(), CHOSEN, SOURCES, place, told.watch)
    assert (part.count, part.kept, part.was_there) == (6, 3, False) and told.seen == [(3, 6), (3, 6), (6, 6)]


def test_what_stops_the_work_leaves_the_rows_before_it():
    rows = []
    with pytest.raises(KeyboardInterrupt):
        rows.extend(run(Measuring(), CHOSEN, SOURCES, Here(), Told(stop=4).watch))  # the fourth was handed out
    assert len(rows) == 4
