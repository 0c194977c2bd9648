import io
import sys
import tracemalloc

import lmdb
import numpy as np
import pytest
from PIL import Image

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.data.augmentation import Augmentation
from pvae_zoo.data.datasets import load_split

MODEL = ImageShape(channels=3, height=4, width=6, levels=256)


def pictures(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 4, 6), dtype=np.uint8)


def encoded(value, kind="WEBP"):
    file = io.BytesIO()
    Image.fromarray(value.transpose(1, 2, 0)).save(file, kind, **({"lossless": True} if kind == "WEBP" else {}))
    return file.getvalue()


def write(folder, entries):
    environment = lmdb.open(str(folder), map_size=256 << 20)
    with environment.begin(write=True) as transaction:
        for key, value in entries.items():
            transaction.put(key, value)
    environment.close()
    return folder


def write_images(folder, values):
    return write(folder, {b"%040x" % number: encoded(value) for number, value in enumerate(values)})


def read(root, split="train", **options):
    images = load_split(root, split, MODEL, **options)
    return images.read(np.arange(len(images)), None)


def test_categories_are_joined_and_splits_kept_apart(tmp_path):
    write_images(tmp_path / "church_outdoor_train_lmdb", pictures(3, 1))
    write_images(tmp_path / "bedroom_train_lmdb", pictures(4, 2))
    write_images(tmp_path / "bedroom_val_lmdb", pictures(2, 3))
    write_images(tmp_path / "test_lmdb", pictures(1, 4))
    np.testing.assert_array_equal(read(tmp_path), np.concatenate([pictures(4, 2), pictures(3, 1)]))
    np.testing.assert_array_equal(read(tmp_path, "valid"), pictures(2, 3))
    np.testing.assert_array_equal(read(tmp_path, "test"), pictures(1, 4))


def test_the_folder_of_one_database_will_do(tmp_path, monkeypatch):
    folder = write_images(tmp_path / "bedroom_val_lmdb", pictures(2))
    np.testing.assert_array_equal(read(folder, "valid"), pictures(2))
    with pytest.raises(PvaeZooError, match="no train split"):
        load_split(folder, "train", MODEL)
    monkeypatch.chdir(folder)
    np.testing.assert_array_equal(read(folder.relative_to(folder), "valid"), pictures(2))


def test_keys_may_be_any_bytes_of_any_length(tmp_path):
    keys = sorted([b"a", b"bedroom\x00\x00", b"\x00", b"\xff\xfe", b"k" * 300])
    write(tmp_path / "a_train_lmdb", dict(zip(keys, map(encoded, pictures(5)), strict=True)))
    np.testing.assert_array_equal(read(tmp_path), pictures(5))


def test_other_sizes_are_cropped(tmp_path):
    large = np.random.default_rng(0).integers(0, 256, (3, 10, 12), dtype=np.uint8)
    write(tmp_path / "a_train_lmdb", {b"0": encoded(large)})
    seen = read(tmp_path, augmentation=Augmentation(crop="random"))
    np.testing.assert_array_equal(seen, large[np.newaxis, :, 3:7, 3:9])


def test_jpeg_values_are_read(tmp_path):
    flat = np.full((3, 4, 6), 200, np.uint8)
    write(tmp_path / "a_train_lmdb", {b"0": encoded(flat, "JPEG")})
    assert np.abs(read(tmp_path).astype(int) - 200).max() <= 2


@pytest.mark.parametrize(
    ("key", "name"), [(b"0a1b", "a_train_lmdb/0a1b"), (b"\x1b\xff", "a_train_lmdb/1bff"), (b"\n", "a_train_lmdb/0a")]
)
def test_a_value_that_is_no_picture_is_named(tmp_path, key, name):
    write(tmp_path / "a_train_lmdb", {key: b"a Caffe datum"})
    with pytest.raises(PvaeZooError, match=rf"{name} is damaged or no PNG"):
        load_split(tmp_path, "train", MODEL)


@pytest.mark.parametrize("keep", [0, 100, 4096, 8192, 0.5, 0.99])
def test_a_database_that_is_cut_short_is_refused(tmp_path, keep):
    entries = {b"%04d" % number: bytes(9000) for number in range(200)}
    path = write(tmp_path / "a_train_lmdb", entries) / "data.mdb"
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    message = r"a_train_lmdb/data\.mdb is (damaged or no lmdb|cut short \(\d+ of \d+ bytes\)).*: fetch it again"
    with pytest.raises(PvaeZooError, match=message):
        load_split(tmp_path, "train", MODEL)


def test_another_file_of_that_name_is_refused(tmp_path):
    folder = tmp_path / "a_train_lmdb"
    folder.mkdir()
    with pytest.raises(PvaeZooError, match=r"a_train_lmdb has no data\.mdb: unpack its zip again"):
        load_split(tmp_path, "train", MODEL)
    (folder / "data.mdb").write_bytes(b"<html>" * 10_000)
    with pytest.raises(PvaeZooError, match=r"a_train_lmdb/data\.mdb is damaged or no lmdb .*: fetch it again"):
        load_split(tmp_path, "train", MODEL)


def test_an_empty_database_is_refused(tmp_path):
    write(tmp_path / "a_train_lmdb", {})
    with pytest.raises(PvaeZooError, match=r"data\.mdb holds no images"):
        load_split(tmp_path, "train", MODEL)


def test_the_missing_package_is_named(tmp_path, monkeypatch):
    write_images(tmp_path / "a_train_lmdb", pictures(1))
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(PvaeZooError, match=r"needs the lmdb package: pip install 'pvae-zoo\[train\]'"):
        load_split(tmp_path, "train", MODEL)


def test_memory_stays_flat(tmp_path):
    value = encoded(pictures(1)[0])
    padded = value + bytes(20_000)  # what follows the picture does not matter to a decoder
    write(tmp_path / "a_train_lmdb", {b"%040x" % number: padded for number in range(2000)})  # 40 MB
    tracemalloc.start()
    try:
        images = load_split(tmp_path, "train", MODEL)
        images.read(np.arange(0, 2000, 20), np.random.default_rng(0))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(images) == 2000
    assert peak < 2 << 20
