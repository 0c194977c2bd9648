"""``reproduce``: the figures of the paper."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pvae_zoo.cli.options import json_option
from pvae_zoo.errors import PvaeZooError

if TYPE_CHECKING:
    from pvae_zoo.paper.reproduce import Reproduction

_NAMES = ("all", "table1", "figure3", "figure4", "figure5", "probe", "codecs", "samples")
_FOLDER = click.Path(path_type=Path)


@click.command("reproduce")
@click.argument("figure", type=click.Choice(_NAMES))
@click.option("--data", type=_FOLDER, help="Folder of the static binarised MNIST, for what is not measured yet.")
@click.option("--labels", type=_FOLDER, help="Folder of MNIST's idx files, for the probe of the latents.")
@click.option("--rooms", type=_FOLDER, help="Photos of rooms, a folder or zip, to compare codecs on.")
@click.option("--imagenet", type=_FOLDER, help="ImageNet-like photos, a folder or zip, to compare codecs on.")
@click.option("--rows-model", default="lsun", show_default=True, metavar="MODEL", help="The model of figure 5.")
@click.option("--out", type=_FOLDER, help="Where the page goes.  [default: docs; with --quick: runs/paper-quick]")
@click.option(
    "--runs", type=_FOLDER, default=Path("runs/paper"), show_default=True, help="Where models are trained, resumably."
)
@click.option("--quick", is_flag=True, help="The whole chain on tiny settings: tries everything, shows nothing.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True, help="Trains here.")
@click.option("--compile/--no-compile", "compile_model", help="Fuse the networks with torch.compile.")
@json_option
def reproduce_command(
    figure: str,
    data: Path | None,
    labels: Path | None,
    rooms: Path | None,
    imagenet: Path | None,
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
    hours for figure3. Training may be interrupted at any moment and goes on where it stood. With "all", a figure whose
    data or model are not here is left out with a word.

    \b
    Example:
        pvae-zoo reproduce figure4 --data data/binarized_mnist --compile
        pvae-zoo reproduce all --data data/binarized_mnist --labels data/mnist --quick
    """
    try:
        from pvae_zoo.paper.reproduce import FIGURES, Missing
    except ImportError as error:
        raise PvaeZooError(f'{error.name} is not installed: run pip install "pvae-zoo[paper]"') from error
    from pvae_zoo.atomic import atomic_write
    from pvae_zoo.paper.page import render_page
    from pvae_zoo.paper.results import load_results

    out = out or (Path("runs/paper-quick") if quick else Path("docs"))
    work = _reproduction(data, labels, rooms, imagenet, rows_model, out / "paper", runs, quick, device, compile_model)
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


def _reproduction(
    data: Path | None,
    labels: Path | None,
    rooms: Path | None,
    imagenet: Path | None,
    rows_model: str,
    out: Path,
    runs: Path,
    quick: bool,
    device: str,
    compile_model: bool,
) -> Reproduction:
    from pvae_zoo.cli.train import print_report
    from pvae_zoo.paper.measuring import Laboratory
    from pvae_zoo.paper.probe import Digits
    from pvae_zoo.paper.reproduce import Photos, Reproduction
    from pvae_zoo.paper.studies import FULL, QUICK

    laboratory = None
    if data is not None:
        digits = None if labels is None else Digits.load(labels)
        laboratory = Laboratory(data, digits, runs, device, compile_model, print_report)
    given = (("rooms", rooms, "lsun"), ("Tiny-ImageNet", imagenet, "imagenet64"))
    photos = tuple(Photos(name, path, model) for name, path, model in given if path is not None)
    return Reproduction(
        out, QUICK if quick else FULL, laboratory, photos, rows_model,
        say=lambda line: click.echo(line, err=True),
    )  # fmt: skip
