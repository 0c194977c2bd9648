"""Calibrate on a folder, screen another one: rows, verdicts, maps, moves, parts, and what cannot be done."""

import csv
import io
import json

import numpy as np
import pytest
from PIL import Image

ODD = "odd.png"


def save(folder, name, image):
    folder.mkdir(exist_ok=True)
    Image.fromarray(image[0] * 255).save(folder / name)


@pytest.fixture(scope="session")
def drawn():
    return np.random.default_rng(5).integers(0, 2, (92, 1, 8, 8), np.uint8)


@pytest.fixture
def known(tmp_path, drawn):
    for index, image in enumerate(drawn[:80]):
        save(tmp_path / "known", f"{index:02}.png", image)
    return tmp_path / "known"


@pytest.fixture
def incoming(tmp_path, drawn):
    """Twelve images that belong, one that does not and one that is none."""
    for index, image in enumerate(drawn[80:]):
        save(tmp_path / "incoming", f"{index:02}.png", image)
    save(tmp_path / "incoming", ODD, np.zeros((1, 8, 8), np.uint8))
    (tmp_path / "incoming" / "torn.png").write_text("no image")
    return tmp_path / "incoming"


@pytest.fixture
def calibrated(run, model, known):
    result = run("calibrate", known, "--model", model, "--out", "x.screen.json")
    assert result.exit_code == 0, result.output
    return "x.screen.json"


@pytest.fixture
def screen(run, model, calibrated, incoming):
    return lambda *options: run("screen", "--model", model, "--with", calibrated, incoming, "--fpr", "0.05", *options)


def test_calibrate_says_what_it_made(run, model, known):
    (known / "torn.png").write_text("no image")
    result = run("calibrate", known, "--model", model, "--out", "x.json", "--json")
    said = json.loads(result.stdout)
    assert result.exit_code == 3 and "torn.png" in result.stderr and said["failed"] == 1
    assert said["calibration"]["images"] == 80 and said["least_fpr"] == 1 / (said["calibration"]["ranked"] + 1)


def test_rows_are_sorted_by_surprise_with_a_summary(screen):
    result = screen("--json")
    said = json.loads(result.stdout)
    rows, summary = said["images"], said["summary"]
    assert result.exit_code == 3 and "torn.png" in rows[-1]["path"] and rows[-1]["status"] == "error"
    usable = rows[:-1]
    assert [row["p_value"] for row in usable] == sorted(row["p_value"] for row in usable)
    assert usable[0]["path"].endswith(ODD) and usable[0]["flagged"]
    assert all(row["flagged"] == (row["p_value"] <= 0.05) for row in usable)
    assert set(usable[0]) >= {"strangeness", "spoke", "deviation", "scores", "region"}
    assert summary["count"] == 13 and summary["failed"] == 1
    assert summary["flagged"] == sum(row["flagged"] for row in usable) and summary["expected_if_all_belong"] == 0.65


def test_the_table_and_csv_have_the_same_rows(screen):
    said = json.loads(screen("--json").stdout)["images"]
    rows = list(csv.DictReader(io.StringIO(screen("--csv").stdout)))
    assert [row["path"] for row in rows] == [row["path"] for row in said]
    assert [row["flagged"] for row in rows[:-1]] == [str(int(row["flagged"])) for row in said[:-1]]
    assert rows[0]["reconstruction"] == str(said[0]["scores"]["reconstruction"]) and rows[-1]["reason"]
    table = screen().stdout.splitlines()
    assert ODD in table[1] and "yes" in table[1] and "error" in table[14]
    assert table[-1].startswith(f"{sum(row.get('flagged', False) for row in said)} of 13 images flagged at --fpr 0.05")


def test_merged_shards_are_what_one_run_prints(screen, run):
    for number in (2, 1, 3):
        result = screen("--shard", f"{number}/3", "--out", "parts")
        assert result.exit_code in (0, 3), result.output
    for form in ([], ["--json"], ["--csv"]):
        merged, plain = run("merge", "parts", *form), screen(*form)
        assert merged.exit_code == plain.exit_code == 3
        if form == ["--json"]:
            merged, plain = json.loads(merged.stdout), json.loads(plain.stdout)
            assert merged["images"] == plain["images"] and merged["summary"] == plain["summary"]
        else:
            assert merged.stdout == plain.stdout
    assert "is of another run" in screen("--shard", "1/3", "--out", "parts", "--fpr", "0.1").stderr
    assert "would do nothing" in screen("--shard", "1/3", "--out", "parts", "--move", "x").stderr


def test_maps_and_moves_are_of_flagged_images_alone(screen, incoming, tmp_path):
    (tmp_path / "aside").mkdir()
    (tmp_path / "aside" / ODD).write_text("another file of that name")
    result = screen("--maps", "maps", "--move", "aside", "--json")
    flagged = [row for row in json.loads(result.stdout)["images"] if row.get("flagged")]
    assert flagged[0]["map"] == "maps/odd.png" and flagged[0]["moved_to"] == "aside/odd-2.png"
    with Image.open("maps/odd.png") as picture:
        assert picture.width > 2 * picture.height * 0.8 and len(picture.getcolors(1 << 16)) > 20
    assert not (incoming / ODD).exists() and (tmp_path / "aside" / ODD).read_text().startswith("another")
    assert len(list(incoming.iterdir())) == 14 - len(flagged) and len(list((tmp_path / "maps").iterdir())) == len(
        flagged
    )


def test_a_link_is_moved_and_still_leads_there(screen, incoming, tmp_path):
    (incoming / ODD).rename(tmp_path / "far.png")
    (incoming / ODD).symlink_to("../far.png")
    assert screen("--move", "a/side").exit_code == 3
    assert (tmp_path / "a/side" / ODD).read_bytes() == (tmp_path / "far.png").read_bytes()
    assert (tmp_path / "a/side" / ODD).is_symlink() and not (incoming / ODD).is_symlink()


def test_false_discoveries_are_chosen_over_the_batch(run, model, calibrated, incoming):
    line = ["screen", "--model", model, "--with", calibrated, incoming]
    few = run(*line, "--fdr", "0.001")
    assert "0 of 13 images flagged at --fdr 0.001" in few.stdout and "must be as strange as can be" in few.stdout
    many = json.loads(run(*line, "--fdr", "0.3", "--json").stdout)
    assert many["summary"]["fdr"] and many["images"][0]["flagged"]
    assert {row["p_value"] <= many["summary"]["threshold"] for row in many["images"] if row.get("flagged")} == {True}


def test_images_are_prepared_as_those_of_the_calibration(run, model, known, tmp_path):
    for path in known.iterdir():
        with Image.open(path) as picture:
            picture.resize((16, 16), Image.Resampling.NEAREST).save(path)
    fit = ("--resize", "--binarize", "128")
    assert run("calibrate", known, "--model", model, "--out", "x.json", *fit).exit_code == 0
    plain, told = (run("screen", known, "--model", model, "--with", "x.json", "--fpr", 0.1, *o) for o in ((), fit))
    assert plain.exit_code == told.exit_code == 0 and plain.stdout == told.stdout and "Note" not in plain.stderr
    other = run("screen", known, "--model", model, "--with", "x.json", "--fpr", 0.1, "--resize", "--binarize", "99")
    assert "Note: the images of the calibration were not prepared so" in other.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--fpr", "0.001"], "--fpr 0.001 needs a calibration of 1332 images, 999 of them ranked: this one has 60"),
        (["--fpr", "0.1", "--fdr", "0.1"], "--fpr and --fdr are two ways"),
        (["--csv", "--json"], "--csv and --json"),
        (["--with", "nowhere.json"], "cannot read nowhere.json"),
        (["--maps", "incoming/00.png"], "a file stands where a folder is needed"),
    ],
)
def test_what_cannot_be_done_is_one_line(screen, options, said, incoming):
    result = screen(*options)
    assert result.exit_code in (1, 2) and said in result.stderr and "Traceback" not in result.stderr
    assert len(list(incoming.iterdir())) == 14


def test_files_in_a_zip_are_not_moved(run, model, calibrated, incoming, tmp_path):
    import shutil

    shutil.make_archive(str(tmp_path / "packed"), "zip", incoming)
    result = run("screen", "--model", model, "--with", calibrated, "packed.zip", "--fpr", "0.1", "--move", "aside")
    assert result.exit_code == 1 and "is inside a zip and cannot be moved" in result.stderr


def test_the_model_is_the_calibrations_and_no_path_of_it(run, zoo, model, calibrated, incoming, tmp_path):
    data = json.loads((tmp_path / calibrated).read_text())
    line = ["screen", incoming, "--with", calibrated, "--fpr", "0.1"]
    (tmp_path / calibrated).write_text(json.dumps(data | {"model": "mnist"}))
    assert run(*line).exit_code == 3
    (tmp_path / calibrated).write_text(json.dumps(data | {"model": model}))
    refused = run(*line)
    assert refused.exit_code == 1 and "which is not of the zoo: say with --model where it is" in refused.stderr
    (tmp_path / calibrated).write_text(json.dumps(data | {"model": "mnist", "model_sha256": "0" * 64}))
    assert "was made with another model (mnist, 000000000...)" in run(*line).stderr


def test_an_empty_folder_and_too_few_images(run, model, tmp_path, folder):
    (tmp_path / "empty").mkdir()
    assert "no images in empty: it is empty" in run("calibrate", "empty", "--model", model, "--out", "x").stderr
    assert "5 images are too few to calibrate with" in run("calibrate", folder, "--model", model, "--out", "x").stderr
    assert not (tmp_path / "x").exists()
