"""``explain``: how the graphs are driven, and programs that sample without this package."""

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
    help="Print a program in this language instead, which draws an image.",
)
@json_option
def explain_command(model: str, lang: str | None, as_json: bool) -> None:
    """Print how the graphs of MODEL are driven, or a complete program that does it, none of this package needed.

    Without --lang: in words and pseudocode what goes into the graphs and what comes out, the noise, the positions of
    each step, and the loops that draw, score and complete images. The same text stands in the bundle's README.

    A program takes a seed, the picture to write (PGM or PPM) and the folder of the graphs, and gives the pixels of
    pvae-zoo sample with the same seed. Python and C++ use onnxruntime, JavaScript onnxruntime-node, or onnxruntime-web
    with its name changed, and Rust tract, through its C API. How to compile is said in the program.

    \b
    Example:
        pvae-zoo explain mnist
        pvae-zoo pull mnist --to mnist
        pvae-zoo explain mnist --lang python > sample.py && python sample.py 7 digit.pgm mnist
        pvae-zoo explain mnist --lang javascript > sample.mjs && node sample.mjs 7 digit.pgm mnist
        pvae-zoo explain mnist --lang cpp > sample.cpp
    """
    from pvae_zoo.explain.guide import guide, guide_text
    from pvae_zoo.explain.program import program

    config = open_named(model).config
    text = program(config, lang) if lang else guide_text(config)
    if not as_json:
        click.echo(text, nl=False)
    elif lang:
        echo_json({"name": config.name, "lang": lang, "program": text})
    else:
        echo_json({"name": config.name, "guide": guide(config)})
