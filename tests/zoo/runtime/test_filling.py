import numpy as np
import pytest

from pvae_zoo.runtime.filling import REACH, fill


def masked(keep):
    return np.broadcast_to(keep, (1, 1, *keep.shape))


def random_image(levels=256, size=(12, 10)):
    return np.random.default_rng(0).integers(levels, size=(1, 3, *size), dtype=np.uint8)


def test_a_fill_keeps_what_is_known_and_has_nothing_of_what_is_not():
    image, keep = random_image(), np.random.default_rng(1).random((12, 10)) < 0.3
    found = fill(image, masked(keep), 256)
    assert np.array_equal(found[:, :, keep], image[:, :, keep])
    assert np.array_equal(fill(np.where(keep, image, 255 - image).astype(np.uint8), masked(keep), 256), found)
    assert np.array_equal(fill(image, masked(np.ones((12, 10), bool)), 256), image)


@pytest.mark.parametrize("bright", [(0, 20), (235, 256)], ids=["dark", "bright"])
def test_a_fill_stays_between_the_kept_values_and_grey(bright):
    image = np.random.default_rng(0).integers(*bright, size=(1, 3, 12, 10), dtype=np.uint8)
    keep = np.zeros((12, 10), bool)
    keep[:4] = True
    values = fill(image, masked(keep), 256)[:, :, ~keep]
    low, high = min(image[:, :, keep].min(), 127.5), max(image[:, :, keep].max(), 127.5)
    assert low <= values.min() and values.max() <= high
    assert np.ptp(values) > 20


def test_a_fill_fades_with_the_distance():
    """A line of ones, its neighbours 1, 2, ... pixels away: the weight of what is near, and a far value of 3/4."""
    image, keep = np.full((1, 1, 1, 40), 200, np.uint8), np.arange(40)[None] < 1
    weight = REACH / (REACH + np.arange(40))
    expected = weight * 200 + (1 - weight) * (0.5 * 200 + 0.5 * 127.5)
    assert np.array_equal(fill(image, masked(keep), 256)[0, 0, 0], np.floor(expected + 0.5))


def test_a_ring_takes_the_mean_of_its_neighbours():
    image, keep = np.array([[[[0, 0, 240]]]], np.uint8), np.array([[True, False, True]])
    weight = REACH / (REACH + 1)
    assert fill(image, masked(keep), 256)[0, 0, 0, 1] == int(weight * 120 + (1 - weight) * (60 + 63.75) + 0.5)


def test_an_image_of_which_nothing_is_known_is_grey():
    nothing = masked(np.zeros((12, 10), bool))
    assert (fill(random_image(), nothing, 256) == 128).all()
    assert (fill(random_image(4), nothing, 4) == 2).all()


def test_images_of_a_batch_are_filled_each_by_itself():
    images, keep = np.concatenate([random_image(), random_image()[:, :, ::-1]]), np.zeros((2, 1, 12, 10), bool)
    keep[0, :, :5] = keep[1, :, :, 3:] = True
    both = fill(images, keep, 256)
    assert all(np.array_equal(both[i : i + 1], fill(images[i : i + 1], keep[i : i + 1], 256)) for i in (0, 1))
