"""What is printed of scores: a table as it grows, or one JSON document."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict
from typing import IO, TYPE_CHECKING, Any

from pvae_zoo.base.printable import spelled
from pvae_zoo.cli.output import echo, finite

if TYPE_CHECKING:
    from pvae_zoo.runtime.score_files import Figures, PrecisionDifference, Row, Summary

_USUAL = "float32"
_IN_MEMORY = 1 << 20


def print_scores(
    head: dict[str, Any], rows: Iterable[Row], *, levels: int, as_json: bool, file: IO[str] | None = None
) -> Summary:
    """Print rows and their mean.

    Args:
        head: model, provider, precision, samples and seed.
        rows: printed as they come, except as JSON, which is printed whole.
        levels: of latents.
        file: standard output unless given.
    """
    from pvae_zoo.runtime.score_files import Summary

    summary = Summary()

    def counted() -> Iterable[Row]:
        for row in rows:
            summary.add(row)
            yield row

    if as_json:
        _print_json(head, counted(), summary, file)
    else:
        numbers = "" if head["precision"] == _USUAL else f" in {head['precision']}"
        echo(f"{head['model']} on {head['provider']}{numbers}", err=True)
        _print_table(counted(), summary, levels, head["samples"], file)
        if summary.difference is not None:
            echo(difference_line(summary.difference, head["precision"]), file=file)
    return summary


def difference_line(difference: PrecisionDifference, precision: str) -> str:
    """What another precision than float32 changed, in words."""
    count = difference.images
    return (
        f"{precision} less float32, {count} image{'s' * (count != 1)} scored in both: "
        f"{difference.mean_bits_per_dim:+.6f} bits/dim in the mean, {difference.largest_bits_per_dim:.6f} at most"
    )


def _print_table(rows: Iterable[Row], summary: Summary, levels: int, samples: int, file: IO[str] | None) -> None:
    """A line an image as soon as it is scored, the path last."""
    heads = ["BITS/DIM", "NATS", "RECONSTRUCTION", *(f"KL z{level + 1}" for level in range(levels))]
    heads += [f"IWAE K={samples}"] if samples > 1 else []
    widths = [max(8, len(head)) for head in heads]

    def line(figures: Figures) -> str:
        values = [figures.nll_nats, figures.reconstruction_nats, *figures.kl_nats]
        values += [] if figures.iwae_nll_nats is None else [figures.iwae_nll_nats]
        cells = [f"{figures.bits_per_dim:.4f}", *(f"{value:.2f}" for value in values)]
        return "  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))

    heading = "  ".join(head.rjust(width) for head, width in zip(heads, widths, strict=True)) + "  PATH"
    for row in rows:
        if heading:  # over a row, not over an error in place of the first one
            echo(heading, file=file)
            heading = ""
        blank = "error".rjust(widths[0]).ljust(sum(widths) + 2 * len(widths) - 2)
        note = f" ({row.note})" if row.note else ""
        path = spelled(row.path)  # a part may have come from anywhere
        text = f"{blank}  {path}: {spelled(row.reason or '')}"
        echo(text if row.figures is None else f"{line(row.figures)}  {path}{spelled(note)}", file=file)
    if summary.mean is not None:
        many = f"{summary.count} image{'s' * (summary.count > 1)}"
        echo(f"{line(summary.mean)}  mean of {many}, standard error {summary.standard_error_nats:.2f} nats", file=file)


def _print_json(head: dict[str, Any], rows: Iterable[Row], summary: Summary, file: IO[str] | None) -> None:
    """One document, with a line an image: kept on disk until it is whole, so that an interrupted one is not printed."""
    from pvae_zoo.runtime.score_files import NAMES

    with tempfile.SpooledTemporaryFile(_IN_MEMORY, "w+", encoding="utf-8") as text:
        text.write("{" + json.dumps(head)[1:-1] + ', "images": [')
        for index, row in enumerate(rows):
            text.write((",\n  " if index else "\n  ") + json.dumps(finite(row.as_dict())))
        names = [name for name in NAMES if name != "iwae_nll_nats" or head["samples"] > 1]
        mean = {name: getattr(summary.mean, name, None) for name in names} | {
            "standard_error_nats": summary.standard_error_nats,
            "count": summary.count,
            "failed": summary.failed,
        }
        text.write('\n], "mean": ' + json.dumps(finite(mean)))
        if summary.difference is not None:
            text.write(', "precision_difference": ' + json.dumps(finite(asdict(summary.difference))))
        text.write("}\n")
        text.seek(0)
        shutil.copyfileobj(text, file or sys.stdout)
