"""What is cut on the device is what the host would have cut."""

import numpy as np
import pytest
import torch
from PIL import Image

from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.data.augmentation import Augmentation, draw_views, view_generator
from pvae_zoo.data.datasets import ImageSet, load_split
from pvae_zoo.training import device_images
from pvae_zoo.training.device_images import DeviceImages

SIZES = [(16, 16), (16, 40), (33, 17), (20, 20), (50, 16)]
AUGMENTATIONS = [
    Augmentation(crop="random"),
    Augmentation(crop="random", flip=True),
    Augmentation(crop="random", flip=True, jpeg=0.4),
    Augmentation(crop="random", flip=True, scale=(0.8, 1.2), jpeg=0.1),
]


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(5)
    (tmp_path / "train").mkdir()
    for number in range(20):
        Image.fromarray(rng.integers(0, 256, (*SIZES[number % 5], 3), np.uint8)).save(
            tmp_path / "train" / f"{number:02}.png"
        )
    return tmp_path


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_is_that_of_the_host(folder, augmentation, channels):
    image = ImageShape(channels=channels, height=16, width=14, levels=256)
    images = load_split(folder, "train", image, augmentation=augmentation).held()
    device = DeviceImages(images, "cpu")
    assert len(device) == 20
    for step in range(4):
        indices = np.random.default_rng(step).integers(0, 20, 50)
        batch = device.read(indices, draw_views(view_generator(3, step), 50))
        assert batch.dtype == torch.uint8 and batch.shape == (50, channels, 16, 14)
        np.testing.assert_array_equal(batch.numpy(), images.read(indices, view_generator(3, step)))
        np.testing.assert_array_equal(device.read(indices, None).numpy(), images.read(indices, None))
    copies = images.as_jpeg(80)
    np.testing.assert_array_equal(DeviceImages(copies, "cpu").read(indices, None).numpy(), copies.read(indices, None))


def test_the_host_cuts_only_what_is_resampled_or_a_jpeg_copy(folder, monkeypatch):
    image = ImageShape(channels=3, height=16, width=14, levels=256)
    images = load_split(folder, "train", image, augmentation=AUGMENTATIONS[2]).held()
    device, sent = DeviceImages(images, "cpu"), []
    views = ImageSet.read_views
    monkeypatch.setattr(ImageSet, "read_views", lambda *args: sent.append(len(args[1])) or views(*args))
    draws = draw_views(view_generator(3, 0), 200)
    device.read(np.arange(200) % 20, draws)
    assert sent == [int((draws[:, 4] < 0.4).sum())] and 40 < sent[0] < 120


def test_small_sets_of_few_levels_live_there_too():
    binary = ImageShape(channels=1, height=5, width=4, levels=2)
    values = np.random.default_rng(0).integers(0, 2, (9, *binary.chw), np.uint8)
    values.flags.writeable = False
    device = DeviceImages.fitting(ImageSet.of(values, binary).held(), "cpu")
    np.testing.assert_array_equal(device.read(np.array([3, 8, 3]), None).numpy(), values[[3, 8, 3]])


def test_a_set_that_does_not_fit_or_is_not_held_stays_where_it_is(folder, monkeypatch):
    image = ImageShape(channels=3, height=16, width=14, levels=256)
    streamed = load_split(folder, "train", image, augmentation=AUGMENTATIONS[0])
    assert DeviceImages.fitting(streamed, "cpu") is None
    held = streamed.held()
    size = held.pictures.pixels.nbytes
    for free, fits in ((4 * size, True), (4 * size - 4, False)):
        monkeypatch.setattr(device_images, "available_memory", lambda free=free: free)
        assert (DeviceImages.fitting(held, "cpu") is not None) is fits
