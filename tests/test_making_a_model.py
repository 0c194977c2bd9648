"""The page for makers: its recipe, its mathematics and its commands, as they stand there, with fewer steps."""

import re
import shlex
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from pvae_zoo.cli.app import cli
from pvae_zoo.contract.folder import Bundle
from pvae_zoo.reporting.evaluation import stored_evaluations

PAGE = (Path(__file__).parents[1] / "docs" / "making-a-model.md").read_text("utf-8")
COMMANDS = re.findall(r"^    (pvae-zoo .*)$", PAGE, re.MULTILINE)


def block(language):
    return re.search(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[1]


@pytest.fixture
def maker(tmp_path, monkeypatch):
    """A folder with the recipe, of few steps, and a data set of 12 images."""
    monkeypatch.chdir(tmp_path)
    recipe = block("toml").replace("steps = 3000", "steps = 6").replace("validate_every = 1000", "validate_every = 3")
    (tmp_path / "small.toml").write_text(
        recipe.replace("steps = 1500", "steps = 2").replace("batch_size = 32", "batch_size = 4")
    )
    (tmp_path / "DATA").mkdir()
    rows = np.random.default_rng(0).integers(0, 2, (12, 784))
    for split in ("train", "valid", "test"):
        np.savetxt(tmp_path / "DATA" / f"binarized_mnist_{split}.amat", rows, fmt="%d")
    return tmp_path


def test_the_mathematics_is_what_the_code_computes(maker):
    exec(block("python"), {})


def test_the_commands_lead_from_a_recipe_to_a_bundle(maker):
    made = [command for command in COMMANDS if not re.match(r"pvae-zoo (push|pull)", command)]
    assert len(made) == 5
    for command in made:
        result = CliRunner().invoke(cli, shlex.split(command)[1:])
        assert result.exit_code == 0, f"{command}\n{result.output}"
    assert (maker / "small.png").is_file()
    assert stored_evaluations(Bundle(maker / "small"))
    assert "-ELBO" in (maker / "small" / "README.md").read_text("utf-8")


@pytest.mark.parametrize("command", [command for command in COMMANDS if re.match(r"pvae-zoo (push|pull)", command)])
def test_those_that_need_the_hub_are_spelled_right(command):
    """What they do is tested with a Hub of our own in tests/zoo/sources/hub."""
    name, *words = shlex.split(command)[1:]
    found = cli.get_command(click.Context(cli), name)
    assert found is not None
    found.make_context(name, words, parent=click.Context(cli, help_option_names=["-h", "--help"]))
