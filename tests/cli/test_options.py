"""The tree of commands, walked: every command explains itself, and every option is tried with a wrong value."""

import re

import click
import pytest

from pvae_zoo.cli.app import COMMANDS, cli

NOWHERE = "/dev/null/x"
"""No file, no folder, no model, no name."""


def command(name):
    return cli.get_command(click.Context(cli), name)


OPTIONS = [
    pytest.param(name, param, id=f"{name} {param.opts[0]}")
    for name in COMMANDS
    for param in command(name).params
    if isinstance(param, click.Option)
]


def wrong_values(param):
    """Values that an option cannot have, whatever else stands on the line; none for paths and names."""
    if param.is_flag:
        return ["yes"]
    if isinstance(param.type, click.Choice):
        return ["", "x"]
    if isinstance(param.type, click.types.IntParamType):
        return ["", "x", "0x10", "nan", "1.5", "1" * 5000, "-1"]
    if isinstance(param.type, click.types.FloatParamType):
        return ["", "x", "-1"]
    return ["", "x", "0/3", "4/3"] if param.name == "shard" else []


PLACES = [case for case in OPTIONS if not wrong_values(case.values[1])]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_explains_itself(run, name):
    text = run(name, "--help").stdout
    assert text.startswith(f"Usage: pvae-zoo {name} ") and f"pvae-zoo {name}" in text.split("Example:\n")[1]
    first = command(name).help.split("\n\n")[0]
    assert first.endswith(".") and first[0].isupper()
    assert COMMANDS[name][2].endswith((".", "?")) and COMMANDS[name][2][0].isupper()


@pytest.mark.parametrize(("name", "param"), OPTIONS)
def test_an_option_is_explained_by_a_whole_sentence(name, param):
    text = re.sub(r"  \[default: .*\]$", "", param.help or "")
    assert text.endswith(".") and not text.startswith(("Of ", "That ", "Whose which", "With which ")), text
    assert ("  " not in text and text[0] == text[0].upper()) or text.startswith("x.png")


@pytest.mark.parametrize(("name", "param"), OPTIONS)
def test_a_wrong_value_is_one_line_and_exit_code_2(run, zoo, plain, files, name, param):
    before = files()
    for wrong in wrong_values(param):
        result = run(*plain(name), f"{param.opts[0]}={wrong}")
        assert (result.exit_code, result.stdout) == (2, ""), (wrong, result.output)
        *usage, line = result.stderr.splitlines()
        assert line.startswith("Error: ") and not any("Error" in text or "Traceback" in text for text in usage)
        assert files() == before


@pytest.mark.parametrize(("name", "param"), PLACES)
def test_a_place_that_cannot_be_is_one_line(run, zoo, plain, folder, tmp_path, name, param):
    """Of paths and names only the work knows whether they are right."""
    folder.rename(tmp_path / "images")
    line = [*plain(name), f"{param.opts[0]}={NOWHERE}"]
    if param.name in ("ray_address", "license", "rows_model"):
        line.append("--no-such-option")  # any text is right
    result = run(*line)
    assert result.exit_code in (1, 2), result.output
    assert result.stderr.splitlines()[-1].startswith("Error: ") and "unexpected" not in result.stderr
