"""``use``: the model that commands mean when none is named."""

from __future__ import annotations

import os

import click

from pvae_zoo.cli.options import json_option
from pvae_zoo.cli.output import echo, echo_json

_SOURCES = {
    "chosen": "pulled or chosen last",
    "default": "nothing else was pulled or chosen",
    "environment": "PVAE_ZOO_MODEL names it",
}


@click.command("use")
@click.argument("name", required=False, metavar="[NAME]")
@json_option
def use_command(name: str | None, as_json: bool) -> None:
    """Make NAME the current model: the one that every command means when none is named. Without NAME, say which it is.

    NAME is a model of the zoo, one that was pulled, or a folder. pvae-zoo pull makes what it brings the current model
    too. --model and the environment variable PVAE_ZOO_MODEL win over it.

    \b
    Example:
        pvae-zoo use lsun
        pvae-zoo use someone/their-pixelvae@v1
        pvae-zoo use
    """
    from pvae_zoo.sources.current import VARIABLE, current_model, make_current
    from pvae_zoo.sources.registry import open_bundle

    if name is not None:
        open_bundle(name)
        kept = make_current(name)
        if os.environ.get(VARIABLE):
            echo(f"Note: {VARIABLE} is set to {os.environ[VARIABLE]}, which wins until it is unset", err=True)
        if as_json:
            echo_json({"model": kept, "source": "chosen"})
        else:
            echo(f"{kept} is the current model now")
        return
    current = current_model()
    if current.note:
        echo(f"Note: {current.note}", err=True)
    if as_json:
        echo_json({"model": current.name, "source": current.source})
    else:
        echo(f"{current.name} is the current model: {_SOURCES[current.source]}")
