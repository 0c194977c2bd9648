import numpy as np
import pytest
from PIL import Image

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.runtime.layouts import UNKNOWN
from pvae_zoo.runtime.trace import FRAMES, check_trace, painting, save_trace
from pvae_zoo.runtime.wavefront import step_count, steps


def images(count=3, shape=(1, 5, 6), levels=2):
    return np.random.default_rng(0).integers(0, levels, (count, *shape), np.uint8)


@pytest.mark.parametrize("order", ["wavefront", "raster"])
def test_each_frame_adds_the_pixels_of_a_step(order):
    drawn, total = images(), step_count(5, 6, 3, order)
    frames = painting(drawn, levels=2, slope=3, order=order, frames=1000)
    assert len(frames) == total + 1
    assert (frames[0] == UNKNOWN).all() and np.array_equal(frames[-1], drawn * 255)
    for step, before, after in zip(steps(5, 6, 3, order), frames[:-1], frames[1:], strict=True):
        changed = (before != after).any(axis=(0, 1))
        expected = np.zeros((5, 6), bool)
        expected[step.rows, step.columns] = True
        assert np.array_equal(changed, expected)


def test_long_paintings_are_thinned_out_evenly_with_both_ends():
    drawn = images(1, (3, 40, 40), 256)
    frames = painting(drawn, levels=256, slope=3, order="wavefront", frames=20)
    assert len(frames) == 20 and np.array_equal(frames[-1], drawn)
    shares = (frames == drawn).mean(axis=(1, 2, 3, 4))
    assert (np.diff(shares) > 0).all()


@pytest.mark.parametrize(("shape", "levels"), [((1, 5, 6), 2), ((3, 30, 30), 256)])
def test_the_animation_shows_the_painting(tmp_path, shape, levels):
    save_trace(images(70, shape, levels), tmp_path / "t.gif", levels=levels, slope=3, order="wavefront")
    with Image.open(tmp_path / "t.gif") as picture:
        assert 2 < picture.n_frames <= FRAMES
        picture.seek(0)
        first = np.asarray(picture.convert("RGB")).astype(int)
        assert (np.abs(first - UNKNOWN) < 16).mean() > 0.7
        picture.seek(picture.n_frames - 1)
        assert picture.info["duration"] == 2000


@pytest.mark.parametrize("target", ["t.png", "t", ""])
def test_a_trace_is_a_gif(target):
    with pytest.raises(PvaeZooError, match=r"give a \.gif"):
        check_trace(target)
    check_trace("t.gif")
