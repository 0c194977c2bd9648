"""Writing images: every target keeps every value, and a failure leaves nothing behind."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.data.fit import read_noted
from pvae_zoo.data.images import find_images
from pvae_zoo.runtime.pictures import check_target, read_metadata, save_grid, save_images, to_picture

NOTES = {"model": "mnist", "seed": "7", "prompt": "größer 数", "empty": ""}


def random_images(count: int, channels: int = 1, height: int = 5, width: int = 3, levels: int = 256) -> np.ndarray:
    return np.random.default_rng(count).integers(0, levels, (count, channels, height, width), np.uint8)


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


@pytest.mark.parametrize("levels", range(2, 257))
def test_levels_survive_a_picture(tmp_path: Path, levels: int):
    values = np.arange(levels, dtype=np.uint8).reshape(1, 1, levels)
    picture = to_picture(values, levels)
    assert picture.getextrema() == (0, 255)
    picture.save(tmp_path / "x.png")
    (source,) = find_images([tmp_path])
    image = ImageShape(channels=1, height=1, width=levels, levels=levels)
    assert np.array_equal(read_noted(source, image)[0], values)


def test_a_picture_has_one_or_three_channels():
    with pytest.raises(PvaeZooError, match=r"images of 2 channels make no picture: save them as \.npy or \.npz"):
        to_picture(np.zeros((2, 4, 4), np.uint8), 256)
    with pytest.raises(IndexError):
        to_picture(np.full((1, 4, 4), 255, np.uint8), 2)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_target_gives_the_images_back(tmp_path: Path, data: st.DataObject):
    count, channels = data.draw(st.integers(1, 5)), data.draw(st.sampled_from((1, 3)))
    height, width, levels = (data.draw(st.integers(low, high)) for low, high in ((1, 9), (1, 9), (2, 256)))
    images = random_images(count, channels, height, width, levels)
    notes = data.draw(st.dictionaries(st.text("abc_-", min_size=1), st.text(st.characters(exclude_categories=["C"]))))
    folder = Path(f"{tmp_path}/{len(os.listdir(tmp_path))}")

    files = save_images(images, f"{folder}/", levels=levels, metadata=notes)
    image = ImageShape(channels=channels, height=height, width=width, levels=levels)
    sources = find_images([folder])
    assert [source.path for source in sources] == files
    assert all(np.array_equal(read_noted(s, image)[0], i) for s, i in zip(sources, images, strict=True))
    assert all(read_metadata(file) == notes for file in files)

    assert save_images(images, folder / "x.npy", levels=levels, metadata=notes) == [folder / "x.npy"]
    assert np.array_equal(np.load(folder / "x.npy"), images)
    save_images(images, folder / "x.npz", levels=levels, metadata=notes)
    with np.load(folder / "x.npz") as arrays:
        assert np.array_equal(arrays["images"], images) and arrays["images"].dtype == np.uint8
        assert json.loads(str(arrays["metadata"])) == notes

    assert save_images(images, folder / "grid.png", levels=levels, metadata=notes) == [folder / "grid.png"]
    assert read_metadata(folder / "grid.png") == notes


# The grid


@pytest.mark.parametrize(
    ("count", "side", "expected"),
    [
        (16, 28, (4 * 226 - 2,) * 2),  # eight-fold, which is the most
        (100, 28, (10 * 86 - 2,) * 2),
        (1, 28, (8 * 28,) * 2),
        (7, 28, (3 * 8 * 28 + 4, 3 * 8 * 28 + 4)),  # a square of nine places
        (16, 64, (4 * 258 - 2,) * 2),
        (3, 128, (2 * 514 - 2,) * 2),
        (2, 500, (1002, 500)),
        (2500, 28, (50 * 86 - 2 - 50 * 28,) * 2),  # two-fold: not wider than a screen or two
    ],
)
def test_the_grid_is_nearly_square_and_pleasantly_large(tmp_path: Path, count: int, side: int, expected):
    images = np.zeros((count, 1, side, side), np.uint8)
    save_grid(images, tmp_path / "x.png", levels=2, metadata={})
    assert size_of(tmp_path / "x.png") == expected


def test_the_grid_is_filled_row_by_row(tmp_path: Path):
    images = random_images(5, channels=3, levels=4)
    save_grid(images, tmp_path / "x.png", levels=4, metadata={}, columns=3, scale=2)
    with Image.open(tmp_path / "x.png") as picture:
        grid = np.asarray(picture)
    assert grid.shape == (2 * 12 - 2, 3 * 8 - 2, 3)
    left = np.full(grid.shape, 64, np.uint8)
    for index, image in enumerate(images):
        top, start = index // 3 * 12, index % 3 * 8
        left[top : top + 10, start : start + 6] = (image * 85).repeat(2, 1).repeat(2, 2).transpose(1, 2, 0)
    assert np.array_equal(grid, left)


def test_no_more_columns_than_images(tmp_path: Path):
    save_grid(random_images(2), tmp_path / "x.png", levels=256, metadata={}, columns=9, scale=1)
    assert size_of(tmp_path / "x.png") == (8, 5)


# Folders and names


def test_a_folder_that_exists_needs_no_slash(tmp_path: Path):
    (tmp_path / "odd.png").mkdir()
    files = save_images(random_images(2), tmp_path / "odd.png", levels=256, metadata={})
    assert files == [tmp_path / "odd.png" / "00000.png", tmp_path / "odd.png" / "00001.png"]


def test_names_of_files(tmp_path: Path):
    names = ["a [1].jpg", "ü 数.png", "a [1]"]
    files = save_images(random_images(3), f"{tmp_path}/new/deep/", levels=256, metadata={}, names=names)
    assert [file.name for file in files] == ["a [1].jpg.png", "ü 数.png", "a [1].png"]
    assert sorted(os.listdir(tmp_path / "new" / "deep")) == sorted(file.name for file in files)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a"], "1 names for 2 images: give one for each"),
        (["a", "A.png"], "two images would be written to 'A.png': give them different names"),
        (["a", "../b"], "'../b.png' is no name for a file in the folder"),
        (["a", "/b.png"], "'/b.png' is no name for a file"),
        (["a", "c\\b"], "is no name for a file"),
    ],
)
def test_bad_names_are_refused_before_anything_is_written(tmp_path: Path, names: list[str], message: str):
    with pytest.raises(PvaeZooError) as error:
        save_images(random_images(2), f"{tmp_path}/", levels=256, metadata={}, names=names)
    assert message in str(error.value) and not os.listdir(tmp_path)


@pytest.mark.parametrize("target", ["x.png", "x.npy", "x.npz", "x/"])
def test_no_images_are_an_error(tmp_path: Path, target: str):
    with pytest.raises(PvaeZooError, match="there are no images to write"):
        save_images(random_images(0), f"{tmp_path}/{target}", levels=256, metadata={})


# Targets that cannot be


@pytest.mark.parametrize("target", ["samples.jpg", "samples", "", "a.png.gz", ".png", "/dev/stdout"])
def test_other_targets_are_told_what_is_possible(target: str):
    message = (
        f"cannot write {target!r}: give a .png (one grid), a .npy or .npz (arrays), or a folder with a final / "
        f"(one PNG per image)"
    )
    for attempt in (
        lambda: check_target(target),
        lambda: save_images(random_images(1), target, levels=256, metadata={}),
    ):
        with pytest.raises(PvaeZooError) as error:
            attempt()
        assert str(error.value) == message


@pytest.mark.parametrize("target", ["x.png", "x.NPY", "x.npz", "new/", "new/deep/x.png", "new/deep/", "old", ""])
def test_a_target_is_checked_without_a_trace(tmp_path: Path, target: str):
    (tmp_path / "old").mkdir()
    check_target(f"{tmp_path}/{target}")
    assert os.listdir(tmp_path) == ["old"] and not os.listdir(tmp_path / "old")


def test_a_relative_target_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for target in ("x.png", Path("x.png"), "new/x.png", ".", "./"):
        check_target(target)


@pytest.mark.parametrize("target", ["file/x.png", "file/", "file/deep/x.npz", "file/deep/"])
def test_a_file_in_the_way_is_noticed_early_and_late(tmp_path: Path, target: str):
    (tmp_path / "file").write_text("mine")
    path = f"{tmp_path}/{target}"
    with pytest.raises(PvaeZooError, match=r"cannot write .*: a file stands where a folder is needed"):
        check_target(path)
    with pytest.raises(PvaeZooError, match=f"cannot write {tmp_path}/file"):
        save_images(random_images(1), path, levels=256, metadata={})
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("target", ["/proc/x.png", "/proc/new/", "/sys/new/x.npy"])
def test_a_place_that_takes_no_files_is_noticed_early_and_late(target: str):
    for attempt in (
        lambda: check_target(target),
        lambda: save_images(random_images(1), target, levels=256, metadata={}),
    ):
        with pytest.raises(PvaeZooError, match=f"cannot write {target.rstrip('/')}"):
            attempt()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    try:
        result = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if result.returncode:
        pytest.skip(f"no disk could be mounted: {result.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("target", ["x.png", "x.npy", "x.npz", "new/"])
def test_a_full_disk_leaves_whole_files_only(small_disk: Path, target: str):
    images = random_images(6, height=150, width=150)
    check_target(f"{small_disk}/{target}")
    with pytest.raises(PvaeZooError, match=r"cannot write .*: the disk is full: free some space or choose another"):
        save_images(images, f"{small_disk}/{target}", levels=256, metadata={})
    left = [path for path in small_disk.rglob("*") if path.is_file()]
    assert len(left) == (2 if target == "new/" else 0)
    image = ImageShape(channels=1, height=150, width=150, levels=256)
    for source, expected in zip(find_images([small_disk]) if left else [], images, strict=False):
        assert np.array_equal(read_noted(source, image)[0], expected)


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    target = tmp_path / "x.png"
    save_images(random_images(1), target, levels=256, metadata=NOTES)
    monkeypatch.setattr(Path, "write_bytes", lambda self, data: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(PvaeZooError, match="the disk is full"):
        save_images(random_images(2), target, levels=256, metadata={})
    assert os.listdir(tmp_path) == ["x.png"] and read_metadata(target) == NOTES


# Metadata


def test_metadata_of_a_grid_is_plain_png_text(tmp_path: Path):
    path = tmp_path / "größe [1].png"
    save_grid(random_images(2), path, levels=256, metadata=NOTES)
    assert read_metadata(path) == NOTES
    with Image.open(path) as picture:
        assert picture.info["pvae-zoo:model"] == "mnist"
    assert b"tEXtpvae-zoo:seed\x007" in path.read_bytes()


def test_other_files_have_no_metadata_or_an_error(tmp_path: Path):
    Image.new("L", (2, 2)).save(tmp_path / "theirs.png", dpi=(72, 72))
    assert read_metadata(tmp_path / "theirs.png") == {}
    Image.new("L", (2, 2)).save(tmp_path / "x.jpg")
    with pytest.raises(PvaeZooError, match=r"x\.jpg is no PNG: give a \.png that pvae-zoo made"):
        read_metadata(tmp_path / "x.jpg")
    with pytest.raises(PvaeZooError, match=r"cannot read .*absent\.png: No such file or directory"):
        read_metadata(tmp_path / "absent.png")
