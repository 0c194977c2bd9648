"""``nll``: score images."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from pvae_zoo.cli.options import (
    batch_size_option,
    device_option,
    image_options,
    json_option,
    model_option,
    paths_argument,
    seed_option,
    threads_option,
)
from pvae_zoo.cli.output import exit_for_failures, finite

if TYPE_CHECKING:
    from pvae_zoo.runtime.score_files import Figures, Row, Summary

_IN_MEMORY = 1 << 20


@click.command("nll")
@paths_argument
@model_option
@click.option(
    "--samples",
    "-k",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="K",
    help="Draws of z an image; more add the importance-weighted bound (IWAE).",
)
@seed_option
@image_options
@batch_size_option(64, "Images in memory at once.")
@device_option
@threads_option
@json_option
def nll_command(
    paths: tuple[str, ...],
    model: str,
    samples: int,
    seed: int,
    resize: bool,
    binarize: int | None,
    convert: bool,
    batch_size: int,
    device: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Score the images in PATHS: files, folders, globs and zips.

    All figures are positive and smaller is better. NATS is the bound -ELBO, the sum of the reconstruction term and the
    KL of each level. An image of another size, colour or depth is an error for its row, never a wrong number.

    \b
    Example:
        pvae-zoo nll digits/
        pvae-zoo nll 'digits/7*.png' more.zip --samples 64 --json
        pvae-zoo nll photos/ --resize --convert --binarize 128
    """
    import pvae_zoo
    from pvae_zoo.cli.inputs import Fit
    from pvae_zoo.cli.progress import progress_bar
    from pvae_zoo.runtime.images import find_images
    from pvae_zoo.runtime.score_files import Summary, score_files

    sources = find_images(paths)
    runtime = pvae_zoo.load(model, device=device, threads=threads)  # type: ignore[arg-type]
    fit = Fit(resize, binarize, convert)
    summary = Summary()
    # Rows on a terminal are progress enough.
    with progress_bar("images", shown=as_json or not sys.stdout.isatty()) as progress:

        def rows() -> Iterable[Row]:
            read = score_files(
                runtime,
                sources,
                lambda source: fit.read(source, runtime.image),
                samples=samples,
                seed=seed,
                batch_size=batch_size,
            )
            for done, row in enumerate(read, start=1):
                summary.add(row)
                progress(done, len(sources))
                yield row

        if as_json:
            head = {"model": runtime.name, "provider": runtime.provider, "samples": samples, "seed": seed}
            _print_json(head, rows(), summary)
        else:
            click.echo(f"{runtime.name} on {runtime.provider}", err=True)
            _print_table(rows(), summary, len(runtime.bundle.config.latents), samples)
    exit_for_failures(summary.failed, len(sources))


def _print_table(rows: Iterable[Row], summary: Summary, levels: int, samples: int) -> None:
    """A line an image as soon as it is scored, the path last."""
    heads = ["BITS/DIM", "NATS", "RECONSTRUCTION", *(f"KL z{level + 1}" for level in range(levels))]
    heads += [f"IWAE K={samples}"] if samples > 1 else []
    widths = [max(8, len(head)) for head in heads]

    def line(figures: Figures) -> str:
        values = [figures.nll_nats, figures.reconstruction_nats, *figures.kl_nats]
        values += [] if figures.iwae_nll_nats is None else [figures.iwae_nll_nats]
        cells = [f"{figures.bits_per_dim:.4f}", *(f"{value:.2f}" for value in values)]
        return "  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))

    click.echo("  ".join(head.rjust(width) for head, width in zip(heads, widths, strict=True)) + "  PATH")
    for row in rows:
        blank = "error".rjust(widths[0]).ljust(sum(widths) + 2 * len(widths) - 2)
        note = f" ({row.note})" if row.note else ""
        click.echo(
            f"{blank}  {row.path}: {row.reason}" if row.figures is None else f"{line(row.figures)}  {row.path}{note}"
        )
    if summary.mean is not None:
        many = f"{summary.count} image{'s' * (summary.count > 1)}"
        click.echo(f"{line(summary.mean)}  mean of {many}, standard error {summary.standard_error_nats:.2f} nats")


def _print_json(head: dict[str, Any], rows: Iterable[Row], summary: Summary) -> None:
    """One document, with a line an image: kept on disk until it is whole, so that an interrupted one is not printed."""
    from pvae_zoo.runtime.score_files import figures_by_name

    samples = head["samples"]
    with tempfile.SpooledTemporaryFile(_IN_MEMORY, "w+", encoding="utf-8") as file:
        file.write("{" + json.dumps(head)[1:-1] + ', "images": [')
        for index, row in enumerate(rows):
            note = {} if row.note is None else {"note": row.note}
            data = {"path": row.path, "status": "ok"} | note | figures_by_name(row.figures, samples)
            if row.figures is None:
                data = {"path": row.path, "status": "error", "reason": row.reason}
            file.write((",\n  " if index else "\n  ") + json.dumps(finite(data)))
        mean = figures_by_name(summary.mean, samples) | {
            "standard_error_nats": summary.standard_error_nats,
            "count": summary.count,
            "failed": summary.failed,
        }
        file.write('\n], "mean": ' + json.dumps(finite(mean)) + "}\n")
        file.seek(0)
        shutil.copyfileobj(file, sys.stdout)
