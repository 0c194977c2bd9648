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


def test_without_it_the_line_is_accepted(run, zoo, folder):
    for line in (["nll", "digits"], ["pull", "mnist"], ["pull", "mnist", "--dry-run"], ["pull", "mnist", "--offline"]):
        assert run(*line).exit_code == 0, line
    assert run("pull", "mnist", "--to", "copy", "--force").exit_code == 0 and Bundle(zoo / "mnist").name == "tiny"
