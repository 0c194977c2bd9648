"""An option that would do nothing is refused in one line; without it the same line is accepted."""

import shutil

import pytest

from pvae_zoo.contract.folder import Bundle


@pytest.mark.parametrize(
    ("line", "idle"),
    [
        (["nll", "digits", "--workers", "2"], "--workers"),
        (["nll", "digits", "--per-part", "1000"], "--per-part"),  # its default, and yet it was asked for
        (["nll", "digits", "--ray-address", "auto"], "--ray-address"),
        (["nll", "digits", "--shard", "1/2", "--out", "parts", "--workers", "2", "--per-part", "9"], None),
        (["pull", "mnist", "--force"], "--force"),
        (["pull", "mnist", "--repair"], "--repair"),
        (["pull", "./bundle", "--repair"], "--repair"),
        (["pull", "mnist", "--dry-run", "--force"], "--force"),
        (["pull", "mnist", "--dry-run", "--to", "x"], "--to"),
        (["pull", "mnist", "--dry-run", "--offline"], "--offline"),
        (["pull", "mnist", "--dry-run", "--repair"], "--repair"),
        (["conformance", "--runtimes", "reference", "--node-folder", "."], "--node-folder"),
        (["web", "--out", "site", "--port", "80"], "--port"),
        (["web", "--out", "site", "--host", "0.0.0.0"], "--host"),
        (["web", "--out", "site", "--open"], "--open"),
    ],
)
def test_it_is_refused_before_anything_is_done(run, zoo, folder, tmp_path, line, idle):
    shutil.copytree(zoo / "mnist", tmp_path / "bundle")
    before = sorted(tmp_path.rglob("*"))
    result = run(*line)
    assert (result.exit_code, result.stdout) == (2, "") and sorted(tmp_path.rglob("*")) == before
    said = "Error: --workers and --per-part would do nothing: " if idle is None else f"{idle} would do nothing: "
    assert said in result.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "line",
    [
        ["nll", "digits"],
        ["nll", "digits", "--shard", "1/2", "--out", "parts"],
        ["nll", "digits", "--ray", "--out", "parts"],
        ["reconstruct", "digits"],
        ["complete", "digits", "--rows", "3"],
        ["interpolate", "digits/a.png", "digits/b.png"],
    ],
)
@pytest.mark.parametrize(("option", "why"), [("--convert", "takes colour"), ("--binarize", "has 4 levels")])
def test_what_never_makes_an_image_fit_is_refused(run, levels, folder, line, option, why):
    result = run(*line, "--model", levels.bundle.folder, option, *(["9"] if option == "--binarize" else []))
    assert (result.exit_code, result.stdout) == (2, "")
    last = result.stderr.splitlines()[-1]
    assert f"Error: {option} would do nothing: " in last and why in last
    assert not [path for path in folder.parent.iterdir() if path != folder]


@pytest.mark.parametrize(
    ("line", "idle"),
    [
        (["digits/a.png", "digits/b.png", "--n", "4"], "--n"),
        (["--resize", "--enlarge"], "--enlarge and --resize"),
        (["--binarize", "9"], "--binarize"),
        (["--convert"], "--convert"),
    ],
)
def test_interpolate_takes_what_goes_with_images_or_with_draws(run, model, folder, line, idle):
    result = run("interpolate", "--model", model, *line)
    assert (result.exit_code, result.stdout) == (2, "") and not list(folder.parent.glob("*.png"))
    said = result.stderr.splitlines()[-1]
    assert "would do nothing: " in said and all(option in said for option in idle.split(" and "))


def test_what_makes_images_fit_is_accepted_where_it_may(run, model, folder):
    for option in (["--convert"], ["--binarize", "9"]):
        assert run("reconstruct", folder, "--model", model, *option).exit_code == 0


def test_without_it_the_line_is_accepted(run, zoo, folder):
    for line in (["nll", "digits"], ["pull", "mnist"], ["pull", "mnist", "--dry-run"], ["pull", "mnist", "--offline"]):
        assert run(*line).exit_code == 0, line
    assert run("pull", "mnist", "--to", "copy", "--force").exit_code == 0 and Bundle(zoo / "mnist").name == "tiny"
