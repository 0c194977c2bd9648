import json
import shutil
from pathlib import Path

import pvae_zoo
from pvae_zoo.contract.folder import CONFIG, Bundle
from pvae_zoo.contract.licence import MIT


def test_pull_says_where_a_shipped_model_is(run, zoo):
    result = run("pull", "mnist")
    assert result.exit_code == 0 and f"tiny is at {zoo / 'mnist'}" in result.stdout and "hashes hold" in result.stdout


def test_pull_copies_a_bundle_that_works(run, zoo, eight):
    found = json.loads(run("pull", "mnist", "--to", "a/b", "--json").stdout)
    assert found["path"] == "a/b" and found["sha256"] == eight.bundle.digest
    assert pvae_zoo.load("a/b").sample(1).shape == (1, 1, 8, 8)
    assert run("pull", "mnist", "--to", "a/b").exit_code == 0  # the same again


def test_pull_leaves_a_folder_that_stands_alone(run, zoo, tmp_path, monkeypatch):
    links = ("![Samples](pictures/mnist-samples.png)", "![Gone](pictures/gone.png)", "![Up](../secret.png)")
    (tmp_path / "mnist.md").write_text("\n".join(links))
    (tmp_path / "secret.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    shutil.copytree(Path(pvae_zoo.__file__).parent / "model_cards" / "pictures", tmp_path / "pictures")
    monkeypatch.setattr("pvae_zoo.sources.standing.resources.files", lambda package: tmp_path)
    copied = tmp_path / "copies" / "mnist"
    assert run("pull", "mnist", "--to", copied).exit_code == 0
    assert (copied / "README.md").read_text() == f"{links[0]}\nGone\nUp"
    assert (copied / "LICENSE").read_text() == MIT
    names = [path.name for path in copied.rglob("*") if path.is_file() and path.suffix not in (".onnx", ".json")]
    assert sorted(names) == ["LICENSE", "README.md", "golden.npz", "mnist-samples.png"]
    assert run("pull", copied, "--to", tmp_path / "copies" / "again").exit_code == 0  # a copy of a copy is the same
    assert (tmp_path / "copies/again/pictures/mnist-samples.png").is_file()


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
