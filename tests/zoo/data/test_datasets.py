import gzip
import io
import shutil
import struct
import zipfile

import numpy as np
import pytest
from PIL import Image

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.data.augmentation import Augmentation, view_generator
from pvae_zoo.data.datasets import load_split
from pvae_zoo.data.known_sets import IMAGENET64_2016

BINARY = ImageShape(channels=1, height=3, width=4, levels=2)
GREY = ImageShape(channels=1, height=3, width=4, levels=256)
COLOUR = ImageShape(channels=3, height=3, width=4, levels=256)
SPLITS = ["train", "valid", "test"]


def images(count, shape, seed=0):
    return np.random.default_rng(seed).integers(0, shape.levels, (count, *shape.chw), dtype=np.uint8)


def amat(values):
    return "".join(" ".join(map(str, row)) + "\n" for row in values.reshape(len(values), -1)).encode()


def idx(values, magic=2051):
    return struct.pack(">IIII", magic, len(values), *values.shape[2:]) + values.tobytes()


def png(value):
    file = io.BytesIO()
    Image.fromarray(value[0] if len(value) == 1 else value.transpose(1, 2, 0)).save(file, "PNG")
    return file.getvalue()


def read(loaded):
    """All images, as evaluation sees them."""
    return loaded.read(np.arange(len(loaded)), None)


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def write_zip(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


@pytest.mark.parametrize("end", ["", ".gz"])
def test_binarised_text_files_are_read(tmp_path, end):
    for seed, split in enumerate(SPLITS):
        data = amat(images(5, BINARY, seed))
        write(tmp_path / f"binarized_mnist_{split}.amat{end}", gzip.compress(data) if end else data)
    for seed, split in enumerate(SPLITS):
        loaded = read(load_split(tmp_path, split, BINARY))
        assert loaded.dtype == np.uint8
        np.testing.assert_array_equal(loaded, images(5, BINARY, seed))


@pytest.mark.parametrize("data", [amat(images(5, BINARY))[:-3], b"", b"0 1 0 1 1\n"])
def test_text_that_is_cut_short_is_refused(tmp_path, data):
    write(tmp_path / "binarized_mnist_train.amat", data)
    with pytest.raises(PvaeZooError, match=r"binarized_mnist_train\.amat is cut short or has rows of another length"):
        load_split(tmp_path, "train", BINARY)


@pytest.mark.parametrize("data", [amat(images(5, GREY)), amat(images(5, BINARY).astype(float)), b"<html>0 1</html>"])
def test_text_of_other_values_is_refused(tmp_path, data):
    write(tmp_path / "binarized_mnist_train.amat", data)
    with pytest.raises(PvaeZooError, match=r"binarized_mnist_train\.amat has other values than 0 and 1"):
        load_split(tmp_path, "train", BINARY)


def broken(data):
    return data[:20] + bytes(byte ^ 0xFF for byte in data[20:40]) + data[40:]


@pytest.mark.parametrize("damage", [lambda data: data[:-9], broken, lambda data: b"<html>", lambda data: data[:4]])
@pytest.mark.parametrize("name", ["binarized_mnist_train.amat.gz", "train-images-idx3-ubyte.gz"])
def test_a_damaged_gzip_is_refused(tmp_path, damage, name):
    write(tmp_path / name, damage(gzip.compress(amat(images(50, BINARY)))))
    with pytest.raises(PvaeZooError, match=rf"cannot read .*{name}.*fetch the file again"):
        load_split(tmp_path, "train", BINARY)


@pytest.mark.parametrize("end", ["", ".gz"])
def test_idx_files_are_read_and_valid_is_the_end_of_train(tmp_path, end):
    train, test = images(17, GREY), images(4, GREY, 1)  # the last sixth, rounded down
    for name, values in (("train", train), ("t10k", test)):
        data = idx(values)
        write(tmp_path / f"{name}-images-idx3-ubyte{end}", gzip.compress(data) if end else data)
    np.testing.assert_array_equal(read(load_split(tmp_path, "train", GREY)), train[:15])
    np.testing.assert_array_equal(read(load_split(tmp_path, "valid", GREY)), train[15:])
    np.testing.assert_array_equal(read(load_split(tmp_path, "test", GREY)), test)
    assert read(load_split(tmp_path, "test", GREY)).flags.writeable


def test_the_last_ten_thousand_of_a_whole_set_are_valid(tmp_path):
    tiny = ImageShape(channels=1, height=1, width=1, levels=256)
    train = images(10_500, tiny)
    write(tmp_path / "train-images-idx3-ubyte", idx(train))
    np.testing.assert_array_equal(read(load_split(tmp_path, "train", tiny)), train[:500])
    np.testing.assert_array_equal(read(load_split(tmp_path, "valid", tiny)), train[500:])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (idx(images(5, GREY))[:-1], r"is cut short: 75 bytes for 5 images of 3x4"),
        (idx(images(5, GREY)) + b"!", r"77 bytes for 5 images"),
        (idx(images(5, GREY), magic=2049), r"is no idx file of images \(magic number 2051\)"),
        (b"", r"is no idx file"),
    ],
)
def test_a_damaged_idx_file_is_refused(tmp_path, data, message):
    write(tmp_path / "train-images-idx3-ubyte", data)
    with pytest.raises(PvaeZooError, match=rf"train-images-idx3-ubyte .*{message}|train-images-idx3-ubyte {message}"):
        load_split(tmp_path, "train", GREY)


def fill_idx(folder, values):
    write(folder / "t10k-images-idx3-ubyte", idx(values))


def fill_pictures(folder, values):
    for number, value in enumerate(values):
        write(folder / "test" / f"{number:02}.png", png(value))


@pytest.mark.parametrize("fill", [fill_idx, fill_pictures])
def test_grey_images_for_a_binary_model_need_a_threshold(tmp_path, fill):
    grey = images(5, GREY)
    fill(tmp_path, grey)
    with pytest.raises(PvaeZooError, match=r"test.* takes 0\.\.1: set binarize = 'threshold'"):
        load_split(tmp_path, "test", BINARY)
    loaded = read(load_split(tmp_path, "test", BINARY, binarize="threshold"))
    np.testing.assert_array_equal(loaded, grey >= 128)


@pytest.mark.parametrize("fill", [fill_idx, fill_pictures])
def test_black_and_white_images_suit_a_binary_model(tmp_path, fill):
    fill(tmp_path, 255 * images(5, BINARY))
    np.testing.assert_array_equal(read(load_split(tmp_path, "test", BINARY)), images(5, BINARY))


@pytest.mark.parametrize("fill", [fill_idx, fill_pictures])
@pytest.mark.parametrize("levels", [4, 16])
def test_grey_images_get_fewer_levels(tmp_path, fill, levels):
    fewer = ImageShape(channels=1, height=3, width=4, levels=levels)
    grey = images(5, GREY)
    fill(tmp_path, grey)
    np.testing.assert_array_equal(read(load_split(tmp_path, "test", fewer)), grey.astype(int) * levels // 256)


def test_values_that_have_the_levels_already_are_taken_as_they_are(tmp_path):
    fewer = ImageShape(channels=1, height=3, width=4, levels=4)
    fill_idx(tmp_path, images(5, fewer))
    np.testing.assert_array_equal(read(load_split(tmp_path, "test", fewer)), images(5, fewer))


def test_images_of_another_shape_are_refused(tmp_path):
    fill_idx(tmp_path, images(5, GREY))
    with pytest.raises(PvaeZooError, match=r"image 0 of the test split in .* is 4x3, the model takes 3x2: set crop"):
        load_split(tmp_path, "test", ImageShape(channels=1, height=2, width=3, levels=256))
    with pytest.raises(PvaeZooError, match=r"the test split in .* has 1 channel\(s\); the model takes 3"):
        load_split(tmp_path, "test", COLOUR)


def test_arrays_are_augmented_too(tmp_path):
    grey = images(5, GREY)
    fill_idx(tmp_path, grey)
    small = ImageShape(channels=1, height=1, width=2, levels=256)
    loaded = load_split(tmp_path, "test", small, augmentation=Augmentation(crop="random"))
    np.testing.assert_array_equal(read(loaded), grey[:, :, 1:2, 1:3])
    assert not np.array_equal(loaded.read(np.arange(5), np.random.default_rng(0)), read(loaded))


def test_a_view_depends_on_the_generator_alone(tmp_path):
    fill_pictures(tmp_path, images(6, COLOUR))
    loaded = load_split(tmp_path, "test", COLOUR, augmentation=Augmentation(flip=True))
    batches = [loaded.read(np.arange(6), np.random.default_rng(seed)) for seed in (3, 3, 4)]
    np.testing.assert_array_equal(batches[0], batches[1])
    assert not np.array_equal(batches[0], batches[2])


def test_two_processes_see_what_one_would(tmp_path):
    fill_pictures(tmp_path, images(6, COLOUR))
    small = ImageShape(channels=3, height=2, width=2, levels=256)
    augmentation = Augmentation(crop="random", flip=True, scale=(0.5, 1.5))
    loaded = load_split(tmp_path, "test", small, augmentation=augmentation)
    whole = loaded.read(np.arange(6), view_generator(1, 9))
    halves = [loaded.read(np.arange(first, first + 3), view_generator(1, 9, first)) for first in (0, 3)]
    np.testing.assert_array_equal(np.concatenate(halves), whole)
    assert not np.array_equal(loaded.read(np.arange(6), view_generator(1, 10)), whole)


def test_scaling_is_for_grey_levels(tmp_path):
    fill_idx(tmp_path, 255 * images(5, BINARY))
    with pytest.raises(PvaeZooError, match=r"data\.scale blurs images, and the model has only 2 levels"):
        load_split(tmp_path, "test", BINARY, augmentation=Augmentation(crop="random", scale=(0.5, 1.0)))


@pytest.mark.parametrize("shape", [GREY, COLOUR])
def test_folders_of_pictures_are_read_in_order_at_any_depth(tmp_path, shape):
    values = images(4, shape)
    for name, value in zip(["a/0.png", "a/1.png", "b/c/0.png", "d.png"], values, strict=True):
        write(tmp_path / "train" / name, png(value))
    write(tmp_path / "test" / "0.png", png(images(1, shape, 1)[0]))
    np.testing.assert_array_equal(read(load_split(tmp_path, "train", shape)), values)
    np.testing.assert_array_equal(read(load_split(tmp_path, "test", shape)), images(1, shape, 1))


@pytest.mark.parametrize("give_zip", [True, False])
def test_a_zip_of_split_folders_is_read(tmp_path, give_zip):
    values = images(3, COLOUR)
    # Neither the folder that the zip lies in nor the end of another name makes a split.
    path = tmp_path / "test" / "set.zip"
    path.parent.mkdir()
    names = ["set/train/0.png", "set/train/a/1.png", "set/test/0.png"]
    members = dict(zip(names, map(png, values), strict=True))
    write_zip(path, members | {"set/pretrain/0.png": png(values[0]), "train/readme.txt": b"hello"})
    root = path if give_zip else path.parent
    np.testing.assert_array_equal(read(load_split(root, "train", COLOUR)), values[:2])
    np.testing.assert_array_equal(read(load_split(root, "test", COLOUR)), values[2:])
    with pytest.raises(PvaeZooError, match="no valid split"):
        load_split(root, "valid", COLOUR)


def test_zips_named_after_the_splits_are_read(tmp_path):
    for seed, split in enumerate(SPLITS):
        write_zip(tmp_path / f"{split}.zip", {"deep/0.png": png(images(1, COLOUR, seed)[0])})
    for seed, split in enumerate(SPLITS):
        np.testing.assert_array_equal(read(load_split(tmp_path, split, COLOUR)), images(1, COLOUR, seed))


def test_a_bad_picture_is_named(tmp_path):
    write(tmp_path / "train" / "0.png", png(images(1, COLOUR)[0]))
    write(tmp_path / "train" / "1.png", png(images(1, COLOUR)[0])[:-20])
    loaded = load_split(tmp_path, "train", COLOUR)  # only the first is read
    with pytest.raises(PvaeZooError, match=r"train/1\.png is damaged"):
        read(loaded)
    write(tmp_path / "train" / "1.png", png(np.zeros((3, 4, 4), np.uint8)))
    with pytest.raises(PvaeZooError, match=r"train/1\.png is 4x4, the model takes 4x3: set crop = \"random\""):
        read(loaded)
    write(tmp_path / "train" / "0.png", png(np.zeros((3, 4, 3), np.uint8)))
    with pytest.raises(PvaeZooError, match=r"train/0\.png is 3x4, the model takes 4x3, and a smaller image"):
        load_split(tmp_path, "train", COLOUR, augmentation=Augmentation(crop="random"))


def test_a_damaged_zip_is_named(tmp_path):
    write_zip(tmp_path / "train.zip", {"0.png": png(images(1, COLOUR)[0])})
    write(tmp_path / "train.zip", (tmp_path / "train.zip").read_bytes()[:-30])
    with pytest.raises(PvaeZooError, match=r"train\.zip"):
        load_split(tmp_path, "train", COLOUR)


def test_missing_data_is_said_with_what_was_expected(tmp_path):
    with pytest.raises(PvaeZooError, match=r"no data at .*nowhere: .*--data"):
        load_split(tmp_path / "nowhere", "train", BINARY)
    message = r"no valid split in .*: expected binarized_mnist_valid\.amat.*idx.*npz.*lmdb.*folder valid/ .*zip"
    with pytest.raises(PvaeZooError, match=message):
        load_split(tmp_path, "valid", BINARY)


def colours(count):
    """Pictures of one colour each, by which they are known."""
    return [np.full((3, 3, 4), number, np.uint8) for number in range(count)]


def seen_colours(root, split):
    return read(load_split(root, split, COLOUR))[:, 0, 0, 0].tolist()


@pytest.mark.parametrize("zipped", [True, False])
def test_what_lies_in_another_splits_folder_is_not_trained_on(tmp_path, zipped):
    """train.zip that holds train/ and valid/, and a folder train/ that does."""
    names = ["train/0.png", "train/a/1.png", "valid/2.png", "validation/3.png", "test_64x64/4.png"]
    for name, picture in zip(names, colours(5), strict=True):
        write(tmp_path / "train" / name, png(picture))
    if zipped:
        with zipfile.ZipFile(tmp_path / "train.zip", "w") as archive:
            for name in names:
                archive.write(tmp_path / "train" / name, name)
        shutil.rmtree(tmp_path / "train")
    splits = {split: seen_colours(tmp_path, split) for split in SPLITS}
    assert splits == {"train": [0, 1], "valid": [2, 3], "test": [4]}
    if zipped:
        assert seen_colours(tmp_path / "train.zip", "train") == [0, 1]


def test_a_class_may_be_called_like_a_split(tmp_path):
    """Pictures of trains."""
    for number, name in enumerate(["train/cat", "train/train", "valid/cat", "valid/train"]):
        write(tmp_path / name / "0.png", png(colours(4)[number]))
    assert [seen_colours(tmp_path, split) for split in ("train", "valid")] == [[0, 1], [2, 3]]


def test_the_folders_in_a_zip_count_more_than_its_name(tmp_path):
    names = ["train/0.png", "valid/1.png"]
    write_zip(tmp_path / "valid.zip", dict(zip(names, map(png, colours(2)), strict=True)))
    assert seen_colours(tmp_path, "train") == [0] and seen_colours(tmp_path, "valid") == [1]


def test_pictures_beside_the_folder_of_another_split_are_used_without_it(tmp_path):
    write_zip(tmp_path / "train.zip", {"0.png": png(colours(1)[0]), "val/1.png": png(colours(2)[1])})
    assert seen_colours(tmp_path, "train") == [0] and seen_colours(tmp_path, "valid") == [1]


def test_all_zips_of_a_folder_are_one_set(tmp_path):
    for name, numbers in (("a.zip", (0, 1)), ("b.ZIP", (2,))):
        members = {f"train/{number}.png": png(colours(4)[number]) for number in numbers}
        write_zip(tmp_path / name, members | {"valid/v.png": png(colours(4)[3])})
    write_zip(tmp_path / "notes.zip", {"readme.txt": b"hello"})
    assert seen_colours(tmp_path, "train") == [0, 1, 2] and seen_colours(tmp_path, "valid") == [3, 3]


def test_several_sets_are_joined(tmp_path):
    for number, name in enumerate(["a/train", "a/valid", "b/train"]):
        write(tmp_path / name / "0.png", png(colours(3)[number]))
    a, b = tmp_path / "a", tmp_path / "b"
    assert seen_colours([a, b], "train") == [0, 2] and seen_colours([b, a], "train") == [2, 0]
    assert seen_colours([a, b], "valid") == [1]  # b has none
    shutil.rmtree(b / "train")
    (b / "x").mkdir()
    with pytest.raises(PvaeZooError, match=rf"no train split in {b}: expected"):
        load_split([a, b], "train", COLOUR)
    with pytest.raises(PvaeZooError, match=rf"no test split in {a}: expected"):
        load_split([a, b], "test", COLOUR)
    with pytest.raises(PvaeZooError, match=r"b/\.\./a is given twice with --data: give it once"):
        load_split([a, b / ".." / "a"], "train", COLOUR)


@pytest.mark.parametrize("crop", ["none", "random"])
def test_a_set_in_which_nothing_is_as_large_as_the_model_says_so(tmp_path, crop):
    for number, size in enumerate([(2, 4), (3, 3), (1, 9)]):
        write(tmp_path / "train" / f"{number}.png", png(np.zeros((3, *size), np.uint8)))
    write(tmp_path / "train" / "damaged.png", b"")
    message = r"nothing in the train split in .* is as large as the model's 4x3: the largest of 4 images is 3x3$"
    with pytest.raises(PvaeZooError, match=message):
        load_split(tmp_path, "train", COLOUR, augmentation=Augmentation(crop=crop))


@pytest.mark.parametrize(("folder", "split"), [("train_64x64", "train"), ("valid_64x64", "valid")])
def test_the_older_imagenet_64x64_is_known_by_its_folders(tmp_path, folder, split):
    shape = ImageShape(channels=3, height=64, width=64, levels=256)
    for number in range(2):
        write(tmp_path / folder / f"{number:05}.png", png(images(2, shape)[number]))
    loaded = load_split(tmp_path, split, shape)
    assert loaded.origin.known is IMAGENET64_2016 and len(loaded) == 2
    assert "van den Oord et al. (2016), 2 of " in str(loaded.origin) and "PixelVAE" in str(loaded.origin)
    assert "3.66" in str(loaded.origin) and "3.30" not in str(loaded.origin)
    assert str(loaded.held().origin) == str(loaded.origin)


def test_the_older_imagenet_64x64_is_known_by_its_count(tmp_path, monkeypatch):
    for number in range(3):
        write(tmp_path / "valid" / f"{number:05}.png", png(colours(3)[number]))
    assert load_split(tmp_path, "valid", COLOUR).origin is None
    monkeypatch.setitem(IMAGENET64_2016.images, "valid", 3)
    assert "all 3 valid images" in str(load_split(tmp_path, "valid", COLOUR).origin)
