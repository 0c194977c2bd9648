"""The whole chain on tiny settings: models are trained, measured and drawn, and the page is written."""

import json

import pytest
from click.testing import CliRunner

from pvae_zoo.cli.app import cli

PICTURES = ("figure3", "figure4", "figure5", "probe", "temperatures", "interpolations", "neighbours")


def run(*args):
    return CliRunner().invoke(cli, ["reproduce", *map(str, args)])


@pytest.fixture(scope="module")
def chain(data, levels, photos, tmp_path_factory):
    """A quick run of everything: its folder, the options of the run, and what it printed."""
    root = tmp_path_factory.mktemp("paper")
    where = ["--out", root / "docs", "--runs", root / "runs", "--quick", "--rows-model", levels.bundle.folder]
    given = ["--data", data[0], "--labels", data[1], "--rooms", photos, "--photos", photos]
    result = run("all", *given, *where, "--json")
    assert result.exit_code == 0, result.output
    return root, where, json.loads(result.stdout)


def test_all_draws_everything(chain):
    root, _, report = chain
    assert report["left_out"] == {} and report["page"] == str(root / "docs" / "paper.md")
    for name in PICTURES:
        assert (root / "docs" / "paper" / f"{name}.png").stat().st_size > 1000
    page = (root / "docs" / "paper.md").read_text()
    assert "a quick run, its figures mean nothing" in page and "Not measured yet" not in page
    assert page.count("![") == len(PICTURES)


def test_what_is_stored_is_drawn_again_without_data_or_training(chain):
    root, where, _ = chain
    picture = root / "docs" / "paper" / "figure3.png"
    before, page = picture.read_bytes(), (root / "docs" / "paper.md").read_text()
    picture.unlink()
    result = run("figure3", *where)
    assert result.exit_code == 0 and "training" not in result.output
    assert picture.read_bytes() == before and (root / "docs" / "paper.md").read_text() == page


def test_an_interrupted_chain_goes_on_with_the_trained_models(chain, data):
    root, where, _ = chain
    results = root / "docs" / "paper" / "results.json"
    stored = json.loads(results.read_text())
    results.write_text(json.dumps({**stored, "studies": stored["studies"][:-1]}))
    result = run("figure4", "--data", data[0], "--labels", data[1], *where)
    assert result.exit_code == 0 and "pixelvae-2: training" in result.output and "step 8/8" not in result.output
    again = json.loads(results.read_text())["studies"]
    assert again == stored["studies"]  # measured again on the same weights, with the same noise


@pytest.mark.parametrize(
    ("figure", "message"),
    [
        ("table1", "not measured yet: give the data with --data"),
        ("probe", "not measured yet: give the data with --data"),
        ("codecs", "the codecs need photos: give them with --rooms or --photos"),
        ("latents", "the question about latents needs photos: give them with --photos"),
        ("figure5", "the zoo has no model nosuch yet"),
        ("samples", "nearest neighbours need the training images: give them with --data"),
    ],
)
def test_what_is_missing_is_one_line(figure, message, tmp_path):
    result = run(figure, "--out", tmp_path / "docs", "--runs", tmp_path / "runs", "--rows-model", "nosuch")
    assert result.exit_code == 1 and message in result.output and len(result.output.splitlines()) == 1


def test_pairs_of_the_wanted_budgets_are_trained_and_what_is_stored_is_not(chain, photos):
    root, _, _ = chain
    stored = json.loads((root / "docs" / "paper" / "results.json").read_text())["latents"]
    assert [(row["images"], row["latents"]) for row in stored] == [(2, False), (2, True), (4, False), (4, True)]
    assert {row["dataset"] for row in stored} == {"photos"}
    options = ["--photos", photos, "--out", root / "more", "--runs", root / "runs", "--quick"]
    result = run("latents", *options, "--images", "4, 6")
    assert result.exit_code == 0 and "step 2/2" not in result.output and "step 3/3" in result.output
    found = json.loads((root / "more" / "paper" / "results.json").read_text())["latents"]
    assert found[:2] == stored[2:] and [row["images_seen"] for row in found] == [4, 4, 6, 6]
    again = run("latents", *options, "--images", "4,6")
    assert again.exit_code == 0 and "training" not in again.output


@pytest.mark.parametrize("images", ["0", "3000,", "many", "3.5", "-3"])
def test_budgets_that_are_no_numbers_of_images_are_a_usage_error(images, photos):
    result = run("latents", "--photos", photos, f"--images={images}")
    assert result.exit_code == 2 and "numbers of images with commas between them" in result.output


def test_photos_that_are_not_there_are_named(tmp_path):
    result = run("latents", "--photos", tmp_path / "none.zip", "--out", tmp_path / "d", "--runs", tmp_path / "r")
    assert result.exit_code == 1 and "no data at" in result.output and len(result.output.splitlines()) == 2


def test_a_probe_without_labels_says_so(tmp_path, data, chain):
    root, _, _ = chain
    result = run("probe", "--quick", "--out", tmp_path, "--runs", root / "runs", "--data", data[0])
    assert result.exit_code == 1 and "give MNIST's idx files with --labels" in result.output


def test_a_run_of_another_recipe_is_not_taken_for_this_one(tmp_path, data, chain):
    root, _, _ = chain
    (tmp_path / "quick").mkdir()
    (root / "runs" / "quick" / "pixelvae-1").rename(tmp_path / "quick" / "pixelvae-0")
    try:
        result = run("figure4", "--quick", "--out", tmp_path / "d", "--runs", tmp_path, "--data", data[0])
    finally:
        (tmp_path / "quick" / "pixelvae-0").rename(root / "runs" / "quick" / "pixelvae-1")
    assert result.exit_code == 1 and "holds a run of another recipe" in result.output
