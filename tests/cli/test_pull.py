import json
import shutil

import pvae_zoo
from pvae_zoo.contract.folder import CONFIG, Bundle


def test_pull_says_where_a_shipped_model_is(run, zoo):
    result = run("pull", "mnist")
    assert result.exit_code == 0 and f"tiny is at {zoo / 'mnist'}" in result.stdout and "hashes hold" in result.stdout


def test_pull_copies_a_bundle_that_works(run, zoo, eight):
    found = json.loads(run("pull", "mnist", "--to", "a/b", "--json").stdout)
    assert found["path"] == "a/b" and found["sha256"] == eight.bundle.digest
    assert pvae_zoo.load("a/b").sample(1).shape == (1, 1, 8, 8)
    assert run("pull", "mnist", "--to", "a/b").exit_code == 0  # the same again


def test_pull_brings_the_card(run, zoo, tmp_path, monkeypatch):
    (tmp_path / "mnist.md").write_text("# card")
    monkeypatch.setattr("pvae_zoo.sources.pull.resources.files", lambda package: tmp_path)
    assert run("pull", "mnist", "--to", "copy").exit_code == 0
    assert (tmp_path / "copy" / "README.md").read_text() == "# card"


def test_pull_overwrites_no_other_bundle(run, zoo, make_tiny, tmp_path):
    other = make_tiny(image=(1, 8, 8, 2), latents=2).bundle
    shutil.copytree(other.folder, tmp_path / "there")
    result = run("pull", "mnist", "--to", "there")
    assert result.exit_code == 1 and "there and differs" in result.stderr and "--force" in result.stderr
    assert Bundle(tmp_path / "there").digest == other.digest
    assert run("pull", "mnist", "--to", "there", "--force").exit_code == 0
    assert Bundle(tmp_path / "there").digest == pvae_zoo.load("mnist").bundle.digest
    assert run("verify", "there").exit_code == 0


def test_a_full_disk_leaves_no_bundle(run, zoo, small_disk):
    (small_disk / "filler").write_bytes(bytes(60_000))
    result = run("pull", "mnist", "--to", small_disk / "copy")
    assert result.exit_code == 1 and "the disk is full" in result.stderr
    assert not (small_disk / "copy" / CONFIG).exists() and not list(small_disk.rglob("*.part"))


def test_pull_of_a_damaged_bundle_copies_nothing(run, flipped, tmp_path):
    result = run("pull", flipped, "--to", "copy")
    assert result.exit_code == 1 and "not what was published" in result.stderr and not (tmp_path / "copy").exists()
