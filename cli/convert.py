"""``convert``: a bundle in other numbers."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pvae_zoo.cli.models import open_admitted
from pvae_zoo.cli.options import json_option, trust_option
from pvae_zoo.cli.output import echo, echo_json, table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pvae_zoo.contract.folder import Bundle

_IMAGES = 100


@click.command("convert")
@click.argument("bundle")
@click.option(
    "--precision",
    type=click.Choice(["float32", "float16", "float16-weights", "int8"]),
    required=True,
    help="In what numbers the graphs are to keep weights and compute.",
)
@click.option(
    "--images",
    type=click.Choice(["uint8", "float32"]),
    default="uint8",
    show_default=True,
    help="How the graphs are to take images; ncnn knows no uint8.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="DIR", help="A new folder.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help=f"Score {_IMAGES} validation images of this data set, not the model's own.",
)
@trust_option
@json_option
def convert_command(bundle: str, precision: str, images: str, out: Path, data: Path | None, as_json: bool) -> None:
    """Convert BUNDLE, a name of the zoo or a folder, to other numbers: a whole bundle, which all commands take.

    \b
    float32          every weight plain float32: what converters of other makers and some runtimes need
    float16-weights  large weights stored as float16, arithmetic in float32: half the size
    float16          the networks compute in float16, for GPUs; logits, sums and draws in float32
    int8             large weights as int8; the steps of sampling multiply in int8: a quarter of the size

    Both bundles then draw and score the same images, by default 16 that BUNDLE draws itself, and what changed is
    printed and stands in the card of the new one: size, bits per dimension, pixels, speed.

    \b
    Example:
        pvae-zoo convert lsun --precision float32 --out lsun-float32
        pvae-zoo convert mnist --precision int8 --out mnist-int8 --data data/binarized_mnist
        pvae-zoo sample --model ./mnist-int8
    """
    from pvae_zoo.conversion.convert import convert
    from pvae_zoo.reporting.differences import difference_rows, measured_how

    source = open_admitted(bundle)
    given = None if data is None else _images(source, data)
    made = convert(source, precision, out, float_images=images == "float32", given=given, say=_say)
    found = made.differences
    if as_json:
        echo_json({"bundle": str(out), "name": made.bundle.name, "precision": precision} | asdict(found))
        return
    echo(f"{out}: {made.bundle.name}, {made.bundle.config.numbers.words}\n")
    echo(table(difference_rows(found, source.name, made.bundle.name), right=(1, 2, 3)))
    echo(f"\n{measured_how(found)}")


def _say(what: str) -> None:
    if sys.stderr.isatty():
        echo(what, err=True)


def _images(bundle: Bundle, data: Path) -> tuple[NDArray[np.uint8], str]:
    """Validation images spread over the split, and whose they are."""
    from pvae_zoo.reporting.evaluation import chosen_images
    from pvae_zoo.reporting.measurement import seen_images

    split = seen_images(bundle, data, "valid")
    images = split.read(chosen_images(len(split), _IMAGES, 0), None)
    return images, f"of the validation split of {data.resolve().name}"
