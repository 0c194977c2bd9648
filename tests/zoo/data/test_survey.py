"""Looking at a data set: what cannot be used, copies, and a division that no copy crosses."""

import numpy as np
import pytest
from PIL import Image

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.data.augmentation import Augmentation
from pvae_zoo.data.copies import grouped, look_at, near_pairs
from pvae_zoo.data.fitted_store import Fitting
from pvae_zoo.data.own_folders import find_stores
from pvae_zoo.data.survey import LEAST, survey

COLOUR = ImageShape(channels=3, height=8, width=8, levels=256)
BINARY = ImageShape(channels=1, height=8, width=8, levels=2)
WINDOWS = Augmentation(crop="random")


def photo(number):
    """Patches of colour, 24x16, unlike any other's."""
    patches = np.random.default_rng(number).integers(0, 256, (4, 6, 3)).astype(np.uint8)
    return Image.fromarray(patches).resize((24, 16), Image.Resampling.BILINEAR)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(60):
        photo(number).save(folder / f"{number:02}.png")
    return folder


def look(*folders, image=COLOUR, **options):
    fitting = Fitting(image=image, windows=image is COLOUR, **options)
    stores = find_stores(folders, image, binarize="refuse", fitting=fitting)
    return survey(stores, image, "photos", augmentation=WINDOWS)


def names(seen):
    return {one.name.rpartition("/")[2] for one in seen}


def test_the_division_is_the_same_tomorrow_and_in_any_order(photos, tmp_path):
    first = look(photos)
    assert len(first.train) + len(first.valid) == 60 and 4 <= len(first.valid) <= 15 and not first.own_split
    other = tmp_path / "renamed"
    other.mkdir()
    for number, path in enumerate(sorted(photos.iterdir(), reverse=True)):
        (other / f"{number}-{path.name}").write_bytes(path.read_bytes())
    assert {name.partition("-")[2] for name in names(look(other).valid)} == names(first.valid)
    for number in range(60, 70):  # what comes later moves nothing
        photo(number).save(photos / f"{number}.png")
    assert names(first.valid) <= names(look(photos).valid)
    assert not names(first.train) & names(look(photos).valid)


def test_copies_count_once_and_near_copies_stay_on_one_side(photos):
    for number in range(12):
        photo(number).save(photos / f"{number:02}-again.bmp")
        photo(number).resize((96, 64), Image.Resampling.BICUBIC).save(photos / f"{number:02}-large.jpg", quality=85)
    found = look(photos)
    assert {name.rpartition("/")[2] for name, _ in found.copies} == {f"{n:02}.png" for n in range(12)}
    assert len(found.near) == 12
    for side in (names(found.train), names(found.valid)):
        assert {name[:2] for name in side if "again" in name} == {name[:2] for name in side if "large" in name}


def test_what_the_folder_divides_is_kept_but_for_copies_across(photos, tmp_path):
    root = tmp_path / "set"
    for side, some in (("train", range(0, 40)), ("valid", range(38, 50))):
        (root / side).mkdir(parents=True)
        for number in some:
            photo(number).save(root / side / f"{number}.png")
    photo(45).save(root / "train" / "close.jpg", quality=90)
    found = look(root)
    assert found.own_split and len(found.train) == 38 and len(found.valid) == 12
    assert {name.rpartition("/")[2] for name, _ in found.copies} == {"38.png", "39.png", "close.jpg"}


def test_pictures_come_to_the_model_s_size_whole(photos):
    (photos / "cut.png").write_bytes((photos / "07.png").read_bytes()[:99])
    photo(1).resize((6, 30)).save(photos / "narrow.png")
    found = look(photos)
    assert {one.fitted for one in found.train} == {(12, 8)} and {one.size for one in found.train} == {(24, 16)}
    reasons = {name.rpartition("/")[2]: why for name, why in found.refused}
    assert reasons["narrow.png"].endswith(
        "smaller than the model's 8x8: add --enlarge-by 1.4 to blow it up, or leave it out"
    )
    assert reasons["cut.png"].startswith("is damaged or cut short") and len(reasons) == 2
    assert len(look(photos, enlarge=1.4).refused) == 1
    images = found.images("train", COLOUR, WINDOWS)
    assert images.held().read(np.arange(3), None).shape == (3, 3, 8, 8)


def test_ink_on_paper(tmp_path):
    folder = tmp_path / "digits"
    folder.mkdir()
    for number in range(20):
        ink = np.full((16, 16), 255, np.uint8)
        ink[4:12, 4:12] = np.random.default_rng(number).integers(0, 2, (8, 8)) * 255
        Image.fromarray(ink).save(folder / f"{number}.png")
    with pytest.raises(PvaeZooError, match=r"none of the 20 .* has greys, .*: add --prepare or --binarize"):
        look(folder, image=BINARY)
    plain, turned = (look(folder, image=BINARY, binarize=128, invert=invert) for invert in (False, True))
    assert all("dark on light and taken as they are" in one.notes for one in plain.train)
    assert not any(one.notes for one in turned.train)
    image = turned.images("train", BINARY, Augmentation()).read(np.arange(1), None)
    assert not image[0, 0, 0].any() and image.any()


@pytest.mark.parametrize(
    "count, message",
    [(0, "no images in"), (3, "photos: 3 images, too few to learn from: give at least 16")],
)
def test_too_few(tmp_path, count, message):
    for number in range(count):
        photo(number).save(tmp_path / f"{number}.png")
    with pytest.raises(PvaeZooError, match=message):
        look(tmp_path)


def test_copies_of_one_image_are_one_image(tmp_path):
    for number in range(LEAST + 3):
        photo(1).save(tmp_path / f"{number}.png")
    with pytest.raises(PvaeZooError, match="photos holds 19 copies of one image: give at least 16 different ones"):
        look(tmp_path)


def test_images_that_are_alike_are_no_copies():
    flat = [np.full((3, 8, 8), grey, np.uint8) for grey in (10, 120, 240)]
    strokes = [np.zeros((1, 28, 28), np.uint8) for _ in range(2)]
    strokes[0][0, 4:24, 12:15] = strokes[1][0, 4:24, 15:18] = 1
    assert not list(near_pairs([look_at(image, 256) for image in flat]))
    assert not list(near_pairs([look_at(image, 2) for image in strokes]))
    assert grouped(5, iter([(3, 1), (4, 3)])) == [0, 1, 2, 1, 1]
