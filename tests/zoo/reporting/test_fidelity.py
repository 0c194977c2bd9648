import numpy as np
import pytest

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.reporting.fidelity import compared, drawn_levels, fidelity, thumbnails
from pvae_zoo.runtime.model import Model


@pytest.fixture(scope="module")
def model(make_tiny):
    """Two levels of latents below 8 x 8 images of 3 channels."""
    return Model(make_tiny(image=(3, 8, 8, 4), top=3).bundle, "cpu", 1)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(4, size=(20, 3, 8, 8), dtype=np.uint8)


def test_a_thumbnail_is_the_mean_of_each_square_as_a_share_of_the_range():
    image = np.zeros((1, 1, 4, 8), np.uint8)
    image[0, 0, 0, 4] = 255
    image[0, 0, :2, :4] = 51
    assert thumbnails(image, 4, 256) == pytest.approx(np.array([[[[0.1, 1 / 16]]]]))


def test_r2_is_one_of_the_same_zero_of_the_mean_colour_and_minus_one_of_other_images():
    true = np.random.default_rng(1).random((4000, 3, 2, 2)) * np.array([1.0, 0.5, 0.1])[:, None, None] + 3
    mean = np.broadcast_to(true.mean(axis=(0, 2, 3), keepdims=True), true.shape)
    assert compared(true, true).r2 == 1 and compared(true, true).rms == 0
    assert compared(mean, true).r2 == pytest.approx(0, abs=1e-9)
    assert compared(np.roll(true, 1, axis=0), true).r2 == pytest.approx(-1, abs=0.05)
    assert compared(true + 0.25, true).rms == pytest.approx(0.25)


def test_thumbnails_that_do_not_vary_have_no_r2():
    flat = np.full((5, 3, 2, 2), 0.5)
    found = compared(flat + 0.1, flat)
    assert found.r2 is None and found.rms == pytest.approx(0.1) and found.size == "2x2"


def test_each_level_is_drawn_from_by_itself(model, images, monkeypatch):
    calls, done = [], []

    def copy(self, part, *, level, seed):
        calls.append((level, seed, len(part)))
        return part if level == "bottom" else np.zeros_like(part)

    monkeypatch.setattr(Model, "reconstruct", copy)
    z1, z2 = fidelity(model, images, seed=5, progress=done.append)
    assert calls == [("bottom", 5, 16), ("bottom", 21, 4), ("top", 5, 16), ("top", 21, 4)] and done == [16, 20, 36, 40]
    assert (z1.size, z1.r2, z1.rms) == ("2x2", 1, 0) and z2.size == "1x1" and z2.r2 < 0


def test_what_is_drawn_is_what_the_model_draws_again_for_the_same_seed(model, images):
    first, again, other = (fidelity(model, images[:3], seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    drawn = thumbnails(model.reconstruct(images[:3], seed=1), 4, 4)
    assert first[0] == compared(drawn, thumbnails(images[:3], 4, 4))


def test_a_model_with_one_level_has_one(make_tiny):
    one = Model(make_tiny(image=(1, 8, 8, 2), latents=2).bundle, "cpu", 1)
    assert drawn_levels(one) == ["bottom"] and len(fidelity(one, np.ones((2, 1, 8, 8), np.uint8))) == 1


def test_images_that_thumbnails_do_not_divide_are_refused(levels):
    model = Model(levels.bundle, "cpu", 1)
    with pytest.raises(PvaeZooError, match="tiny has images of 7x6: thumbnails of a 4th do not divide them"):
        drawn_levels(model)
