import json

import numpy as np
import pytest
from PIL import Image

import pvae_zoo
from pvae_zoo.runtime.pictures import read_metadata


@pytest.fixture
def two_levels(levels):
    """The folder of a bundle with two levels of latents."""
    return str(levels.bundle.folder)


def test_a_row_for_each_level_of_noise_starts_with_the_same_image(run, two_levels):
    assert run("vary", "--model", two_levels, "--n", 3, "--seed", 2, "--out", "v.npy").exit_code == 0
    rows = np.load("v.npy").reshape(3, 3, 3, 7, 6)
    model = pvae_zoo.load(two_levels, threads=1)
    for row, level in zip(rows, ("top", "bottom", "pixels"), strict=True):
        assert np.array_equal(row, model.vary(level, 3, seed=2))
    assert np.array_equal(rows[:, 0], np.repeat(rows[:1, 0], 3, axis=0))


def test_one_level_is_one_row_and_a_model_with_one_level_has_two(run, model, two_levels):
    found = json.loads(run("vary", "--model", two_levels, "--level", "bottom", "--n", 2, "--json").stdout)
    assert found == {
        "model": "tiny", "provider": "CPUExecutionProvider", "seed": 0, "rows": ["bottom"], "n": 2,
        "files": ["vary.png"],
    }  # fmt: skip
    result = run("vary", "--model", model, "--n", 2, "--out", "rows/")
    assert result.stdout == "rows/: rows that vary top, pixels, by tiny on CPUExecutionProvider\n"
    result = run("vary", "--model", model, "--level", "bottom")
    assert result.exit_code == 1
    assert result.stderr.strip() == "Error: tiny has no noise of level 'bottom': choose top or pixels"


def test_the_grid_has_a_row_for_each_level(run, two_levels):
    assert run("vary", "--model", two_levels, "--n", 4, "--no-caption").exit_code == 0
    with Image.open("vary.png") as picture:
        width, height = picture.size
    scale = (width + 2) // 4 - 2
    assert scale % 6 == 0 and height == 3 * (7 * scale // 6 + 2) - 2
    assert read_metadata("vary.png")["command"] == f"pvae-zoo vary --model {two_levels} --n 4 --no-caption"


def test_paths_between_draws_have_a_row_each(run, two_levels):
    result = run("interpolate", "--model", two_levels, "--n", 2, "--steps", 3, "--out", "p.npy", "--seed", 1)
    assert result.stdout == "p.npy: 2 paths of 3 images by tiny on CPUExecutionProvider\n"
    rows = np.load("p.npy").reshape(2, 3, 3, 7, 6)
    model = pvae_zoo.load(two_levels, threads=1)
    for first, row in zip((0, 2), rows, strict=True):
        assert np.array_equal(row, model.interpolate(steps=3, seed=1, first=first))


def test_a_path_between_two_images(run, model, folder, digits):
    ends = [folder / "a.png", folder / "d.png"]
    found = json.loads(run("interpolate", *ends, "--model", model, "--steps", 4, "--out", "p.npy", "--json").stdout)
    assert (found["paths"], found["steps"], found["files"]) == (1, 4, ["p.npy"])
    expected = pvae_zoo.load(model, threads=1).interpolate(digits[[0, 3]], 4)
    assert np.array_equal(np.load("p.npy"), expected)


def test_a_path_needs_two_usable_ends(run, model, folder):
    result = run("interpolate", folder / "a.png", "--model", model)
    assert result.exit_code == 2 and "a path has two ends: give FROM and TO, or no image, not 1" in result.stderr
    result = run("interpolate", folder, folder / "a.png", "--model", model)
    assert result.exit_code == 1 and "Error: a path has two ends, and 5 images could be used" in result.stderr
    (folder / "b.png").write_text("no image")
    result = run("interpolate", folder / "a.png", folder / "b.png", "--model", model)
    assert result.exit_code == 1 and "a path has two ends, and 1 images could be used" in result.stderr


def test_a_reconstruction_from_the_top_is_another(run, two_levels, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (2, 7, 6, 3), np.uint8)
    for name, image in zip("ab", images, strict=True):
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    for level in ("top", "bottom"):
        result = run("reconstruct", "a.png", "b.png", "--model", two_levels, "--level", level, "--out", f"{level}.npy")
        assert result.exit_code == 0
        taken = (images.transpose(0, 3, 1, 2).astype(int) * 4 // 256).astype(np.uint8)
        expected = pvae_zoo.load(two_levels, threads=1).reconstruct(taken, level=level)
        assert np.array_equal(np.load(f"{level}.npy"), expected)
    assert not np.array_equal(np.load("top.npy"), np.load("bottom.npy"))
