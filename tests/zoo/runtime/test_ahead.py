"""One batch ahead: the same order and errors as without, and an end that does not wait."""

import threading
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from pvae_zoo.data.images import ImageError, ImageSource
from pvae_zoo.runtime.ahead import one_ahead
from pvae_zoo.runtime.model import Model
from pvae_zoo.runtime.score_files import in_slices, score_files
from pvae_zoo.runtime.sessions import CPU, CUDA


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("pvae-zoo-ahead")]


def test_one_batch_is_made_ahead_by_another_thread_and_no_more():
    made, second = [], threading.Event()

    def batches(check):
        for number in range(4):
            made.append((number, threading.current_thread() is threading.main_thread()))
            if number == 1:
                second.set()
            yield number

    found = one_ahead(batches)
    assert next(found) == 0 and second.wait(10)
    time.sleep(0.02)  # a third would come by now
    assert made == [(0, False), (1, False)]
    assert list(found) == [1, 2, 3] and not threads()


def test_what_fails_is_raised_in_its_turn():
    def batches(check):
        yield 1
        raise OSError("the drive is gone")

    found = one_ahead(batches)
    assert next(found) == 1
    with pytest.raises(OSError, match="the drive is gone"):
        next(found)
    assert not threads()


def test_an_end_waits_for_the_piece_at_hand_alone():
    def batches(check):
        yield 1
        while True:  # a batch without end
            check()

    with closing(one_ahead(batches)) as found:
        assert next(found) == 1
    assert not threads()


def test_an_interrupt_ends_the_reading_of_the_next_slice():
    sources = [ImageSource(str(index), Path(str(index))) for index in range(2000)]
    read = []

    def slow(source):
        read.append(source)
        if len(read) > 1000:
            time.sleep(0.02)
        return np.zeros((1, 2, 2), np.uint8), None

    def interrupted(images):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(in_slices(sources, slow, interrupted, 1000, ahead=True))
    assert len(read) < 1100 and not threads()


def test_rows_are_the_same_with_a_reader_beside_the_scoring(levels):
    model = Model(levels.bundle, "cpu", 1)
    images = np.random.default_rng(0).integers(0, model.image.levels, (11, *model.image.chw), np.uint8)
    sources = [ImageSource(str(index), Path(str(index))) for index in range(11)]
    readers = set()

    def read(source):
        readers.add(threading.current_thread() is threading.main_thread())
        index = int(source.name)
        return ImageError("is empty") if index % 4 == 1 else (images[index], "converted" if index == 2 else None)

    expected = list(score_files(model, sources, read, batch_size=3))
    assert readers == {True} and model.provider == CPU
    model.provider = CUDA  # whose road files take; the graphs stay where they are
    assert list(score_files(model, sources, read, batch_size=3)) == expected
    assert readers == {True, False} and sum(row.failed for row in expected) == 3
