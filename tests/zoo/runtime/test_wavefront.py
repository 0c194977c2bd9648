import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvae_zoo.contract.config import Geometry
from pvae_zoo.runtime.wavefront import canvas_rows, positions, step_count, steps

sizes = st.integers(1, 13)
anything = settings(deadline=None, max_examples=60)


def geometry(height, width, rows, reach):
    """As an export lays it out; `tests/export/test_step.py` holds the real one to the same laws."""
    stride = width + reach
    return Geometry(top=rows, left=reach, stride=stride, rows_per_image=(rows + height) * stride, slope=reach + 1)


@given(height=sizes, width=sizes, slope=st.integers(1, 6), order=st.sampled_from(["wavefront", "raster"]))
@anything
def test_every_pixel_is_computed_once_in_as_many_steps_as_stated(height, width, slope, order):
    plan = list(steps(height, width, slope, order))
    assert len(plan) == step_count(height, width, slope, order)
    pixels = [(y, x) for step in plan for y, x in zip(step.rows.tolist(), step.columns.tolist(), strict=True)]
    assert sorted(pixels) == [(y, x) for y in range(height) for x in range(width)]


@given(height=sizes, width=sizes, slope=st.integers(1, 6))
@anything
def test_a_wavefronts_pixels_lie_on_its_line(height, width, slope):
    lines = []
    for step in steps(height, width, slope):
        (line,) = set((step.columns + slope * step.rows).tolist())
        lines.append(line)
    assert lines == sorted(set(lines))


@given(height=sizes, width=sizes, rows=st.integers(1, 3), reach=st.integers(1, 4))
@anything
def test_a_step_reads_only_what_earlier_steps_wrote(height, width, rows, reach):
    finished = np.zeros((height, width), bool)
    for step in steps(height, width, reach + 1):
        for y, x in zip(step.rows, step.columns, strict=True):
            assert finished[max(0, y - rows) : y, max(0, x - reach) : x + reach + 1].all()
            assert finished[y, max(0, x - reach) : x].all()
        finished[step.rows, step.columns] = True


def test_a_smaller_slope_would_read_what_it_writes():
    """The law above has no slack: with the slope one smaller, some pixel waits for one of its own step."""
    reach, clashes = 2, 0
    for step in steps(5, 7, reach):
        pixels = set(zip(step.rows.tolist(), step.columns.tolist(), strict=True))
        clashes += any((y - 1, x + reach) in pixels for y, x in pixels)
    assert clashes


@given(
    height=sizes, width=sizes, rows=st.integers(1, 3), reach=st.integers(1, 4), images=st.integers(1, 3),
    order=st.sampled_from(["wavefront", "raster"]),
)  # fmt: skip
@anything
def test_positions_are_unique_inside_the_canvas_and_never_in_a_margin(height, width, rows, reach, images, order):
    g = geometry(height, width, rows, reach)
    canvas = np.zeros(canvas_rows(g, images), int)
    for step in steps(height, width, g.slope, order):
        canvas[positions(g, images, step)] += 1
    assert canvas[-1] == 0
    per_image = canvas[:-1].reshape(images, rows + height, g.stride)
    assert (per_image[:, rows:, reach:] == 1).all()
    assert not per_image[:, :rows].any() and not per_image[:, :, :reach].any()


@given(height=sizes, width=sizes, rows=st.integers(1, 3), reach=st.integers(1, 4), images=st.integers(1, 3))
@anything
def test_neighbours_stay_inside_their_own_image(height, width, rows, reach, images):
    g = geometry(height, width, rows, reach)
    image_of = np.arange(canvas_rows(g, images)) // g.rows_per_image
    offsets = [dy * g.stride + dx for dy in range(-rows, 0) for dx in range(-reach, reach + 1)] + [-reach]
    for step in steps(height, width, g.slope):
        own = positions(g, images, step)
        read = own[:, None] + offsets
        assert read.min() >= 0 and (image_of[read] == image_of[own][:, None]).all()


def test_positions_are_those_of_the_documented_formula():
    g = Geometry(top=3, left=2, stride=8, rows_per_image=80, slope=3)
    (step,) = [step for step in steps(7, 6, 3) if step.columns[0] + 3 * step.rows[0] == 4]
    assert step.rows.tolist() == [0, 1] and step.columns.tolist() == [4, 1]
    assert positions(g, 2, step).tolist() == [3 * 8 + 2 + 4, 4 * 8 + 2 + 1, 80 + 30, 80 + 35]


@pytest.mark.parametrize(
    ("height", "width", "slope", "expected"),
    [(28, 28, 4, 136), (64, 64, 3, 253), (6, 2, 4, 12), (6, 4, 4, 24), (1, 9, 3, 9)],
)
def test_the_number_of_steps(height, width, slope, expected):
    assert step_count(height, width, slope) == expected
    assert step_count(height, width, slope, "raster") == height * width
