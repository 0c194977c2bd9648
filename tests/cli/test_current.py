"""The current model: what was pulled or chosen last is what commands mean, until somebody names another."""

import json
import os
import shutil
from pathlib import Path

import pytest

import pvae_zoo
from pvae_zoo.runtime.pictures import read_metadata
from pvae_zoo.sources.current import current_file, current_model, make_current

DEFAULTED = {
    "info": ["info", "--json"],
    "verify": ["verify", "--json"],
    "selftest": ["selftest", "--json"],
    "sample": ["sample", "--n", "1", "--out", "x.npy"],
    "nll": ["nll", "digits"],
    "vary": ["vary", "--n", "1", "--out", "x.npy"],
    "interpolate": ["interpolate", "--n", "1", "--out", "x.npy"],
    "reconstruct": ["reconstruct", "digits", "--out", "x.npy"],
    "complete": ["complete", "digits", "--rows", "4", "--out", "x.npy"],
    "explain": ["explain", "--json"],
    "conformance": ["conformance", "--runtimes", "onnxruntime", "--json"],
}


@pytest.fixture
def two(zoo, eight, monkeypatch):
    """A zoo of two models, whose bundles say their names."""
    shutil.copytree(eight.bundle.folder, zoo / "lsun")
    for name in ("mnist", "lsun"):
        config = json.loads((zoo / name / "config.json").read_text())
        (zoo / name / "config.json").write_text(json.dumps(config | {"name": name}))
    monkeypatch.setattr("pvae_zoo.trust.admission.admit", lambda bundle, trust=False: None)
    return zoo


def drawer(run, *options):
    return run("sample", "--n", "1", *options).stdout.split(" of ", 1)[1].split(" in ", 1)[0]


def test_without_anything_it_is_mnist(run, two):
    assert drawer(run) == "mnist" and not current_file().exists()
    assert run("use").stdout == "mnist is the current model: nothing else was pulled or chosen\n"


def test_what_was_pulled_is_what_is_used(run, two):
    assert run("pull", "lsun").stdout.endswith("lsun is the current model now: commands mean it when none is named\n")
    assert drawer(run) == "lsun"
    assert json.loads(run("pull", "mnist", "--json").stdout)["current"] == "mnist" and drawer(run) == "mnist"
    assert run("pull", "lsun", "--dry-run").exit_code == 0 and drawer(run) == "mnist"
    assert run("pull", "nosuch").exit_code == 1 and drawer(run) == "mnist"


def test_use_changes_it_and_list_marks_it(run, two):
    assert run("use", "lsun").stdout == "lsun is the current model now\n" and drawer(run) == "lsun"
    assert run("use").stdout == "lsun is the current model: pulled or chosen last\n"
    assert json.loads(run("use", "--json").stdout) == {"model": "lsun", "source": "chosen"}
    starred = [line.split()[0] for line in run("list").stdout.splitlines() if " * " in line]
    assert starred == ["lsun"]
    assert {m["name"]: m["current"] for m in json.loads(run("list", "--json").stdout)["models"]} == {
        "mnist": False, "lsun": True
    }  # fmt: skip
    result = run("use", "lsnu")
    assert result.exit_code == 1 and "did you mean 'lsun'?" in result.stderr and drawer(run) == "lsun"


def test_an_option_and_the_environment_win_over_it(run, two, monkeypatch):
    run("use", "lsun")
    assert drawer(run, "--model", "mnist") == "mnist"
    monkeypatch.setenv("PVAE_ZOO_MODEL", "mnist")
    assert drawer(run) == "mnist" and drawer(run, "--model", "lsun") == "lsun"
    assert run("use").stdout == "mnist is the current model: PVAE_ZOO_MODEL names it\n"
    assert "PVAE_ZOO_MODEL is set to mnist, which wins" in run("use", "lsun").stderr
    monkeypatch.setenv("PVAE_ZOO_MODEL", "")
    assert drawer(run) == "lsun"


@pytest.mark.parametrize("name", DEFAULTED)
def test_every_command_means_it_and_names_it(run, two, folder, name):
    run("use", "lsun")
    result = run(*DEFAULTED[name])
    assert result.exit_code == 0 and "lsun" in result.output and "mnist" not in result.output


@pytest.mark.parametrize("name", DEFAULTED)
def test_a_run_that_names_its_model_does_not_look(run, model, folder, monkeypatch, name):
    monkeypatch.setattr("pvae_zoo.sources.current.current_model", lambda: pytest.fail("it looked"))
    first, *rest = DEFAULTED[name]
    named = [model] if name in ("info", "verify", "selftest", "explain", "conformance") else ["--model", model]
    assert run(first, *named, *rest).exit_code == 0


def test_a_picture_notes_the_model_that_was_meant(run, two):
    run("use", "lsun")
    for line in (["vary", "--n", "1", "--out", "x.png"], ["sample", "--n", "1", "--out", "x.png"]):
        run(*line)
        assert "--model lsun" in read_metadata("x.png")["command"]


def test_a_folder_is_meant_from_anywhere(run, two, eight, tmp_path, monkeypatch):
    shutil.copytree(eight.bundle.folder, tmp_path / "mine")
    assert run("use", "./mine").stdout == f"{tmp_path / 'mine'} is the current model now\n"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert drawer(run) == "tiny"
    row = run("list").stdout.splitlines()[-1]
    assert row.startswith(f"{tmp_path / 'mine'} * ")
    shutil.rmtree(tmp_path / "mine")
    for line in (["sample"], ["info"]):
        result = run(*line)
        assert result.exit_code == 1 and "it is the current model: pvae-zoo use NAME changes that" in result.stderr
    result = run("list")
    assert result.exit_code == 0 and "mine is left out: " in result.stderr
    monkeypatch.setenv("PVAE_ZOO_MODEL", "nosuch")
    assert "(PVAE_ZOO_MODEL names it)" in run("sample").stderr


def test_the_python_interface_does_not_look(two):
    make_current("lsun")
    assert pvae_zoo.load("mnist").name == "mnist" and pvae_zoo.load().name == "mnist"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"model": 3}', '{"model": ""}', '{"model": "\\u001b[2J"}', "[" * 10_000]
)
def test_a_damaged_note_is_a_line_and_mnist(run, two, text):
    current_file().parent.mkdir(parents=True, exist_ok=True)
    current_file().write_text(text)
    result = run("sample", "--n", "1")
    assert result.exit_code == 0 and " of mnist in " in result.stdout
    assert result.stderr == f"Note: {current_file()} is damaged, so mnist is meant: pvae-zoo use NAME mends it\n"
    assert run("use", "lsun").exit_code == 0 and drawer(run) == "lsun"


def test_a_pull_where_nothing_can_be_kept_is_a_pull(run, two, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr("pvae_zoo.sources.current.current_file", lambda: tmp_path / "file" / "current.json")
    result = run("pull", "lsun")
    assert result.exit_code == 0 and "Note: the current model stays what it was: cannot write" in result.stderr
    assert "is the current model now" not in result.stdout and current_model().name == "mnist"
    assert run("use", "lsun").exit_code == 1


def test_it_is_kept_with_the_cache_of_the_hub(run, two):
    run("use", "lsun")
    kept = current_file()
    assert kept.is_relative_to(Path(os.environ["HF_HOME"])) and json.loads(kept.read_text()) == {"model": "lsun"}
    assert [path.name for path in kept.parent.iterdir() if path.is_file()] == [kept.name]


def test_a_folder_named_like_a_model_is_in_nobodys_way(run, two, folder):
    assert run("pull", "mnist", "--to", "mnist").exit_code == 0
    for line in (["list"], ["doctor", "--offline"], ["info", "mnist"], ["explain", "mnist"], *DEFAULTED.values()):
        result = run(*line)
        assert result.exit_code == 0, result.output
    assert json.loads(run("info", "mnist", "--json").stdout)["path"] == str(two / "mnist")
    assert json.loads(run("info", "./mnist", "--json").stdout)["path"] == "mnist"
    Path("lsun").mkdir()
    Path("lsun", "config.json").write_text("{")
    assert run("sample", "--model", "lsun", "--n", "1").exit_code == 0
