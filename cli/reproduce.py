"""``reproduce``: the figures of the paper."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.cli.options import json_option, training_device_option

if TYPE_CHECKING:
    from pvae_zoo.paper.measuring import Laboratory
    from pvae_zoo.paper.training import Workshop

_NAMES = ("all", "table1", "figure3", "figure4", "figure5", "probe", "codecs", "samples", "latents")
_FOLDER = click.Path(path_type=Path)


def _budgets(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...]:
    numbers = [] if value is None else value.split(",")
    if not all(number.strip().isascii() and number.strip().isdecimal() and int(number) for number in numbers):
        raise click.BadParameter(f"{value!r} must be numbers of images with commas between them, such as 3000,12000")
    return tuple(sorted({int(number) for number in numbers}))


@click.command("reproduce")
@click.argument("figure", type=click.Choice(_NAMES))
@click.option("--data", type=_FOLDER, help="Folder of the static binarised MNIST, for what is not measured yet.")
@click.option("--labels", type=_FOLDER, help="Folder of MNIST's idx files, for the probe of the latents.")
@click.option(
    "--rooms",
    type=_FOLDER,
    multiple=True,
    help="Photos of rooms, a folder or zip, to compare codecs on; may be given several times.",
)
@click.option("--photos", type=_FOLDER, help="Photos of all kinds, a folder or zip, for codecs and latents.")
@click.option(
    "--images",
    callback=_budgets,
    metavar="A,B",
    help="Training images of the models of latents, a pair for each number.  [default: 3000,12000]",
)
@click.option("--rows-model", default="lsun", show_default=True, metavar="MODEL", help="The model of figure 5.")
@click.option("--out", type=_FOLDER, help="Where the page goes.  [default: docs; with --quick: runs/paper-quick]")
@click.option(
    "--runs", type=_FOLDER, default=Path("runs/paper"), show_default=True, help="Where models are trained, resumably."
)
@click.option("--quick", is_flag=True, help="The whole chain on tiny settings: tries everything, shows nothing.")
@training_device_option
@click.option("--compile/--no-compile", "compile_model", help="Fuse the networks with torch.compile.")
@json_option
def reproduce_command(
    figure: str,
    data: Path | None,
    labels: Path | None,
    rooms: tuple[Path, ...],
    photos: Path | None,
    images: tuple[int, ...],
    rows_model: str,
    out: Path | None,
    runs: Path,
    quick: bool,
    device: str,
    compile_model: bool,
    as_json: bool,
) -> None:
    """Make FIGURE of the PixelVAE paper again, or all of them, and write the page that shows them.

    What is stored in OUT/paper/results.json is only drawn again; what is not is trained and measured first, which takes
    hours for figure3 and latents. Training may be interrupted at any moment and goes on where it stood. With "all", a
    figure whose data or model are not here is left out with a word.

    \b
    Example:
        pvae-zoo reproduce figure4 --data data/binarized_mnist --compile
        pvae-zoo reproduce codecs --rooms data/rooms64.zip --rooms data/rooms96.zip --photos data/photos64.zip
        pvae-zoo reproduce latents --photos data/photos64.zip --images 3000,12000 --compile
        pvae-zoo reproduce all --data data/binarized_mnist --labels data/mnist --quick
    """
    try:
        from pvae_zoo.paper.reproduce import FIGURES, Missing, Photos, Reproduction
    except ImportError as error:
        raise PvaeZooError(f'{error.name} is not installed: run pip install "pvae-zoo[paper]"') from error
    from pvae_zoo.base.atomic import atomic_write
    from pvae_zoo.cli.train import print_report
    from pvae_zoo.paper.latents import FULL_LATENTS, QUICK_LATENTS
    from pvae_zoo.paper.page import render_page
    from pvae_zoo.paper.results import load_results
    from pvae_zoo.paper.studies import FULL, QUICK
    from pvae_zoo.paper.training import Workshop

    out = out or (Path("runs/paper-quick") if quick else Path("docs"))
    workshop, latents = Workshop(runs, device, compile_model, print_report), QUICK_LATENTS if quick else FULL_LATENTS
    work = Reproduction(
        out / "paper",
        QUICK if quick else FULL,
        replace(latents, images=images or latents.images),
        workshop,
        _laboratory(data, labels, workshop),
        rooms=tuple(Photos(path, "lsun") for path in rooms),
        photos=None if photos is None else Photos(photos, "imagenet64"),
        rows_model=rows_model,
        say=lambda line: click.echo(line, err=True),
    )
    drawn: dict[str, list[str]] = {}
    left_out: dict[str, str] = {}
    for name in FIGURES if figure == "all" else (figure,):
        try:
            drawn[name] = [str(path) for path in work.make(name)]
        except Missing as error:
            if figure != "all":
                raise
            left_out[name] = str(error)
            click.echo(f"{name}: left out, {error}", err=True)
    page = out / "paper.md"
    results = load_results(work.out, work.budget.name)
    atomic_write(page, render_page(results, work.budget, work.out, "paper").encode())
    if as_json:
        click.echo(json.dumps({"page": str(page), "figures": drawn, "left_out": left_out}))
        return
    for paths in drawn.values():
        for path in paths:
            click.echo(path)
    click.echo(page)


def _laboratory(data: Path | None, labels: Path | None, workshop: Workshop) -> Laboratory | None:
    """Where models of digits are measured; None without digits."""
    from pvae_zoo.paper.measuring import Laboratory
    from pvae_zoo.paper.probe import Digits

    return None if data is None else Laboratory(data, None if labels is None else Digits.load(labels), workshop)
