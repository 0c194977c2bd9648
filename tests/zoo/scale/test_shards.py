import numpy as np
import pytest

from pvae_zoo.scale.shards import Shard, chunks, parse_shard


@pytest.mark.parametrize("of", [1, 2, 3, 7, 8, 100])
@pytest.mark.parametrize("total", [0, 1, 5, 8, 99, 100, 1001])
def test_shards_are_all_of_it_once_in_order_and_even(total, of):
    blocks = [Shard(number, of).block(total) for number in range(1, of + 1)]
    assert [index for block in blocks for index in block] == list(range(total))
    assert np.ptp([len(block) for block in blocks]) <= 1


def test_names_sort_as_the_shards_do():
    names = [Shard(number, 9999).name for number in range(1, 10_000, 37)]
    assert names == sorted(names) and Shard(3, 8).name == "0003-of-0008"


def test_a_shard_is_read_as_it_is_printed():
    assert parse_shard("3/8") == Shard(3, 8) and str(Shard(3, 8)) == "3/8" and parse_shard("1/1") == Shard(1, 1)


@pytest.mark.parametrize("text", ["", "3", "0/8", "9/8", "-1/8", "3/0", "1/10000", "a/b", "3/8/9", " 3/8", "٣/8"])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(ValueError, match=r"shard"):
        parse_shard(text)


def test_chunks_are_the_block():
    assert [list(chunk) for chunk in chunks(range(3, 10), 3)] == [[3, 4, 5], [6, 7, 8], [9]]
    assert list(chunks(range(3, 3), 3)) == []
