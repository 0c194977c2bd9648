"""The page of all commands, ``docs/commands.md``, made of their help: ``python -m pvae_zoo.cli.reference``."""

from __future__ import annotations

import sys

import click

from pvae_zoo.cli.app import COMMANDS, cli

_HEAD = """# The commands

What `pvae-zoo NAME --help` says of each. This page is written by `python -m pvae_zoo.cli.reference > docs/commands.md`
and tested against the help.
"""
_WIDTH = 100


def reference() -> str:
    """The page as Markdown: a list of the commands, then a section for each."""
    listed = [f"- [{name}](#{name}): {line}" for name, (_, _, line) in COMMANDS.items()]
    sections = [f"## {name}\n\n```text\n{help_of(name)}\n```" for name in COMMANDS]
    return "\n\n".join([_HEAD.strip(), "\n".join(listed), *sections]) + "\n"


def help_of(name: str) -> str:
    """The help of a command in a terminal that is 100 columns wide."""
    above = click.Context(cli, info_name="pvae-zoo", terminal_width=_WIDTH, max_content_width=_WIDTH)
    command = cli.get_command(above, name)
    if command is None:
        raise KeyError(name)
    with click.Context(
        command, parent=above, info_name=name, terminal_width=_WIDTH, help_option_names=["-h", "--help"]
    ) as context:
        return command.get_help(context).replace("\b\n", "").rstrip()


if __name__ == "__main__":
    sys.stdout.write(reference())
