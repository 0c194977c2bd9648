import tracemalloc
import zipfile

import numpy as np
import pytest

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.data import npz_store
from pvae_zoo.data.augmentation import Augmentation
from pvae_zoo.data.datasets import load_split
from pvae_zoo.data.known_sets import IMAGENET64_2017

MODEL = ImageShape(channels=3, height=4, width=4, levels=256)
SAVE = [np.savez, np.savez_compressed]


def batch(count, side=4, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 3 * side * side), dtype=np.uint8)


def write(path, rows, save=np.savez, **others):
    path.parent.mkdir(parents=True, exist_ok=True)
    save(path, data=rows, labels=np.arange(len(rows)), mean=np.zeros(rows.shape[1:]), **others)
    return path


def read(root, split="train", model=MODEL, **options):
    images = load_split(root, split, model, **options)
    return images.read(np.arange(len(images)), None)


@pytest.mark.parametrize("save", SAVE)
def test_batches_are_read_in_order_at_any_depth(tmp_path, save):
    parts = [batch(3 + number, seed=number) for number in range(11)]
    for number, rows in enumerate(parts):
        folder = tmp_path / f"Imagenet4_train_part{1 + number // 5}"
        write(folder / f"train_data_batch_{number + 1}.npz", rows, save)
    write(tmp_path / "val" / "val_data.npz", batch(5, seed=99), save)
    np.testing.assert_array_equal(read(tmp_path), np.concatenate(parts).reshape(-1, 3, 4, 4))
    np.testing.assert_array_equal(read(tmp_path, "valid"), batch(5, seed=99).reshape(-1, 3, 4, 4))
    with pytest.raises(PvaeZooError, match=r"downsampled ImageNet in .* has no test split: use the valid split"):
        load_split(tmp_path, "test", MODEL)


def test_an_index_finds_its_batch(tmp_path):
    parts = [batch(count, seed=count) for count in (2, 1, 4)]
    for number, rows in enumerate(parts):
        write(tmp_path / f"train_data_batch_{number + 1}.npz", rows)
    order = np.array([6, 0, 2, 2, 3, 1])
    seen = load_split(tmp_path, "train", MODEL).read(order, None)
    np.testing.assert_array_equal(seen.reshape(6, -1), np.concatenate(parts)[order])


def test_larger_batches_are_cropped(tmp_path):
    rows = batch(3, side=6)
    write(tmp_path / "val_data.npz", rows)
    seen = read(tmp_path, "valid", augmentation=Augmentation(crop="random"))
    np.testing.assert_array_equal(seen, rows.reshape(-1, 3, 6, 6)[:, :, 1:5, 1:5])
    with pytest.raises(PvaeZooError, match=r"image 0 of .*val_data\.npz is 6x6, the model takes 4x4: set crop"):
        load_split(tmp_path, "valid", MODEL)


def test_fewer_levels_are_the_high_bits(tmp_path):
    write(tmp_path / "val_data.npz", batch(3))
    sixteen = ImageShape(channels=3, height=4, width=4, levels=16)
    np.testing.assert_array_equal(read(tmp_path, "valid", sixteen), batch(3).reshape(-1, 3, 4, 4) // 16)


@pytest.mark.parametrize("names", [[1, 3], [2, 3]])
def test_a_missing_batch_is_noticed(tmp_path, names):
    for number in names:
        write(tmp_path / f"train_data_batch_{number}.npz", batch(2))
    message = rf"has the training batches {names[0]}, {names[1]}: give a folder with each"
    with pytest.raises(PvaeZooError, match=message):
        load_split(tmp_path, "train", MODEL)


def test_two_sets_in_one_folder_are_noticed(tmp_path):
    for folder in "ab":
        write(tmp_path / folder / "train_data_batch_1.npz", batch(2))
    with pytest.raises(PvaeZooError, match=r"has the training batches 1, 1: give"):
        load_split(tmp_path, "train", MODEL)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (batch(2).astype(np.int16), r"has data of type int16 and shape \(2, 48\): expected uint8 rows"),
        (batch(2).reshape(2, 3, 4, 4), r"has data of type uint8 and shape \(2, 3, 4, 4\)"),
        (np.asfortranarray(batch(2)), r"expected uint8 rows"),
        (batch(0), r"shape \(0, 48\): expected uint8 rows"),
        (batch(2)[:, :40], r"has rows of 40 values: expected 48, for 3 channel\(s\) of 4x4"),
        (np.array([[{}]]), r"has data of type object"),
    ],
)
@pytest.mark.parametrize("save", SAVE)
def test_another_layout_is_refused(tmp_path, save, rows, message):
    save(tmp_path / "val_data.npz", data=rows)
    with pytest.raises(PvaeZooError, match=rf"val_data\.npz {message}|val_data\.npz .*{message}"):
        load_split(tmp_path, "valid", MODEL)


def test_an_npz_of_other_arrays_is_refused(tmp_path):
    np.savez(tmp_path / "val_data.npz", images=batch(2))
    with pytest.raises(PvaeZooError, match=r"val_data\.npz has no array 'data'"):
        load_split(tmp_path, "valid", MODEL)


@pytest.mark.parametrize("save", SAVE)
@pytest.mark.parametrize("keep", [0, 3, 200, 0.5, -1])
def test_an_npz_that_is_cut_short_is_refused(tmp_path, save, keep):
    path = write(tmp_path / "val_data.npz", batch(100), save)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(PvaeZooError, match=r"val_data\.npz is cut short or no npz \(.*\): fetch it again"):
        load_split(tmp_path, "valid", MODEL)


@pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_array_with_fewer_rows_than_its_header_says_is_refused(tmp_path, kind):
    whole = write(tmp_path / "whole.npz", batch(10))
    with zipfile.ZipFile(whole) as archive:
        data = archive.read("data.npy")
    with zipfile.ZipFile(tmp_path / "val_data.npz", "w", kind) as archive:
        archive.writestr("data.npy", data[:-48])
    with pytest.raises(PvaeZooError, match=r"val_data\.npz is cut short: its header promises 10 rows"):
        load_split(tmp_path, "valid", MODEL)


def test_a_batch_that_is_not_compressed_is_read_where_it_lies(tmp_path, monkeypatch):
    write(tmp_path / "val_data.npz", batch(10))
    monkeypatch.delattr(npz_store.tempfile, "TemporaryFile")
    np.testing.assert_array_equal(read(tmp_path, "valid"), batch(10).reshape(-1, 3, 4, 4))


def test_a_full_temporary_folder_is_named(tmp_path, monkeypatch):
    def full(source, target, length):
        raise OSError(28, "No space left on device")

    write(tmp_path / "val_data.npz", batch(10), np.savez_compressed)
    monkeypatch.setattr(npz_store.shutil, "copyfileobj", full)
    with pytest.raises(PvaeZooError, match=r"cannot unpack .*val_data\.npz into .*No space.*set TMPDIR"):
        load_split(tmp_path, "valid", MODEL)


@pytest.mark.parametrize("save", SAVE)
def test_memory_stays_flat_and_nothing_is_left_behind(tmp_path, monkeypatch, save):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(npz_store.tempfile, "tempdir", str(scratch))
    model = ImageShape(channels=3, height=64, width=64, levels=256)
    rows = np.zeros(((64 << 20) // model.dimensions, model.dimensions), np.uint8)  # 64 MiB
    rows[:] = np.arange(len(rows))[:, np.newaxis] % 251
    write(tmp_path / "set" / "train_data_batch_1.npz", rows, save)
    tracemalloc.start()
    try:
        images = load_split(tmp_path / "set", "train", model)
        order = np.arange(0, len(images), 100)
        seen = images.read(order, None)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(seen[:, 2, 63, 63], order % 251)
    assert peak < 6 << 20
    assert list(scratch.iterdir()) == []


def test_the_newer_imagenet_64x64_is_known_by_its_rows(tmp_path):
    write(tmp_path / "val_data.npz", batch(3, side=64))
    loaded = load_split(tmp_path, "valid", ImageShape(channels=3, height=64, width=64, levels=256))
    assert loaded.origin.known is IMAGENET64_2017
    text = str(loaded.origin)
    assert "Chrabaszcz et al. (2017), 3 of 50,000 valid images" in text and "3.30" in text and "3.66" not in text
    write(tmp_path / "small" / "val_data.npz", batch(3, side=4))
    assert load_split(tmp_path / "small", "valid", MODEL).origin is None


def test_batches_are_found_below_many_folders(tmp_path):
    tower = [tmp_path / "tower"]
    for _ in range(1100):
        tower.append(tower[-1] / "a")
    for folder in tower:
        folder.mkdir()
    write(tower[-1] / "val_data.npz", batch(3))
    try:
        np.testing.assert_array_equal(read(tower[0], "valid"), batch(3).reshape(-1, 3, 4, 4))
    finally:
        (tower[-1] / "val_data.npz").unlink()
        for folder in reversed(tower):
            folder.rmdir()
