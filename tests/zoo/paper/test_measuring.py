import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.data.codecs import CODECS, stored
from pvae_zoo.data.datasets import ImageSet
from pvae_zoo.models.gaussian import DiagonalGaussian
from pvae_zoo.models.pixelvae import PixelVAE
from pvae_zoo.paper.measuring import bound
from pvae_zoo.paper.pictures import nearest_images, three_rows
from pvae_zoo.paper.probe import Digits, probe_accuracy
from pvae_zoo.reporting.codecs import measure_codecs, random_subset
from pvae_zoo.runtime.model import Model
from pvae_zoo.runtime.pictures import to_picture

COLOUR = ImageShape(channels=3, height=8, width=8, levels=256)


class Reader(nn.Module):
    """Its posterior means are what it was told to read off an image."""

    def __init__(self, read):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.read = read

    def posteriors(self, x):
        mean = self.read(x.float())
        return [DiagonalGaussian(mean, torch.zeros_like(mean))]


def blocks(x):
    return nn.functional.avg_pool2d(x, 4).flatten(1)


def test_the_probe_finds_what_is_there_and_nothing_where_there_is_nothing(data):
    digits = Digits.load(data[1])
    assert set(np.unique(digits.train[0])) == {0, 1} and digits.used(1000) == 250  # the last sixth is for validation
    assert probe_accuracy(Reader(blocks), digits, 1000) > 0.7
    assert probe_accuracy(Reader(lambda x: torch.randn(len(x), 16)), digits, 1000) < 0.3


def test_labels_that_are_missing_or_no_labels_are_named(data, tmp_path):
    for path in data[1].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    labels = tmp_path / "t10k-labels-idx1-ubyte"
    labels.write_bytes(b"\0" * 8 + b"1" * 80)
    with pytest.raises(PvaeZooError, match=r"t10k-labels-idx1-ubyte is no idx file of labels"):
        Digits.load(tmp_path)
    labels.unlink()
    with pytest.raises(PvaeZooError, match=r"no t10k-labels-idx1-ubyte\[\.gz\] in"):
        Digits.load(tmp_path)
    with pytest.raises(PvaeZooError, match="no MNIST idx files in"):
        Digits.load(tmp_path / "nowhere")


def test_bound_is_the_model_s_own(make_architecture):
    architecture = make_architecture((1, 4, 4, 2))
    model, x = PixelVAE(architecture).eval(), np.random.default_rng(0).integers(0, 2, (230, 1, 4, 4), np.uint8)
    log_likelihood, kl = bound(model, ImageSet.of(x, architecture.image), np.arange(230), "cpu")
    assert log_likelihood.shape == kl.shape == (230,)
    with torch.no_grad():
        expected = model.posteriors(torch.from_numpy(x))[0]
        prior = DiagonalGaussian(torch.zeros_like(expected.mean), torch.zeros_like(expected.mean))
        torch.testing.assert_close(torch.from_numpy(kl).float(), expected.kl(prior))


@pytest.mark.parametrize("codec", CODECS)
def test_a_codec_loses_nothing(codec):
    image = np.random.default_rng(1).integers(0, 256, (3, 8, 8), np.uint8)
    picture = Image.open(io.BytesIO(stored(to_picture(image, 256), codec))).convert("RGB")
    assert np.array_equal(np.asarray(picture).transpose(2, 0, 1), image)


def test_bits_per_dimension_are_the_bits_of_the_files():
    images = ImageSet.of(np.random.default_rng(2).integers(0, 256, (9, 3, 8, 8), np.uint8), COLOUR)
    bits = measure_codecs(images, COLOUR, random_subset(9, 4))
    files = [len(stored(to_picture(images.read(np.array([i]), None)[0], 256), "PNG")) for i in random_subset(9, 4)]
    assert bits["PNG"] == 8 * sum(files) / (4 * 192) and min(bits.values()) > 8  # noise cannot be made smaller


def test_nearest_images_are_found_among_all():
    values = np.random.default_rng(3).integers(0, 256, (4100, 3, 8, 8), np.uint8)
    wanted = values[[5, 2500, 4099]].copy()
    wanted[1, 0, 0, 0] ^= 255
    found, distances = nearest_images(wanted, ImageSet.of(values, COLOUR), 256)
    assert np.array_equal(found, values[[5, 2500, 4099]])
    changed = abs(int(wanted[1, 0, 0, 0]) - int(values[2500, 0, 0, 0]))
    assert distances == pytest.approx([0, changed / 255 / 192, 0])


def test_three_rows_need_two_levels_and_share_the_first_image(levels, gates, tmp_path):
    distance = three_rows(Model(levels.bundle), tmp_path / "rows.png", columns=3)
    assert list(distance) == ["top", "bottom", "pixels"] and all(0 < value < 1 for value in distance.values())
    with Image.open(tmp_path / "rows.png") as picture:
        rows = np.asarray(picture)
    height = (len(rows) + 2) // 3
    first = [rows[start : start + height - 2, : height // 2] for start in (0, height, 2 * height)]
    assert np.array_equal(first[0], first[1]) and np.array_equal(first[0], first[2])
    with pytest.raises(PvaeZooError, match="one level of latents"):
        three_rows(Model(gates.bundle), tmp_path / "none.png")
