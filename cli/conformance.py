"""``conformance``: do other runtimes compute what the model is?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.cli.models import open_admitted
from pvae_zoo.cli.options import FiniteRange, json_option, model_argument, refuse
from pvae_zoo.cli.output import FAILED, echo, echo_json, table

if TYPE_CHECKING:
    from pvae_zoo.conformance.results import Matrix, RuntimeResult


@click.command("conformance")
@model_argument
@click.option(
    "--runtimes",
    metavar="A,B",
    help="Only these of onnxruntime, onnxruntime-floor (1.23.0), reference, tract, openvino, opencv, nxrt, mnn, iree, "
    "tvm, onnxruntime-node and onnxruntime-web.  [default: all]",
)
@click.option(
    "--node-folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    metavar="DIR",
    help="The folder whose node_modules hold the runtimes of npm.  "
    "[default: PVAE_ZOO_NODE_FOLDER, or where node looks]",
)
@click.option(
    "--python-folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    metavar="DIR",
    help="The folder with one more for each runtime that is not installed beside this package: pip install --target "
    "DIR/NAME PACKAGE.  [default: PVAE_ZOO_PYTHON_FOLDER]",
)
@click.option(
    "--seconds",
    type=FiniteRange(min=0, min_open=True),
    default=1200,
    show_default=True,
    metavar="S",
    help="The time that each runtime may take.",
)
@click.option(
    "--save", is_flag=True, help="Write the rows to the bundle's conformance.json; those of other runtimes stay there."
)
@click.option(
    "--card",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the model card, with the saved matrix, to this file.",
)
@json_option
def conformance_command(
    model: str,
    runtimes: str | None,
    node_folder: Path | None,
    python_folder: Path | None,
    seconds: float,
    save: bool,
    card: Path | None,
    as_json: bool,
) -> None:
    """Run every graph of MODEL, and a whole sample, in each ONNX runtime that is installed.

    Graphs must be within 2e-4 of the golden vectors and likelihoods within 1e-4 bits per dimension; 99 % of the
    pixels drawn from the golden noise must be onnxruntime's. Times are of the sample's runs, one thread each, as a
    multiple of onnxruntime's through the same loop; what a runtime takes to compile a graph is no part of them.
    Exits with 1 if something that is installed fails.

    onnxruntime-floor is the oldest that this package takes, and needs a folder of its own beside the newest.

    \b
    Example:
        pvae-zoo conformance mnist
        pvae-zoo conformance mnist --runtimes tract,opencv --json
        pvae-zoo conformance zoo/bundles/mnist --save --card model_cards/mnist.md
    """
    from pvae_zoo.base.atomic import atomic_write
    from pvae_zoo.cli.progress import progress_bar
    from pvae_zoo.conformance.matrix import measure
    from pvae_zoo.conformance.runtimes import chosen
    from pvae_zoo.conformance.stored import save_matrix
    from pvae_zoo.reporting.card import render_card
    from pvae_zoo.sources.registry import renew

    try:
        asked = chosen(runtimes)
    except PvaeZooError as error:
        raise click.UsageError(f"--runtimes: {error}") from error
    if not any(runtime.npm for runtime in asked):
        refuse("node_folder", because="none of --runtimes is one of npm")
    if all(runtime.npm for runtime in asked):
        refuse("python_folder", because="all of --runtimes are of npm")
    bundle = open_admitted(model)
    with progress_bar("runtimes") as progress:
        matrix = measure(
            bundle, asked, node_folder=node_folder, python_folder=python_folder, seconds=seconds, progress=progress
        )
    if save:
        save_matrix(bundle, matrix)
        renew(bundle)
    if card is not None:
        atomic_write(card, render_card(bundle, card.parent).encode())
    if as_json:
        rows = [asdict(row) | {"state": row.state} for row in matrix.runtimes]
        echo_json({"name": bundle.name, "ok": matrix.ok} | asdict(matrix) | {"runtimes": rows})
    else:
        _print(bundle.name, matrix)
    if not matrix.ok:
        click.get_current_context().exit(FAILED)


def _print(name: str, matrix: Matrix) -> None:
    from pvae_zoo.conformance.stored import failures_of

    echo(f"{name} on {matrix.machine}: {matrix.images} images, {matrix.values:,} values in the sample")
    roles = next(([graph.role for graph in row.graphs] for row in matrix.runtimes if row.graphs), [])
    installed = [row for row in matrix.runtimes if row.remedy is None]
    if installed:
        head = ("RUNTIME", "VERSION", *roles, "SAME PIXELS", "TIME", "")
        echo(table([head, *(_cells(row) for row in installed)], right=range(2, len(head) - 1)))
    for row in matrix.runtimes:
        for line in failures_of(row):
            echo(f"PROBLEM: {line}")
        if row.remedy is not None:
            echo(f"{row.name} is not installed: {row.remedy}")


def _cells(row: RuntimeResult) -> tuple[str, ...]:
    """A line of the table: of each graph the largest difference, with a ``!`` where that is too much."""
    from pvae_zoo.conformance.stored import share

    graphs = ("fails" if g.difference is None else f"{g.difference:.0e}" + "!" * (not g.ok) for g in row.graphs)
    equal = "-" if row.equal is None else share(row.equal)
    ratio = "-" if row.time_ratio is None else f"{row.time_ratio:.1f} x"
    return (row.name, row.version, *graphs, equal, ratio, row.state)
