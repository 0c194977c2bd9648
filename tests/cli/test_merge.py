"""Shards put together are the run without shards, and nothing else passes for it."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def folder(folder):
    """The five images and four that cannot be used."""
    (folder / "b1.png").write_text("no image")
    (folder / "c1.png").touch()
    (folder / "c2.png").symlink_to("nowhere")
    Image.new("L", (9, 9)).save(folder / "e1.png")
    return folder


@pytest.fixture
def score(run, model, folder):
    """A function that scores shard i of n into parts/."""
    return lambda shard, *options: run("nll", "--model", model, folder, "--shard", shard, "--out", "parts", *options)


@pytest.fixture
def draw(run, model):
    """A function that draws shard i of n of ten images into drawn/."""
    return lambda shard, *options: run("sample", "-m", model, "-n", 10, "--shard", shard, "--out", "drawn/", *options)


@pytest.mark.parametrize("shards", [1, 3, 9, 12])
@pytest.mark.parametrize("options", [[], ["--samples", "2", "--seed", "3"]])
def test_merged_parts_are_what_one_run_prints(run, model, folder, score, shards, options):
    for number in range(shards, 0, -1):
        assert score(f"{number}/{shards}", *options).exit_code in (0, 1, 3)
    for printed in ([], ["--json"]):
        plain, merged = run("nll", "--model", model, folder, *options, *printed), run("merge", "parts", *printed)
        assert (merged.stdout, merged.stderr, merged.exit_code) == (plain.stdout, plain.stderr, 3)
        written = run("merge", "parts", *printed, "--out", "all.txt")
        assert written.exit_code == 3 and written.stdout == "all.txt: 9 images of tiny\n"
        with open("all.txt", encoding="utf-8") as file:
            assert file.read() == plain.stdout


def test_a_shard_says_what_it_did_and_a_rerun_does_nothing(score, files):
    first, again = score("2/4"), score("2/4")
    assert first.stdout == "parts/part-0002-of-0004.jsonl: 2 images of tiny, shard 2/4 scored on CPUExecutionProvider\n"
    assert again.stdout == "parts/part-0002-of-0004.jsonl: 2 images of tiny, shard 2/4 was there already\n"
    assert (first.exit_code, again.exit_code) == (3, 3) and "1 of 2 images could not be used" in again.stderr
    assert [name for name in files() if "digits" not in name] == ["parts/part-0002-of-0004.jsonl"]
    assert json.loads(score("1/4", "--json").stdout) == {
        "path": "parts/part-0001-of-0004.jsonl", "model": "tiny", "shards": 4, "count": 2, "failed": 0
    }  # fmt: skip


def test_missing_parts_are_named_with_what_makes_them(run, score):
    for number in (1, 4):
        score(f"{number}/4")
    result = run("merge", "parts")
    assert result.exit_code == 1 and result.stdout == ""
    assert result.stderr == (
        "Error: parts lacks 2 of 4 parts: run the same pvae-zoo nll with --shard 2/4, --shard 3/4\n"
    )


def test_many_missing_parts_still_are_one_line(run, score):
    score("7/100")
    assert "--shard 6/100, --shard 8/100, --shard 9/100 and 91 more\n" in run("merge", "parts").stderr


def test_parts_of_other_options_do_not_mix(run, model, folder, score):
    score("1/2")
    score("2/2", "--seed", 5)
    assert "part-0002-of-0002.jsonl is of another run, seed 5 there and 0 here" in run("merge", "parts").stderr
    assert "is of another run, seed 5 there and 0 here: choose another --out" in score("2/2").stderr
    shutil.rmtree("parts")
    score("1/2")
    (folder / "f.png").write_text("one more")
    assert "the images number 9 there and 10 here" in score("1/2").stderr
    score("2/3")
    assert "parts holds parts of 2 and of 3 shards" in run("merge", "parts").stderr


def test_a_part_under_another_name_or_cut_short_is_noticed(run, score):
    score("1/2"), score("2/2")
    first, second = (f"parts/part-000{number}-of-0002.jsonl" for number in (1, 2))
    shutil.copy(first, second)
    assert f"{second} holds shard 1/2" in run("merge", "parts").stderr
    with open(first, "r+b") as file:
        file.truncate(len(file.read()) - 9)
    result = run("merge", "parts")
    assert result.exit_code == 1 and "delete it and run --shard 1/2 again" in result.stderr and result.stdout == ""


def test_options_that_contradict(run, model, folder):
    for options, said in (
        (["--shard", "1/2"], "--out DIR goes with --shard and --ray"),
        (["--out", "parts"], "--out DIR goes with --shard and --ray"),
        (["--shard", "1/2", "--ray", "--out", "parts"], "leave out --shard"),
        (["--shard", "3/2", "--out", "parts"], "shards are numbered from 1 to 2"),
    ):
        result = run("nll", "--model", model, folder, *options)
        assert result.exit_code == 2 and said in result.stderr
    for options in (["--shard", "1/2"], ["--shard", "1/2", "--out", "x.npy"]):
        result = run("sample", "--model", model, *options)
        assert result.exit_code == 2 and "give --out a folder with a final /" in result.stderr


def test_there_must_be_parts_of_one_kind(run, score, draw, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "empty holds no part: run pvae-zoo nll, screen or sample with --shard 1/N" in run("merge", "empty").stderr
    assert "cannot look into gone: No such file" in run("merge", "gone").stderr
    score("1/1"), draw("1/1")
    shutil.copy("drawn/samples-0001-of-0001.json", "parts")
    assert "parts of nll and of sample" in run("merge", "parts").stderr
    assert run("merge", "drawn", "--out", "x").exit_code == 2


# Samples


def pictures(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.png"))}


@pytest.mark.parametrize("shards", [1, 3, 12])
def test_drawn_shards_are_the_files_of_one_run(run, model, draw, tmp_path, shards):
    run("sample", "-m", model, "-n", 10, "--out", "whole/")
    for number in range(shards, 0, -1):
        assert draw(f"{number}/{shards}", "--batch-size", 2).exit_code == 0
    assert pictures(tmp_path / "drawn") == pictures(tmp_path / "whole")
    result = run("merge", "drawn")
    assert result.exit_code == 0 and result.stdout.startswith("drawn: all 10 images of tiny, seed 0, are there")
    assert json.loads(run("merge", "drawn", "--json").stdout)["n"] == 10


def test_a_rerun_draws_only_what_is_missing_or_damaged(run, draw, tmp_path):
    assert "5 images of tiny, 5 drawn now, shard 2/2" in draw("2/2").stdout
    before = pictures(tmp_path / "drawn")
    assert "5 images of tiny, 0 drawn now" in draw("2/2").stdout
    flipped = bytearray(before["00008.png"])
    flipped[-20] ^= 1
    for manifest in (True, False):
        (tmp_path / "drawn/00006.png").unlink()
        (tmp_path / "drawn/00008.png").write_bytes(flipped)
        if manifest:  # another image of the same run: only its hash tells
            shutil.copy(tmp_path / "drawn/00007.png", tmp_path / "drawn/00009.png")
        else:
            (tmp_path / "drawn/samples-0002-of-0002.json").unlink()
            (tmp_path / "drawn/00005.png").write_bytes(b"")
        report = json.loads(draw("2/2", "--json", "--batch-size", 5).stdout)
        assert (report["drawn"], len(report["files"]), report["shard"]) == (3, 5, "2/2")
        assert pictures(tmp_path / "drawn") == before
    draw("1/2"), draw("2/2")
    assert run("merge", "drawn").exit_code == 0


@pytest.mark.parametrize("manifest", [True, False])
def test_samples_of_another_run_are_never_overwritten(draw, tmp_path, manifest):
    draw("1/2", "--seed", 1)
    if not manifest:
        (tmp_path / "drawn/samples-0001-of-0002.json").unlink()
    before = pictures(tmp_path / "drawn")
    result = draw("1/2")
    assert result.exit_code == 1 and "is of another run, seed 1 there and 0 here: choose another" in result.stderr
    assert pictures(tmp_path / "drawn") == before


def test_merging_samples_notices_what_is_missing_or_altered(run, draw, tmp_path):
    draw("1/2")
    assert "drawn lacks 1 of 2 parts: run the same pvae-zoo sample with --shard 2/2" in run("merge", "drawn").stderr
    draw("2/2")
    picture = tmp_path / "drawn/00007.png"
    data = picture.read_bytes()
    picture.write_bytes(data + b"x")
    assert "00007.png is not what was drawn: run --shard 2/2 again" in run("merge", "drawn").stderr
    picture.unlink()
    assert "cannot read drawn/00007.png (No such file or directory): run --shard 2/2 again" in (
        run("merge", "drawn").stderr
    )
    draw("2/2")
    assert picture.read_bytes() == data and run("merge", "drawn").exit_code == 0
    manifest = tmp_path / "drawn/samples-0001-of-0002.json"
    stated = json.loads(manifest.read_text())
    del stated["files"]["00003.png"]
    manifest.write_text(json.dumps(stated))
    assert "does not list the images of its shard: delete it and run --shard 1/2" in run("merge", "drawn").stderr
    manifest.write_text("{}")
    assert "is no manifest of samples" in run("merge", "drawn").stderr
    assert np.array_equal(np.asarray(Image.open(picture)).shape, (8, 8))
