import shutil

import pytest

import pvae_zoo
from pvae_zoo import registry
from pvae_zoo.errors import PvaeZooError
from pvae_zoo.registry import model_names, open_bundle, resolve


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


def test_a_name_that_is_a_folder_here_too_is_ambiguous(zoo, tmp_path, gates, monkeypatch):
    shutil.copytree(gates.bundle.folder, tmp_path / "mnist")
    assert error_of("mnist") == "'mnist' is both a model of the zoo and a folder here: write ./mnist for the folder"
    assert resolve("./mnist").samefile(tmp_path / "mnist")
    monkeypatch.chdir(zoo)
    assert resolve("mnist").samefile(zoo / "mnist")


def test_a_folder_without_a_bundle_does_not_hide_a_model(zoo, tmp_path):
    (tmp_path / "mnist").mkdir()
    assert resolve("mnist") == zoo / "mnist"
