"""``explain``: a program that samples without this package."""

from __future__ import annotations

import click

from pvae_zoo.cli.models import open_named
from pvae_zoo.cli.options import json_option, named_model
from pvae_zoo.cli.output import echo_json


@click.command("explain")
@named_model
@click.option(
    "--lang",
    type=click.Choice(["python", "javascript", "cpp", "rust"]),
    default="python",
    show_default=True,
    help="Language of the program.",
)
@json_option
def explain_command(model: str, lang: str, as_json: bool) -> None:
    """Print a complete program that draws an image of MODEL with a bare runtime, none of this package needed.

    It takes a seed, the picture to write (PGM or PPM) and the folder of the graphs, and gives the pixels of
    pvae-zoo sample with the same seed. Python and C++ use onnxruntime, JavaScript onnxruntime-node, or onnxruntime-web
    with its name changed, and Rust tract, through its C API. How to compile is said in the program.

    \b
    Example:
        pvae-zoo pull mnist --to mnist
        pvae-zoo explain mnist --lang python > sample.py && python sample.py 7 digit.pgm mnist
        pvae-zoo explain mnist --lang javascript > sample.mjs && node sample.mjs 7 digit.pgm mnist
        pvae-zoo explain mnist --lang cpp > sample.cpp
    """
    from pvae_zoo.explain.program import program

    config = open_named(model).config
    text = program(config, lang)
    if as_json:
        echo_json({"name": config.name, "lang": lang, "program": text})
    else:
        click.echo(text, nl=False)
