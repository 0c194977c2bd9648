"""Every command explains itself, and the README knows it."""

import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pvae_zoo.cli.app import COMMANDS, cli
from pvae_zoo.cli.reference import reference

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")


def command(name):
    found = cli.get_command(click.Context(cli), name)
    assert found is not None
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_help_with_an_example(name):
    for flag in ("-h", "--help"):
        result = CliRunner().invoke(cli, [name, flag])
        assert result.exit_code == 0
    example = result.output.split("Example:\n", 1)[1].split("\n\n", 1)[0]
    assert f"pvae-zoo {name}" in example
    assert command(name).name == name and command(name).help.splitlines()[0].endswith((".", ":"))


@pytest.mark.parametrize("name", COMMANDS)
def test_an_example_uses_options_that_exist(name):
    options = {option for parameter in command(name).params for option in parameter.opts}
    example = command(name).help.split("Example:\n", 1)[1]
    for line in re.sub(r"\\\n\s*", "", example).splitlines():
        if f"pvae-zoo {name}" in line:
            assert set(re.findall(r"(?<= )--[a-z-]+", line)) <= options


@pytest.mark.parametrize("name", COMMANDS)
def test_an_option_has_help(name):
    for parameter in command(name).params:
        if isinstance(parameter, click.Option):
            assert parameter.help or isinstance(parameter.type, click.Choice), parameter.name


@pytest.mark.parametrize("name", COMMANDS)
def test_the_readme_names_every_command(name):
    assert f"`pvae-zoo {name}" in README


def test_the_readme_names_no_other_command():
    named = set(re.findall(r"pvae-zoo ([a-z]+)", README))
    assert named - {"is"} <= set(COMMANDS)  # "pvae-zoo is a zoo"


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "train"])
def test_what_reports_can_print_json(name):
    assert any("--json" in parameter.opts for parameter in command(name).params)


def test_the_page_of_commands_is_their_help():
    page = (Path(__file__).parents[1] / "docs" / "commands.md").read_text("utf-8")
    assert page == reference(), "run python -m pvae_zoo.cli.reference > docs/commands.md"
    for name in COMMANDS:
        assert f"\n## {name}\n" in page and f"Usage: pvae-zoo {name} " in page
