import io
import tracemalloc
import zipfile

import numpy as np
import pytest
from PIL import Image

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.data.augmentation import Augmentation
from pvae_zoo.data.datasets import load_split
from pvae_zoo.data.picture_store import decode_picture

COLOUR = ImageShape(channels=3, height=6, width=8, levels=256)
GREY = ImageShape(channels=1, height=6, width=8, levels=256)
RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def encoded(picture, kind="PNG", **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def test_grey_palette_and_cmyk_become_rgb():
    grey = Image.fromarray(RGB[:, :, 0])
    seen = decode_picture(encoded(grey), "a.png", COLOUR, "refuse")
    np.testing.assert_array_equal(seen, np.stack([RGB[:, :, 0]] * 3))
    palette = Image.fromarray(RGB).quantize(16)
    seen = decode_picture(encoded(palette), "a.png", COLOUR, "refuse")
    np.testing.assert_array_equal(seen, np.asarray(palette.convert("RGB")).transpose(2, 0, 1))
    cmyk = Image.fromarray(RGB).convert("CMYK")
    seen = decode_picture(encoded(cmyk, "TIFF"), "a.tif", COLOUR, "refuse")
    np.testing.assert_array_equal(seen, np.asarray(cmyk.convert("RGB")).transpose(2, 0, 1))


def test_colour_becomes_grey_and_fewer_levels():
    luma = np.asarray(Image.fromarray(RGB).convert("L"))[np.newaxis]
    data = encoded(Image.fromarray(RGB))
    np.testing.assert_array_equal(decode_picture(data, "a.png", GREY, "refuse"), luma)
    sixteen = ImageShape(channels=1, height=6, width=8, levels=16)
    np.testing.assert_array_equal(decode_picture(data, "a.png", sixteen, "refuse"), luma // 16)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (encoded(Image.fromarray(np.dstack([RGB, RGB[:, :, 0]]))), "has transparent pixels"),
        (encoded(Image.fromarray(RGB[:, :, 0].astype(np.uint16) * 257)), "has more than 8 bits"),
        (
            encoded(Image.fromarray(RGB), "GIF", save_all=True, append_images=[Image.fromarray(255 - RGB)]),
            "holds 2 frames",
        ),
        (encoded(Image.fromarray(RGB), "JPEG")[:-60], "is damaged or cut short"),
        (b"<html>", "is damaged or no PNG"),
        (b"", "is empty"),
    ],
)
def test_what_would_change_pixels_silently_is_refused_by_name(data, message):
    with pytest.raises(PvaeZooError, match=rf"^set/7\.png {message}"):
        decode_picture(data, "set/7.png", COLOUR, "refuse")


def test_models_of_other_channels_take_no_pictures():
    with pytest.raises(PvaeZooError, match="the model takes 2 channels; image files have 1 or 3"):
        decode_picture(b"", "a.png", ImageShape(channels=2, height=6, width=8, levels=256), "refuse")


def test_pictures_of_any_size_are_cropped(tmp_path):
    large = np.random.default_rng(1).integers(0, 256, (10, 12, 3), dtype=np.uint8)
    (tmp_path / "valid").mkdir()
    Image.fromarray(large).save(tmp_path / "valid" / "0.png")
    Image.fromarray(RGB).save(tmp_path / "valid" / "1.png")
    seen = load_split(tmp_path, "valid", COLOUR, augmentation=Augmentation(crop="random")).read(np.arange(2), None)
    np.testing.assert_array_equal(seen.transpose(0, 2, 3, 1), [large[2:8, 2:10], RGB])


@pytest.mark.parametrize("zipped", [False, True])
def test_memory_stays_flat(tmp_path, zipped):
    picture = ImageShape(channels=3, height=64, width=64, levels=256)
    data = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)))
    names = [f"{number:04}.png" for number in range(2000)]  # 23 MiB of pixels, as many of files
    if zipped:
        with zipfile.ZipFile(tmp_path / "train.zip", "w") as archive:
            for name in names:
                archive.writestr(name, data)
    else:
        (tmp_path / "train").mkdir()
        for name in names:
            (tmp_path / "train" / name).write_bytes(data)
    tracemalloc.start()
    try:
        images = load_split(tmp_path, "train", picture)
        for start in range(0, 96, 32):
            images.read(np.arange(start, start + 32) * 20, np.random.default_rng(0))
        # Not the peak: `ImageSource.read` asks for a buffer of its limit and touches as much as the file is long.
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(images) == 2000
    assert kept < 3 << 20
