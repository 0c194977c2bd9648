import io

import numpy as np
import pytest
from PIL import Image

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.data.augmentation import jpeg_copy
from pvae_zoo.data.codecs import available_codecs
from pvae_zoo.data.datasets import ImageSet
from pvae_zoo.reporting.codecs import measure_codecs
from pvae_zoo.reporting.evaluation import CodecSizes, Evaluation, Thumbnails, chosen_images
from pvae_zoo.reporting.measurement import Measurement
from pvae_zoo.runtime.model import Model


@pytest.fixture(scope="module")
def model(make_tiny):
    return Model(make_tiny(image=(3, 8, 8, 256), top=2).bundle, "cpu", 1)


@pytest.fixture
def images(model):
    values = np.random.default_rng(0).integers(256, size=(12, 3, 8, 8), dtype=np.uint8)
    return ImageSet.of(values, model.image)


def measured(model, images, **options):
    wanted = Measurement(dataset="rooms64.zip", split="valid", command="c", **options)
    return list(wanted.rows(model, images))


def test_the_bound_alone_is_one_row(model, images):
    (row,) = measured(model, images)
    assert isinstance(row, Evaluation) and (row.dataset, row.split, row.jpeg, row.images) == (
        "rooms64.zip", "valid", None, 12
    )  # fmt: skip


def test_jpeg_copies_are_scored_as_they_come_back_from_the_file(model, images):
    clean, copies = measured(model, images, jpeg=(30,))
    values = np.stack([jpeg_copy(image, 30) for image in images.read(np.arange(12), None)])
    assert copies.jpeg == 30 and copies.nll_nats == pytest.approx(model.nll(values).nll_nats.mean())
    assert copies.nll_nats != clean.nll_nats


def test_a_jpeg_copy_is_what_any_program_writes_and_reads():
    image = np.random.default_rng(1).integers(256, size=(3, 16, 24), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(file, "JPEG", quality=75)
    assert np.array_equal(jpeg_copy(image, 75), np.asarray(Image.open(file)).transpose(2, 0, 1))
    grey = jpeg_copy(image[:1], 90)
    assert grey.shape == (1, 16, 24) and 0 < np.abs(grey.astype(int) - image[:1]).mean() < 40


def test_codecs_see_the_pixels_of_each_bound(model, images):
    rows = measured(model, images, limit=5, seed=4, codecs=True, jpeg=(75, 90))
    assert [type(row) for row in rows] == [Evaluation, CodecSizes] * 3
    assert [row.jpeg for row in rows] == [None, None, 75, 75, 90, 90]
    chosen = chosen_images(12, 5, 4)
    for row, pixels in ((rows[1], images), (rows[3], images.as_jpeg(75))):
        assert row.codecs == measure_codecs(pixels, model.image, chosen) and row.images == 5
    assert rows[3].codecs["WebP lossless"] < rows[1].codecs["WebP lossless"]


def test_jpeg_xl_is_left_out_where_its_plug_in_is_not(model, images, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pillow_jxl", None)
    assert available_codecs() == ["PNG", "WebP lossless"]
    _, row = measured(model, images, codecs=True)
    assert list(row.codecs) == ["PNG", "WebP lossless"]
    with pytest.raises(PvaeZooError, match=r'pip install "pvae-zoo\[paper\]"'):
        measure_codecs(images, model.image, np.arange(1))


def test_thumbnails_are_of_a_subset_of_their_own(model, images):
    _, row = measured(model, images, latents=3)
    assert isinstance(row, Thumbnails) and (row.images, row.of, row.sizes) == (3, 12, ("2x2", "1x1"))
    assert all(np.isfinite([*row.r2, *row.rms]))
    assert measured(model, images, latents=200)[1].images == 12


def test_progress_reaches_its_end_and_never_goes_back(model, images):
    seen = []
    wanted = Measurement(dataset="d", split="valid", command="c", limit=7, codecs=True, jpeg=(75,), latents=4)
    list(wanted.rows(model, images, lambda done, of: seen.append((done, of))))
    assert {of for _, of in seen} == {7 * 4 + 2 * 4} and seen[-1][0] == 36
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_what_a_model_cannot_have_is_refused_before_anything_is_measured(levels, monkeypatch):
    tiny = Model(levels.bundle, "cpu", 1)
    monkeypatch.setattr(Model, "nll", None)
    few = ImageSet.of(np.zeros((2, 3, 7, 6), np.uint8), tiny.image)
    with pytest.raises(PvaeZooError, match=r"tiny has 3 channel\(s\) of 4 levels: leave out --jpeg"):
        measured(tiny, few, jpeg=(75,))
    with pytest.raises(PvaeZooError, match="7x6: thumbnails"):
        measured(tiny, few, latents=2)
