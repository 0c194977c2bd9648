import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pvae_zoo
from pvae_zoo.runtime.model import Model
from pvae_zoo.runtime.pictures import read_metadata


def cells(path, columns):
    """The images of a grid, one value a model's pixel."""
    with Image.open(path) as picture:
        pixels = np.asarray(picture)
    scale = (pixels.shape[1] + 2) // columns - 2
    assert scale % 8 == 0
    pitch, scale = scale + 2, scale // 8
    rows = (pixels.shape[0] + 2) // pitch
    return np.array([
        [pixels[r * pitch :, c * pitch :][: 8 * scale : scale, : 8 * scale : scale] for c in range(columns)]
        for r in range(rows)
    ])  # fmt: skip


def test_originals_stand_above_their_reconstructions(run, model, folder, digits):
    drawn = pvae_zoo.load(model).reconstruct(digits, seed=1)
    result = run("reconstruct", folder, "--model", model, "--seed", 1, "--no-caption")
    assert result.exit_code == 0
    assert result.stdout == "reconstructions.png: 5 reconstructions at temperature 1 by tiny on CPUExecutionProvider\n"
    grid = cells("reconstructions.png", 5)
    assert np.array_equal(grid, np.stack([digits[:, 0], drawn[:, 0]]) * 255)
    command = read_metadata("reconstructions.png")["command"]
    assert command == f"pvae-zoo reconstruct {folder} --model {model} --seed 1 --no-caption"


def test_more_images_than_columns_start_another_pair_of_rows(run, model, folder, monkeypatch):
    monkeypatch.setattr("pvae_zoo.cli.reconstruct.PAIRS_IN_A_ROW", 3)
    assert run("reconstruct", folder, "--model", model, "--no-caption").exit_code == 0
    grid = cells("reconstructions.png", 3)
    assert grid.shape[:2] == (4, 3) and (grid[2:, 2] == 64).all() and set(np.unique(grid[:, :2])) == {0, 255}


def test_a_folder_gets_the_reconstructions_by_name(run, model, folder, digits):
    found = json.loads(run("reconstruct", folder, "--model", model, "--out", "r/", "--json").stdout)
    assert found["files"] == [f"r/{name}.png" for name in "abcde"] and found["failed"] == 0
    expected = pvae_zoo.load(model).reconstruct(digits)
    assert np.array_equal([np.asarray(Image.open(path)) // 255 for path in found["files"]], expected[:, 0])


def test_images_of_the_same_name_do_not_overwrite_each_other(run, model, folder):
    shutil.copytree(folder, "copies")
    found = json.loads(run("reconstruct", folder, "copies", "--model", model, "--out", "r/", "--json").stdout)
    assert len(set(found["files"])) == 10 == len(list(Path("r").iterdir()))


def test_names_that_are_one_file_with_its_ending_are_numbered(run, model, folder):
    (folder / "a.png").rename(folder / "b.png.png")
    found = json.loads(run("reconstruct", folder, "--model", model, "--out", "r/", "--json").stdout)
    assert found["files"][:2] == ["r/00000-b.png", "r/00001-b.png"]
    assert len(list(Path("r").iterdir())) == 5


@pytest.mark.parametrize("command", [["reconstruct"], ["complete", "--rows", "4"]])
def test_a_name_that_cannot_be_written_is_refused_before_the_work(run, model, folder, monkeypatch, command):
    (folder / "a.png").rename(folder / f"{'ü' * 120}.png")  # 240 bytes
    monkeypatch.setattr(Model, "reconstruct", None)
    monkeypatch.setattr(Model, "complete", None)
    result = run(*command, folder, "--model", model, "--out", "x/")
    assert result.exit_code == 1 and "is too long for the name of a file: give the image" in result.stderr
    assert result.stderr.count("\n") == 1 and not Path("x").exists()


def test_a_folder_given_twice_counts_once_and_that_is_said(run, model, folder):
    once = run("reconstruct", folder, "--model", model, "--out", "r.npy")
    twice = run("reconstruct", folder, f"{folder}/", "--model", model, "--out", "r.npy")
    assert (twice.stdout, twice.stderr) == (once.stdout, once.stderr + "5 images given twice, counted once\n")


@pytest.mark.parametrize("command", [["reconstruct"], ["complete", "--rows", "4"]])
def test_bad_images_are_said_and_the_others_drawn(run, model, folder, command):
    (folder / "b.png").write_text("no image")
    result = run(*command, folder, "--model", model, "--out", "x.npy")
    assert result.exit_code == 3 and f"{folder / 'b.png'}: is damaged or no" in result.stderr
    assert "1 of 5 images could not be used" in result.stderr and len(np.load("x.npy")) in (4, 16)
    result = run(*command, folder / "b.png", "--model", model, "--out", "y.npy")
    assert result.exit_code == 1 and not Path("y.npy").exists()


@pytest.mark.parametrize("command", [["reconstruct"], ["complete", "--rows", "4"]])
def test_a_bad_target_is_refused_before_the_work(run, model, folder, monkeypatch, command):
    monkeypatch.setattr(pvae_zoo, "load", None)
    result = run(*command, folder, "--model", model, "--out", "x.jpg")
    assert result.exit_code == 1 and "cannot write 'x.jpg'" in result.stderr


def test_rows_are_kept_and_the_unknown_part_is_grey(run, model, folder, digits):
    assert run("complete", folder, "--rows", 3, "--n", 2, "--model", model, "--no-caption").exit_code == 0
    grid = cells("completions.png", 3)
    assert grid.shape[0] == 5
    assert np.array_equal(grid[:, :, :3], np.repeat(digits[:, :1, :3], 3, axis=1) * 255)
    assert (grid[:, 0, 3:] == 128).all() and set(np.unique(grid[:, 1:])) == {0, 255}
    assert not np.array_equal(grid[:, 1], grid[:, 2])


def test_completions_are_the_librarys(run, model, folder, digits):
    keep = np.arange(8)[:, None].repeat(8, 1) < 3
    expected = pvae_zoo.load(model).complete(np.repeat(digits, 2, axis=0), keep, seed=5)
    found = json.loads(
        run("complete", folder, "--rows", 3, "-n", 2, "--model", model, "--seed", 5, "--out", "c/", "--json").stdout
    )
    assert found["files"][:3] == ["c/a-0.png", "c/a-1.png", "c/b-0.png"]
    assert np.array_equal([np.asarray(Image.open(path)) // 255 for path in found["files"]], expected[:, 0])


@pytest.mark.parametrize("mode", ["L", "1", "RGB", "P", "LA"])
def test_a_mask_keeps_what_is_white(run, model, folder, digits, mode):
    keep = np.random.default_rng(1).random((8, 8)) < 0.5
    Image.fromarray(keep.astype(np.uint8) * 255).convert(mode).save("mask.png")
    assert run("complete", folder, "--mask", "mask.png", "--n", 1, "--model", model, "--out", "x.npy").exit_code == 0
    assert np.array_equal(np.load("x.npy")[:, :, keep], digits[:, :, keep])
    assert not np.array_equal(np.load("x.npy"), digits)


def _mask(values, mode=None):
    Image.fromarray(values).convert(mode).save("mask.png") if mode else Image.fromarray(values).save("mask.png")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: _mask(np.zeros((8, 9), np.uint8)), "is 9x8: make it 8x8"),
        (lambda: _mask(np.full((8, 8), 7, np.uint8)), "must be black and white only"),
        (lambda: _mask(np.full((8, 8, 3), (255, 0, 0), np.uint8)), "must be black and white only"),
        (lambda: _mask(np.zeros((8, 8, 4), np.uint8)), "has transparent pixels"),
        (lambda: _mask(np.full((8, 8), 255, np.uint8)), "is all white"),
        (lambda: Path("mask.png").write_text("no"), "is damaged or no PNG"),
        (lambda: Path("mask.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(30)), "mask.png"),
        (lambda: None, "cannot be read: No such file"),
        pytest.param(lambda: os.mkfifo("mask.png"), "mask.png cannot be read", marks=pytest.mark.timeout(60)),
        (lambda: os.mkdir("mask.png"), "mask.png cannot be read"),
    ],
)
def test_a_bad_mask_is_one_line(run, model, folder, make, said):
    make()
    result = run("complete", folder, "--mask", "mask.png", "--model", model)
    assert result.exit_code == 1 and said in result.stderr and result.stderr.count("\n") == 1
    assert not Path("completions.png").exists()


def test_a_cut_mask_is_one_line(run, model, folder):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save("whole.png")
    Path("mask.png").write_bytes(Path("whole.png").read_bytes()[:-20])
    result = run("complete", folder, "--mask", "mask.png", "--model", model)
    assert result.exit_code == 1 and "mask.png" in result.stderr and result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "options", [[], ["--rows", "3", "--mask", "x.png"], ["--rows", "0"], ["--rows", "3", "--n", "0"]]
)
def test_what_to_keep_is_said_once(run, model, folder, options):
    assert run("complete", folder, "--model", model, *options).exit_code == 2


def test_all_rows_leave_nothing_to_draw(run, model, folder):
    result = run("complete", folder, "--model", model, "--rows", 8)
    assert result.exit_code == 1 and "keep from 1 to 7 of the 8 rows" in result.stderr
