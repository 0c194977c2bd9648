"""``evaluate`` from end to end, on a zip of pictures that are larger than the model."""

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from pvae_zoo.contract.folder import EVALUATION, Bundle
from pvae_zoo.reporting.evaluation import stored_codecs, stored_evaluations, stored_thumbnails


@pytest.fixture
def bundle(make_tiny, copy_bundle):
    """Two levels of latents below 8 x 8 colour images, validated on the centres of larger pictures."""
    folder = copy_bundle(make_tiny(image=(3, 8, 8, 256), top=2).bundle)
    config = json.loads((folder / "config.json").read_text())
    config["training"]["crop"] = "random"
    (folder / "config.json").write_text(json.dumps(config))
    return Bundle(folder)


@pytest.fixture
def photos(tmp_path):
    """A function that writes a zip of four pictures."""

    def write(name, seed):
        rng = np.random.default_rng(seed)
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for number in range(4):
                file = io.BytesIO()
                Image.fromarray(rng.integers(256, size=(10, 12, 3), dtype=np.uint8)).save(file, "PNG")
                archive.writestr(f"valid/{number}.png", file.getvalue())
        return tmp_path / name

    return write


def test_everything_at_once_is_printed_and_saved(run, bundle, photos):
    options = ["--split", "valid", "--codecs", "--jpeg", 75, "--jpeg", 90, "--latents", "--latent-images", 3]
    result = run("evaluate", bundle.folder, "--trust", "--data", photos("rooms64.zip", 0), *options, "--save")
    assert result.exit_code == 0, result.stderr
    for text in ("4 of 4 valid images, ", "as JPEG of quality 75,", "as JPEG of quality 90,", "PNG  ",
                 "thumbnails of 3 of 4", "z1, 2x2", "z2, 1x1", "of it\n"):  # fmt: skip
        assert text in result.stdout
    command = "pvae-zoo evaluate tiny --data rooms64.zip --split valid --samples 1 --seed 0 --codecs --jpeg 75"
    command += " --jpeg 90 --latents --latent-images 3"
    bounds = stored_evaluations(bundle)
    assert [(row["dataset"], row["jpeg"]) for row in bounds] == [
        ("rooms64.zip", None), ("rooms64.zip", 75), ("rooms64.zip", 90)
    ]  # fmt: skip
    assert {row["command"] for row in bounds} == {command}
    assert [row.jpeg for row in stored_codecs(bundle)] == [None, 75, 90] and len(stored_thumbnails(bundle)) == 1


def test_another_set_is_added_and_the_same_replaced(run, bundle, photos):
    for name, seed in (("rooms64.zip", 0), ("rooms96.zip", 1), ("rooms64.zip", 0)):
        options = ["--data", photos(name, seed), "--split", "valid", "--codecs", "--save"]
        assert run("evaluate", bundle.folder, "--trust", *options).exit_code == 0
    assert [row["dataset"] for row in stored_evaluations(bundle)] == ["rooms64.zip", "rooms96.zip"]
    assert [row.dataset for row in stored_codecs(bundle)] == ["rooms64.zip", "rooms96.zip"]


def test_json_holds_the_rows_of_the_file(run, bundle, photos):
    options = ["--data", photos("a b.zip", 0), "--split", "valid", "--codecs", "--latents", "--save", "--json"]
    found = json.loads(run("evaluate", bundle.folder, "--trust", *options).stdout)
    assert found == {"model": "tiny", **json.loads((bundle.folder / EVALUATION).read_text())}
    assert "--data 'a b.zip' --split" in found["results"][0]["command"]


def test_a_card_is_written_of_what_was_saved(run, bundle, photos, tmp_path):
    card = tmp_path / "card.md"
    options = ["--data", photos("rooms64.zip", 0), "--split", "valid", "--codecs", "--save", "--card", card]
    assert run("evaluate", bundle.folder, "--trust", *options).exit_code == 0
    assert "| rooms64.zip | valid | 4 |" in card.read_text() and "of WebP lossless" in card.read_text()


@pytest.mark.parametrize("quality", ["0", "101", "high"])
def test_an_impossible_quality_is_a_usage_error(run, bundle, photos, quality):
    result = run("evaluate", bundle.folder, "--trust", "--data", photos("a.zip", 0), "--jpeg", quality)
    assert result.exit_code == 2 and "--jpeg" in result.stderr


def test_what_does_not_suit_the_model_is_one_line_and_nothing_is_saved(run, gates, tmp_path):
    (tmp_path / "valid").mkdir()
    Image.new("L", (6, 7), 255).save(tmp_path / "valid" / "a.png")
    for option, words in (("--latents", "thumbnails of a 4th do not divide"), ("--jpeg=75", "leave out --jpeg")):
        result = run("evaluate", gates.bundle.folder, "--data", tmp_path, "--split", "valid", option, "--save")
        assert result.exit_code == 1 and words in result.stderr and len(result.stderr.splitlines()) == 1
    assert not (gates.bundle.folder / EVALUATION).exists()


def changed(folder, **training):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"training": config["training"] | training}))
    return folder


def test_images_are_read_as_they_were_in_training(run, gates, copy_bundle, tmp_path):
    (tmp_path / "valid").mkdir()
    Image.new("L", (6, 7), 99).save(tmp_path / "valid" / "grey.png")
    folder = copy_bundle(gates.bundle)
    options = ["--trust", "--data", tmp_path, "--split", "valid"]
    assert "grey values" in run("evaluate", folder, *options).stderr
    assert run("evaluate", changed(folder, binarize="threshold"), *options).exit_code == 0


def test_a_bundle_with_an_impossible_view_is_named(run, bundle, photos):
    result = run("evaluate", changed(bundle.folder, crop="middle"), "--trust", "--data", photos("a.zip", 0))
    assert result.exit_code == 1 and "config.json is not valid: data.crop='middle'" in result.stderr
    assert len(result.stderr.splitlines()) == 1
