import os
import stat
from pathlib import Path

import pytest

from pvae_zoo.base.atomic import atomic_path, atomic_write
from pvae_zoo.base.errors import PvaeZooError


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_file_is_made_with_its_folders(tmp_path):
    atomic_write(tmp_path / "a" / "b" / "file", b"new")
    assert files(tmp_path / "a" / "b") == {"file": b"new"}


def test_a_file_is_replaced_when_the_block_ends_and_not_before(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    with atomic_path(tmp_path / "file") as temporary:
        temporary.write_bytes(b"new")
        assert (tmp_path / "file").read_bytes() == b"old"
        assert temporary.parent == tmp_path
    assert files(tmp_path) == {"file": b"new"}


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(type(error)), atomic_path(tmp_path / "file") as temporary:
        temporary.write_bytes(b"half of the n")
        raise error
    assert files(tmp_path) == {"file": b"old"}


def test_an_interrupt_while_the_temporary_file_is_made_leaves_nothing(tmp_path, monkeypatch):
    touch = Path.touch

    def interrupted(self, *args, **options):
        touch(self, *args, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "touch", interrupted)
    with pytest.raises(KeyboardInterrupt), atomic_path(tmp_path / "file"):
        pass
    assert files(tmp_path) == {}


def test_a_failure_leaves_no_new_file(tmp_path):
    with pytest.raises(ZeroDivisionError), atomic_path(tmp_path / "file"):
        _ = 1 / 0
    assert files(tmp_path) == {}


def test_a_block_may_replace_the_temporary_file_itself(tmp_path):
    with atomic_path(tmp_path / "file") as temporary:
        (tmp_path / "other").write_bytes(b"new")
        os.replace(tmp_path / "other", temporary)
    assert files(tmp_path) == {"file": b"new"}


def test_a_result_is_as_readable_as_any_file(tmp_path):
    old = os.umask(0o027)
    try:
        atomic_write(tmp_path / "file", b"new")
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_a_place_below_a_file_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(PvaeZooError, match=r"cannot write .*/file/x: a file stands where a folder is needed"):
        atomic_write(tmp_path / "file" / "x", b"new")
    with pytest.raises(PvaeZooError, match=r"cannot write .*/file/x/y: a file stands where a folder is needed"):
        atomic_write(tmp_path / "file" / "x" / "y", b"new")
    assert files(tmp_path) == {"file": b"old"}


def test_a_folder_in_the_place_of_the_file_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(PvaeZooError, match="a folder stands where a file is needed"):
        atomic_write(tmp_path / "folder", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_full_disk_keeps_the_old_file_and_says_what_to_do(small_disk):
    atomic_write(small_disk / "file", b"old")
    with pytest.raises(PvaeZooError, match=r"cannot write .*/file: the disk is full: free some space"):
        atomic_write(small_disk / "file", bytes(1 << 20))
    assert files(small_disk) == {"file": b"old"}


# ---- links ----


def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "real").write_bytes(b"old")
    (tmp_path / "second").symlink_to("there/real")
    (tmp_path / "first").symlink_to("second")
    atomic_write(tmp_path / "first", b"new")
    assert (tmp_path / "first").is_symlink() and (tmp_path / "second").is_symlink()
    assert files(tmp_path / "there") == {"real": b"new"} and not (tmp_path / "there" / "real").is_symlink()


def test_a_link_to_a_file_that_is_not_there_makes_it(tmp_path):
    (tmp_path / "link").symlink_to("folder/real")
    atomic_write(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink() and files(tmp_path / "folder") == {"real": b"new"}


def test_a_link_that_leads_to_itself_gives_way(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    atomic_write(tmp_path / "loop", b"new")
    assert files(tmp_path) == {"loop": b"new"}


def test_a_failure_behind_a_link_leaves_both(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("there/real")
    with pytest.raises(ZeroDivisionError), atomic_path(tmp_path / "link") as temporary:
        assert temporary.parent == tmp_path / "there"
        _ = 1 / 0
    assert (tmp_path / "link").is_symlink() and files(tmp_path / "there") == {"real": b"old"}


@pytest.mark.parametrize("digits", [40, 64])
def test_a_file_that_is_named_by_its_hash_is_not_touched(tmp_path, digits):
    """As in the Hub's cache, where several commits and repositories share it."""
    blob = tmp_path / ("a" * digits)
    blob.write_bytes(b"old")
    (tmp_path / "evaluation.json").symlink_to(blob.name)
    atomic_write(tmp_path / "evaluation.json", b"new")
    assert not (tmp_path / "evaluation.json").is_symlink()
    assert files(tmp_path) == {"evaluation.json": b"new", blob.name: b"old"}
