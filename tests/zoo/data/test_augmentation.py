import io

import numpy as np
import pytest
from PIL import Image

from pvae_zoo.contract.architecture import ArchitectureError, ImageShape
from pvae_zoo.data.augmentation import Augmentation, draw_views, jpeg_copy, view_generator
from pvae_zoo.data.images import ImageError

MODEL = ImageShape(channels=3, height=4, width=5, levels=256)
CROP = Augmentation(crop="random")


def picture(height, width):
    """Every pixel is another colour, so that a window tells where it comes from."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, rows ^ columns]).astype(np.uint8)


def smooth(height, width):
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 255 / height, columns * 255 / width, (rows + columns) * 255 / (height + width)]).astype(
        np.uint8
    )


def views(augmentation, image, count, seed=0):
    return [augmentation.view(image, MODEL, row) for row in draw_views(np.random.default_rng(seed), count)]


def test_without_options_an_image_is_taken_as_it_is():
    image = picture(4, 5)
    for draws in (None, *draw_views(np.random.default_rng(0), 3)):
        np.testing.assert_array_equal(Augmentation().view(image, MODEL, draws), image)


def test_evaluation_takes_the_centre_and_never_flips():
    image = picture(9, 12)
    seen = Augmentation(crop="random", flip=True).view(image, MODEL, None)
    np.testing.assert_array_equal(seen, image[:, 2:6, 3:8])


def test_a_random_window_is_a_window_and_all_are_equally_likely():
    image = picture(7, 7)  # 4 x 3 windows
    starts = np.zeros((4, 3), int)
    for seen in views(CROP, image, 2400):
        top, left = seen[0, 0, 0], seen[1, 0, 0]
        np.testing.assert_array_equal(seen, image[:, top : top + 4, left : left + 5])
        starts[top, left] += 1
    # 200 expected each; six standard deviations.
    assert (np.abs(starts - 200) < 6 * np.sqrt(200)).all(), starts


def test_a_flip_is_the_mirror_image_and_happens_to_half():
    image = picture(8, 9)
    plain, flipped = (views(Augmentation(crop="random", flip=flip), image, 400) for flip in (False, True))
    mirrored = 0
    for straight, other in zip(plain, flipped, strict=True):
        if not np.array_equal(straight, other):
            np.testing.assert_array_equal(other, straight[:, :, ::-1])
            mirrored += 1
    assert 140 < mirrored < 260


@pytest.mark.parametrize("factor", [0.4, 0.75, 1.6])
def test_a_scaled_window_is_cut_from_the_scaled_image(factor):
    image = smooth(20, 30)
    augmentation = Augmentation(crop="random", scale=(factor, factor))
    size = (round(30 * factor), round(20 * factor))
    whole = np.asarray(Image.fromarray(image.transpose(1, 2, 0)).resize(size, Image.Resampling.LANCZOS))
    whole = whole.transpose(2, 0, 1).astype(int)
    windows = [whole[:, top : top + 4, left : left + 5] for top in range(size[1] - 3) for left in range(size[0] - 4)]
    seen = [*views(augmentation, image, 20), augmentation.view(image, MODEL, None)]
    for view in seen:
        assert min(np.abs(window - view).max() for window in windows) <= 1


def test_an_image_is_never_scaled_below_the_window():
    augmentation = Augmentation(crop="random", scale=(0.01, 0.02))
    image = smooth(40, 80)
    for seen in [*views(augmentation, image, 50), augmentation.view(image, MODEL, None)]:
        assert seen.shape == MODEL.chw
        assert seen[0, -1].min() - seen[0, 0].max() > 150  # from the first rows to the last: it just covers,
        assert seen[1, :, -1].max() - seen[1, :, 0].min() < 170  # and is not squeezed: 5 of 8 columns


def test_evaluation_takes_the_factor_nearest_to_one():
    image = smooth(40, 50)
    for scale, same in [((0.5, 2.0), 1.0), ((0.2, 0.5), 0.5), ((1.5, 2.0), 1.5)]:
        one = Augmentation(crop="random", scale=(same, same)).view(image, MODEL, None)
        np.testing.assert_array_equal(Augmentation(crop="random", scale=scale).view(image, MODEL, None), one)


def test_other_sizes_are_refused():
    with pytest.raises(ImageError, match=r'is 5x6, the model takes 5x4: set crop = "random" under \[data\] in'):
        Augmentation().view(picture(6, 5), MODEL, None)
    for augmentation in (Augmentation(), Augmentation(crop="random", scale=(2.0, 3.0))):
        with pytest.raises(ImageError, match="is 4x6, the model takes 5x4, and a smaller image is not enlarged"):
            augmentation.view(picture(6, 4), MODEL, np.zeros(6))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop": "centre"}, r"data\.crop='centre' must be 'none' or 'random'"),
        ({"crop": "random", "scale": (0.0, 1.0)}, r"data\.scale=\[0\.0, 1\.0\] must be two positive"),
        ({"crop": "random", "scale": (1.0, 0.5)}, r"data\.scale=\[1\.0, 0\.5\] must be .*the smaller first"),
        ({"crop": "random", "scale": (1.0, float("nan"))}, r"data\.scale=.* must be two positive"),
        ({"crop": "random", "scale": (1.0, float("inf"))}, r"data\.scale=.* must be two positive"),
        ({"jpeg": -0.1}, r"data\.jpeg=-0\.1 must be a share of the images, from 0 to 1"),
        ({"jpeg": 1.5}, r"data\.jpeg=1\.5 must be a share"),
        ({"jpeg": float("nan")}, r"data\.jpeg=nan must be a share"),
        ({"scale": (0.5, 1.0)}, r"data\.scale=\[0\.5, 1\.0\] changes the size of images: set data\.crop='random'"),
    ],
)
def test_impossible_options_are_refused_by_name(options, message):
    with pytest.raises(ArchitectureError, match=message):
        Augmentation(**options)


def test_the_numbers_of_a_share_are_those_of_the_whole():
    whole = draw_views(view_generator(5, 7), 10)
    np.testing.assert_array_equal(draw_views(view_generator(5, 7, 6), 4), whole[6:])
    assert not np.array_equal(draw_views(view_generator(5, 8), 10), whole)
    assert not np.array_equal(draw_views(view_generator(6, 7), 10), whole)


def as_jpeg(window, quality):
    file = io.BytesIO()
    Image.fromarray(window[0] if len(window) == 1 else window.transpose(1, 2, 0)).save(file, "JPEG", quality=quality)
    values = np.asarray(Image.open(file))
    return values[np.newaxis] if values.ndim == 2 else values.transpose(2, 0, 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_share_of_the_images_are_jpeg_copies_of_what_would_have_been_seen(channels):
    model = ImageShape(channels=channels, height=16, width=16, levels=256)
    image = np.random.default_rng(1).integers(0, 256, (channels, 18, 20), np.uint8)
    plain, mixed = Augmentation(crop="random", flip=True), Augmentation(crop="random", flip=True, jpeg=0.3)
    copies = dict.fromkeys(range(60, 97), 0)
    draws = draw_views(np.random.default_rng(2), 600)
    for row in draws:
        before, after = plain.view(image, model, row), mixed.view(image, model, row)
        if not np.array_equal(before, after):
            quality = next(q for q in copies if np.array_equal(after, as_jpeg(np.ascontiguousarray(before), q)))
            copies[quality] += 1
            np.testing.assert_array_equal(after, jpeg_copy(before, quality))
    # 180 expected, of 37 qualities alike; five standard deviations.
    assert 124 < sum(copies.values()) < 236
    assert sum(n for q, n in copies.items() if q < 78) < 0.5 * sum(copies.values()) + 34 and copies[60] + copies[61] > 0
    assert max(copies.values()) < 18 and copies[95] + copies[96] > 0
    np.testing.assert_array_equal(mixed.view(image, model, None), plain.view(image, model, None))


def test_qualities_go_from_60_to_96():
    image = np.random.default_rng(1).integers(0, 256, (3, 4, 5), np.uint8)
    for draw, quality in ((0.0, 60), (0.5, 78), (np.nextafter(1, 0), 96)):
        row = np.array([0, 0, 0, 0, 0.29, draw])
        np.testing.assert_array_equal(Augmentation(jpeg=0.3).view(image, MODEL, row), as_jpeg(image, quality))


def test_jpeg_copies_need_all_levels():
    for levels, channels, message in (
        (16, 1, r"data\.jpeg makes greys of all levels, and the model has only 16 levels: leave it out"),
        (256, 2, r"data\.jpeg is for 1 or 3 channels, the model takes 2: leave it out"),
    ):
        with pytest.raises(ArchitectureError, match=message):
            Augmentation(jpeg=0.1).check_model(ImageShape(channels=channels, height=4, width=5, levels=levels))
    Augmentation(jpeg=0.1).check_model(MODEL)
