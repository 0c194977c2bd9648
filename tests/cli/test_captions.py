"""A grid says what it shows, the images in it stay what they are."""

import json

import numpy as np
import pytest
from PIL import Image

import pvae_zoo
from pvae_zoo.runtime.captions import BACKGROUND, Words, with_words
from pvae_zoo.runtime.layouts import spread
from pvae_zoo.runtime.pictures import read_metadata


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def inside(found, grid):
    """Whether a grid is a part of a picture, pixel by pixel: where its first row is, the others are below it."""
    height, width = grid.shape[:2]
    places = ((y, x) for y in range(found.shape[0] - height + 1) for x in range(found.shape[1] - width + 1))
    return any(np.array_equal(found[y : y + height, x : x + width], grid) for y, x in places)


@pytest.mark.parametrize(
    "line", [["sample", "-n", 2], ["vary", "-n", 2], ["reconstruct", "digits/a.png"], ["interpolate", "-n", 1]]
)
def test_words_surround_the_same_grid(run, model, folder, line):
    noise = [] if line[0] == "reconstruct" else ["--seed", 5, "--latent-temperature", 0.5]
    options = ["--model", model, *noise]
    assert run(*line, *options, "--out", "with.png", "--scale", 2).exit_code == 0
    assert run(*line, *options, "--out", "without.png", "--scale", 2, "--no-caption").exit_code == 0
    found, grid = pixels("with.png"), pixels("without.png")
    assert found.size > grid.size and inside(found, grid)
    settings = "seed 0, temperature 1, latent temperature 1"
    if line[0] != "reconstruct":
        settings = "seed 5, temperature 1, latent temperature 0.5"
    assert read_metadata("with.png")["caption"] == f"tiny, {settings}"
    assert "caption" not in read_metadata("without.png")


def test_each_row_and_column_has_its_label_beside_it():
    grid = Image.new("L", (200, 90), 0)
    words = Words(caption="a caption of some words", rows=["z2 varies", "", "pixels vary"], columns=["kept"])
    found = np.asarray(with_words(grid, words, pitch=(50, 30)))
    left = found.shape[1] - 200
    top = next(row for row in range(found.shape[0]) if (found[row, left:] == 0).all())
    written = found != BACKGROUND
    rows = [written[top + 30 * row : top + 30 * row + 28, :left].any() for row in range(3)]
    columns = [written[:top, left + 50 * column : left + 50 * column + 48].any() for column in range(4)]
    assert rows == [True, False, True] and columns == [True, False, False, False]
    assert written[top + 90 :].any() and (found[top : top + 90, left:] == 0).all()


def test_a_long_caption_has_several_lines_and_is_never_cut():
    grid = Image.new("RGB", (60, 20))
    found = np.asarray(with_words(grid, Words(caption="several words of a long caption"), pitch=(60, 20)))
    assert found.shape[0] > 80 and (found[:, -1] == BACKGROUND)[20:].all()
    assert with_words(grid, Words(), pitch=(60, 20)) is grid


def test_a_path_shows_its_ends(run, model, folder, digits):
    line = ["interpolate", folder / "a.png", folder / "d.png", "--model", model, "--steps", 3, "--scale", 1]
    assert run(*line, "--out", "p.png").exit_code == 0
    assert run(*line[:-2], "--out", "p.npy").exit_code == 0
    row = np.full((8, 5 * 10 - 2), BACKGROUND)
    for index, image in enumerate([digits[0], *np.load("p.npy"), digits[3]]):
        row[:, index * 10 : index * 10 + 8] = spread(image[0], 2)
    assert inside(pixels("p.png"), row)


def test_single_files_are_enlarged_only_when_asked(run, model, folder):
    for options in ([], ["--scale", 3]):
        assert run("vary", "--model", model, "-n", 2, "--out", f"s{len(options)}/", *options).exit_code == 0
    small, large = pixels("s0/pixels-00.png"), pixels("s2/pixels-00.png")
    assert small.shape == (8, 8) and np.array_equal(large, small.repeat(3, 0).repeat(3, 1))
    assert np.array_equal(small, pvae_zoo.load(model).sample(1)[0, 0] * 255)
    for target, option in (("x.npy", ["--scale", 2]), ("x/", ["--no-caption"]), ("x/", ["--scale", 2])):
        for command in (["sample"], ["reconstruct", folder])[: 1 + (target != "x/" or "--scale" not in option)]:
            result = run(*command, "--model", model, "--out", target, *option)
            assert result.exit_code == 2 and f"{option[0].replace('no-', '')} would do nothing" in result.stderr


def test_what_was_done_to_an_image_is_in_the_report(run, model, tmp_path):
    Image.fromarray(np.pad(np.zeros((30, 12), np.uint8), 20, constant_values=255)).save("drawn.png")
    result = run("reconstruct", "drawn.png", "--model", model, "--prepare", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["notes"]["drawn.png"].startswith("prepared: inverted, ")
