import re
import shutil
from pathlib import Path

import pytest

import pvae_zoo
from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.folder import Bundle, file_spec
from pvae_zoo.sources import registry
from pvae_zoo.sources.registry import identify, known_names, model_names, open_bundle, read_registry, register, resolve


@pytest.fixture
def zoo(gates, tmp_path, monkeypatch):
    """A zoo of four models; a folder of it without a config is none."""
    folder = tmp_path / "bundles"
    for name in ("mnist-upsample", "mnist", "faces", "birds"):
        shutil.copytree(gates.bundle.folder, folder / name)
    (folder / "half-made").mkdir()
    monkeypatch.setattr(registry, "bundles_folder", lambda: folder)
    monkeypatch.chdir(tmp_path)
    return folder


def error_of(model):
    with pytest.raises(PvaeZooError) as caught:
        resolve(model)
    return str(caught.value)


def test_models_are_listed_by_name_the_default_first(zoo):
    assert model_names() == pvae_zoo.list_models() == ["mnist", "birds", "faces", "mnist-upsample"]


def test_a_model_is_found_by_its_name(zoo):
    assert resolve("faces") == zoo / "faces"
    assert open_bundle("faces").folder == zoo / "faces"


def test_a_bundle_is_found_by_its_path(zoo, tmp_path, gates):
    shutil.copytree(gates.bundle.folder, tmp_path / "mine")
    for path in (str(tmp_path / "mine"), "mine", "./mine", "mine/"):
        assert resolve(path).samefile(tmp_path / "mine")


@pytest.mark.parametrize("wrong", ["mnits", "mnist-upsampel", "face"])
def test_the_nearest_name_is_suggested(zoo, wrong):
    right = {"mnits": "mnist", "mnist-upsampel": "mnist-upsample", "face": "faces"}[wrong]
    assert error_of(wrong) == (
        f"no model {wrong!r}: did you mean {right!r}? (or give the folder of a bundle; see pvae-zoo list)"
    )


def test_without_a_near_name_all_are_listed(zoo):
    assert error_of("qqqqqq") == (
        "no model 'qqqqqq': the zoo holds mnist, birds, faces, mnist-upsample "
        "(or give the folder of a bundle; see pvae-zoo list)"
    )


def test_a_folder_that_is_no_bundle_is_said_to_be_none(zoo, tmp_path):
    (tmp_path / "empty").mkdir()
    assert error_of("empty") == "the folder 'empty' is no bundle: it has no config.json"
    assert error_of("half-made").startswith("no model 'half-made'")


def test_a_name_of_the_zoo_means_the_zoo_whatever_lies_here(zoo, tmp_path, gates, monkeypatch):
    shutil.copytree(gates.bundle.folder, tmp_path / "mnist")
    assert resolve("mnist") == zoo / "mnist"
    assert resolve("./mnist").samefile(tmp_path / "mnist") and resolve("mnist/").samefile(tmp_path / "mnist")
    monkeypatch.chdir(zoo)
    assert resolve("mnist").samefile(zoo / "mnist")


def test_a_folder_without_a_bundle_does_not_hide_a_model(zoo, tmp_path):
    (tmp_path / "mnist").mkdir()
    assert resolve("mnist") == zoo / "mnist"


# ---- the Hub's cache ----


@pytest.fixture
def cached(gates, tmp_path, monkeypatch):
    """A cache with org/repo at a commit that main and v1 name; the snapshot's folder."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    repo = tmp_path / "cache" / "models--org--repo"
    (repo / "refs").mkdir(parents=True)
    for name in ("main", "v1"):
        (repo / "refs" / name).write_text("c" * 40)
    return Path(shutil.copytree(gates.bundle.folder, repo / "snapshots" / ("c" * 40)))


@pytest.mark.parametrize(
    "text", ["org/repo", "hf://org/repo", "org/repo@v1", f"org/repo@{'c' * 40}", f"org/repo@{'c' * 8}"]
)
def test_a_pulled_repository_is_found(zoo, cached, text):
    assert resolve(text) == cached


def test_a_repository_that_was_not_pulled_says_how_to(zoo, cached):
    assert error_of("org/other") == "org/other has not been pulled: run pvae-zoo pull org/other"
    assert error_of("org/repo@v2") == "org/repo@v2 has not been pulled: run pvae-zoo pull org/repo@v2"


def test_a_folder_and_a_pulled_repository_of_one_name_are_ambiguous(zoo, cached, gates, tmp_path):
    shutil.copytree(gates.bundle.folder, tmp_path / "org" / "repo")
    shutil.copytree(gates.bundle.folder, tmp_path / "org" / "other")
    assert "write ./org/repo or hf://org/repo" in error_of("org/repo")
    assert resolve("./org/repo").samefile(tmp_path / "org" / "repo") and resolve("hf://org/repo") == cached
    # The Hub is not asked, so what was not pulled is no rival; when pulling it would be.
    assert resolve("org/other").samefile(tmp_path / "org" / "other")
    with pytest.raises(PvaeZooError, match=re.escape("write ./org/other or hf://org/other")):
        identify("org/other", pulling=True)


# ---- what the registry vouches for ----


def test_a_registered_bundle_is_pinned_wherever_it_lies(zoo, tmp_path):
    entry = register(open_bundle("faces"), license="mit")
    assert read_registry()["faces"] == entry and entry.repo is None
    assert {file.file for file in entry.files} >= {"config.json", "encoder.onnx", "golden.npz"}
    copy = Path(shutil.copytree(zoo / "faces", tmp_path / "elsewhere"))
    assert Bundle(copy).config_sha256 in {entry.config_sha256 for entry in read_registry().values()}


def test_registering_keeps_the_others(zoo):
    register(open_bundle("faces"), license="mit")
    register(open_bundle("birds"), license="cc0-1.0", repo="org/birds", commit="c" * 40)
    assert list(read_registry()) == ["birds", "faces"] and known_names() == model_names()
    assert read_registry()["birds"].commit == "c" * 40


def test_a_published_model_that_does_not_ship_is_pulled_from_its_commit(zoo, cached):
    register(open_bundle("birds"), license="mit", repo="org/repo", commit="c" * 40)
    shutil.rmtree(zoo / "birds")
    assert "birds" in known_names() and "birds" not in model_names() and resolve("birds") == cached
    assert resolve("birds@v1") == cached
    assert error_of("birds@v2") == "org/repo@v2 has not been pulled: run pvae-zoo pull birds@v2"


def test_an_unpublished_model_has_no_revisions(zoo):
    assert error_of("faces@v1") == "faces@v1: the model is not published anywhere: pull faces, which ships with this"


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"models": {"faces": {}}}', '{"models": {"faces": {"files": 3}}}'])
def test_a_damaged_registry_is_one_line(zoo, text):
    (zoo / "registry.json").write_text(text)
    with pytest.raises(PvaeZooError, match=r"registry.json cannot be read .*: install the package again"):
        read_registry()


def test_the_registry_of_the_package_is_up_to_date():
    """The figures, the graphs and the contract of every shipped model are those that the registry vouches for."""
    folder = registry.bundles_folder()
    entries = read_registry(folder)
    assert set(entries) == {path.parent.name for path in folder.glob("*/config.json")}
    for name, entry in entries.items():
        assert entry.license
        for spec in entry.files:
            assert file_spec(folder / name / spec.file) == spec
