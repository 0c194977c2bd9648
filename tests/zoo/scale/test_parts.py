"""A part file is whole, or can be gone on with; nothing else is ever believed."""

import functools
import json
import os
from dataclasses import replace

import pytest

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.runtime.score_files import Figures, Row
from pvae_zoo.scale.headers import read_header
from pvae_zoo.scale.parts import read_rows, write_part
from pvae_zoo.scale.scoring import ScoreHeader as Header
from pvae_zoo.scale.shards import Shard

read_header, read_rows = (functools.partial(read, kind=Header) for read in (read_header, read_rows))
part_path = Header.path_of

HEADER = Header(
    model="tiny", model_sha256="ab", levels=2, samples=2, seed=0, resize=False, binarize=None, convert=False,
    shard=2, shards=3, sources=31, sources_sha256="cd", provider="CPUExecutionProvider", version="0.1.0",
)  # fmt: skip
BLOCK = HEADER.block


def row(index):
    if index % 5 == 0:
        return Row(f"\ufffd {index}.png", None, reason="is empty")
    value = 1 / (index + 3)
    figures = Figures(
        bits_per_dim=value, nll_nats=value * 7, reconstruction_nats=-0.0, kl_nats=(value, 1e-300), iwae_nll_nats=value
    )
    return Row(f"{index} ü.png", figures, note="grey, converted to RGB" if index % 2 else None)


ROWS = [row(index) for index in BLOCK]


class Scorer:
    """Gives rows, and fails before the one that it is told to."""

    def __init__(self, stop=None):
        self.stop, self.asked = stop, []

    def __call__(self, done):
        self.asked.append(done)
        for index in range(done, len(BLOCK)):
            if index == self.stop:
                raise KeyboardInterrupt
            yield ROWS[index]


def write(folder, header=HEADER, score=None, batch_size=3):
    return write_part(folder, header, score or Scorer(), batch_size=batch_size)


@pytest.fixture
def path(tmp_path):
    return part_path(tmp_path, Shard(2, 3))


@pytest.fixture
def partial(path):
    return path.with_name(path.name + ".partial")


def test_rows_come_back_to_the_last_bit(tmp_path, path, partial, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    part = write(tmp_path)
    assert len(synced) == 1 + 4  # the first line, and each batch: a machine that goes down keeps them
    assert (part.path, part.count, part.failed, part.was_there) == (path, 10, 2, False) and not partial.exists()
    assert read_header(path) == HEADER and list(read_rows(path)) == ROWS
    lines = [json.loads(line) for line in path.read_text("ascii").splitlines()]
    assert [line["index"] for line in lines[1:]] == list(BLOCK)
    assert set(lines[1]) == {"index", "path", "status", "reason"}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_figure_that_is_no_number_comes_back(tmp_path, value):
    bad = Row("x", replace(ROWS[1].figures, nll_nats=value))
    part = write_part(tmp_path, replace(HEADER, sources=3), lambda done: iter([bad]), batch_size=1)
    assert repr(next(read_rows(part.path))) == repr(bad)


def test_a_complete_part_is_left_alone(tmp_path, path):
    write(tmp_path)
    before, scorer = path.stat(), Scorer()
    part = write(tmp_path, score=scorer)
    assert part.was_there and (part.count, part.failed) == (10, 2) and scorer.asked == []
    assert path.stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize("stop", range(10))
def test_a_stopped_part_goes_on_after_its_last_batch(tmp_path, path, partial, stop):
    write(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, score=Scorer(stop))
    assert partial.exists() and not path.exists()
    scorer = Scorer()
    assert write(tmp_path, score=scorer).failed == 2 and scorer.asked == [stop - stop % 3]
    assert path.read_bytes() == part_path(tmp_path / "whole", Shard(2, 3)).read_bytes()


def test_a_file_that_was_torn_anywhere_ends_as_the_same_file(tmp_path, path, partial, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda number: None)  # thousands of times
    write(tmp_path)
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    ends = [sum(map(len, lines[: count + 1])) for count in range(len(lines))]
    for length in sorted({*range(0, len(whole), 31), *ends, *(end - 1 for end in ends)}):
        for junk in (b"", b"\0" * 20, b'{"index": 99}\n', b"\xff\n", lines[2]):
            path.unlink(missing_ok=True)
            torn = whole[:length]
            if b"\n" not in torn and junk.endswith(b"\n"):
                continue  # a first line that is another's is refused
            partial.write_bytes(torn + junk)
            write(tmp_path)
            assert path.read_bytes() == whole, (length, junk)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("seed", 7, "seed 7 there and 0 here"),
        ("model_sha256", "ff", "the model has the hash ff there and ab here"),
        ("sources", 30, "the images number 30 there and 31 here"),
        ("sources_sha256", "ee", "the names of the images have the hash ee there and cd here"),
        ("provider", "CUDAExecutionProvider", "provider CUDAExecutionProvider there and CPUExecutionProvider here"),
        ("samples", 1, "samples 1 there and 2 here"),
        ("binarize", 128, "binarize 128 there and None here"),
    ],
)
@pytest.mark.parametrize("complete", [False, True])
def test_a_part_of_another_run_is_never_gone_on_with(tmp_path, path, partial, field, value, said, complete):
    other = replace(HEADER, **{field: value})
    if complete:
        write_part(tmp_path, other, lambda done: iter([ROWS[0]] * len(other.block)), batch_size=3)
    else:
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path, other, Scorer(5))
    file = path if complete else partial
    before = file.read_bytes()
    with pytest.raises(PvaeZooError) as error:
        write(tmp_path)
    assert str(error.value) == f"{file} is of another run, {said}: choose another --out or delete it"
    assert file.read_bytes() == before


def test_what_is_no_part_is_refused(tmp_path, path):
    for text in ("", "{}\n", "[]\n", "no json\n", '{"format": 2}\n'):
        path.write_text(text)
        with pytest.raises(PvaeZooError, match="is no part of scores that this version reads"):
            read_header(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: lines[:-1], "is cut short before image 19"),
        (lambda lines: lines[:3] + lines[4:], "is damaged where image 12 should be"),
        (lambda lines: [*lines, lines[-1]], "is damaged where image None should be"),
        (lambda lines: [*lines[:2], b"{}\n", *lines[3:]], "is damaged where image 11 should be"),
    ],
)
def test_a_complete_part_that_is_not_whole_is_noticed(tmp_path, path, change, said):
    write(tmp_path)
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))
    with pytest.raises(PvaeZooError) as error:
        list(read_rows(path))
    assert said in str(error.value) and "delete it and run --shard 2/3 again" in str(error.value)


def test_two_do_not_write_one_part(tmp_path):
    def score(done):
        with pytest.raises(PvaeZooError, match="another process is writing"):  # a lock belongs to an opened file
            write(tmp_path)
        return iter(ROWS[done:])

    assert write(tmp_path, score=score).count == 10


def test_a_part_that_two_wrote_after_all_gets_no_name(tmp_path, path, partial):
    """Where a drive knows no locks."""

    def score(done):
        yield from ROWS[:3]
        with partial.open("ab") as file:
            file.write(b'{"index": 13}\n' * 1000)
        yield from ROWS[3:]

    with pytest.raises(PvaeZooError, match="is damaged where image None should be"):
        write(tmp_path, score=score)
    assert not path.exists()


def test_an_empty_shard_is_a_part(tmp_path):
    header = replace(HEADER, sources=1, shard=1)
    assert header.block == range(0, 0)
    part = write_part(tmp_path, header, lambda done: iter(()), batch_size=3)
    assert part.count == 0 and list(read_rows(part.path)) == []
