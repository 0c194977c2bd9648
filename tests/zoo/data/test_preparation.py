"""A picture as people have it becomes an image as the model was trained on, and what was done is said."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.data.fit import Fit
from pvae_zoo.data.images import ImageError, ImageSource

DIGIT = ImageShape(channels=1, height=28, width=28, levels=2)
PREPARE = Fit(prepare=True)


def seven(
    width: int = 14, side: int = 200, paper: object = "white", ink: object = (20, 20, 120), at: int = 0
) -> Image.Image:
    """A digit drawn with strokes of that width, moved right and down."""
    picture = Image.new("RGB", (side, side), paper)
    corners = [(at + x, at + y) for x, y in ((40, 40), (120, 40), (70, 160))]
    ImageDraw.Draw(picture).line(corners, fill=ink, width=width, joint="curve")
    return picture


@pytest.fixture
def read(tmp_path):
    def read(picture, image=DIGIT, fit=PREPARE):
        picture.save(tmp_path / "x.png")
        return fit.read(ImageSource("x.png", tmp_path / "x.png"), image)

    return read


@pytest.mark.parametrize("width", [1, 4, 14])
def test_a_drawn_digit_is_as_those_of_mnist(read, width):
    values, note = read(seven(width))
    assert set(np.unique(values)) == {0, 1} and values[0, 0, 0] == 0  # light on dark
    rows, columns = (np.flatnonzero(values[0].any(axis=axis)) for axis in (1, 0))
    assert np.ptp(rows) + 1 == 20 and np.ptp(columns) + 1 < 20  # proportions are kept
    ys, xs = np.nonzero(values[0])
    assert abs(ys.mean() - 14) < 0.8 and abs(xs.mean() - 14) < 0.8
    assert 35 < values.sum() < 90  # neither faded nor a blot, whatever the pen was
    assert note.startswith("prepared: grey, inverted, ") and ("strokes thickened" in note) == (width < 14)
    assert note.endswith("centred, black and white from 128")


def test_place_size_and_colours_do_not_matter(read):
    values, _ = read(seven())
    for other in (seven(at=30), seven(paper=(230, 225, 210)), seven(paper="black", ink="white"), seven(side=300)):
        assert np.mean(read(other)[0] != values) < 0.02
    assert "inverted" not in read(seven(paper="black", ink="white"))[1]


def test_nothing_drawn_is_said(read):
    assert str(read(Image.new("RGB", (90, 90), "white"))).startswith("is blank")


def test_what_is_too_small_is_blown_up_only_when_asked(read):
    tiny = seven().resize((12, 12))
    assert "half as many: add --enlarge" in str(read(tiny))
    assert read(tiny, fit=Fit(prepare=True, enlarge=True))[0].shape == (1, 28, 28)


def test_a_colour_model_gets_the_middle(read):
    photo = Image.new("RGB", (90, 40), "red")
    photo.paste("blue", (25, 0, 65, 40))
    image = ImageShape(channels=3, height=16, width=16, levels=256)
    values, note = read(photo, image)
    assert (values[2] > 230).all() and note == "prepared: the middle of 90x40 as 16x16"
    assert read(photo.crop((0, 0, 16, 16)), image)[1] is None


def test_a_grey_photo_becomes_colour_for_a_colour_model(read):
    image = ImageShape(channels=3, height=16, width=16, levels=256)
    values, note = read(Image.linear_gradient("L"), image)
    assert values.shape == (3, 16, 16) and np.array_equal(values[0], values[2]) and np.ptp(values) > 200
    assert note == "grey, converted to RGB; prepared: the middle of 256x256 as 16x16"


def test_all_that_is_needed_is_named_at_once(read):
    def said(fit):
        found = read(seven(), fit=fit)
        assert isinstance(found, ImageError)
        return str(found)

    is_and_takes = "is 200x200 in colour, dark on light; the model takes 28x28 in black and white, light on dark"
    options = "--convert --resize --binarize 128 --invert"
    assert said(Fit()) == f"{is_and_takes}: add --prepare, or {options}"
    assert said(Fit(resize=True)).endswith("black and white, light on dark: add --convert --binarize 128 --invert")
    values, note = read(seven(), fit=Fit(convert=True, resize=True, binarize=128, invert=True))
    assert values[0, 0, 0] == 0 and 20 < values.sum() < 100 and note is None


def test_a_digit_that_is_not_turned_is_noted(read):
    picture = Image.fromarray(np.where(np.indices((28, 28)).max(axis=0) % 9 == 8, 0, 255).astype(np.uint8))
    picture.paste(255, (26, 0, 28, 28)), picture.paste(255, (0, 26, 28, 28))
    values, note = read(picture, fit=Fit())
    assert "--invert" in note
    turned, note = read(picture, fit=Fit(invert=True))
    assert np.array_equal(turned, 1 - values) and note is None


def test_what_prepare_does_itself_is_refused_beside_it(read):
    with pytest.raises(PvaeZooError, match="by itself: leave out --resize and --invert"):
        Fit(prepare=True, resize=True, invert=True)
    with pytest.raises(PvaeZooError, match="takes colour"):
        read(seven(), ImageShape(channels=3, height=8, width=8, levels=256), Fit(invert=True))
