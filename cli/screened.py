"""What is printed of screened images, the strangest first: a table, CSV, or one JSON document."""

from __future__ import annotations

import csv
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any, Literal

from pvae_zoo.base.printable import spelled
from pvae_zoo.cli.output import echo, finite

if TYPE_CHECKING:
    from pvae_zoo.screening.verdicts import Verdict, Verdicts

_IN_MEMORY = 1 << 20

Form = Literal["table", "csv", "json"]
Act = Callable[["Verdict"], dict[str, str]]
"""Done with each row before it is printed; what it gives stands in the row too (where a map or a file went)."""


def print_screened(
    head: dict[str, Any],
    verdicts: Verdicts,
    *,
    form: Form,
    act: Act = lambda verdict: {},
    file: IO[str] | None = None,
) -> None:
    """Print rows with their verdicts, and a summary (of CSV, on stderr).

    Args:
        head: what JSON has before the images.
        verdicts: all rows.
        form: of what is printed.
        act: see `Act`.
        file: standard output unless given.
    """
    if form == "json":
        _print_json(head, verdicts, act, file or sys.stdout)
        return
    if form == "csv":
        _print_csv(verdicts, act, file or sys.stdout)
    else:
        _print_table(verdicts, act, file)
    in_table = form == "table"
    echo(summary_line(verdicts), err=not in_table, file=file if in_table else None)


def summary_line(verdicts: Verdicts) -> str:
    """How many are flagged, and what that means."""
    scored, rate = verdicts.count - verdicts.failed, verdicts.rate
    line = f"{verdicts.flagged} of {scored} image{'s' * (scored != 1)} flagged at {rate}"
    if rate.fdr:
        line += f": on average at most {rate.value:.3g} of the flagged belong after all"
        if not verdicts.flagged and verdicts.least > 1:
            line += f" (with this calibration, {verdicts.least} must be as strange as can be before any is flagged)"
        return line
    return f"{line}; if all belonged, about {rate.value * scored:.3g} would be"


def _print_table(verdicts: Verdicts, act: Act, file: IO[str] | None) -> None:
    echo(f"{'P-VALUE':>8}  {'FLAGGED':7}  {'WHAT SPOKE':<27}  PATH", file=file)
    for verdict in verdicts.sorted():
        row, done = verdict.row, act(verdict)
        path = spelled(row.path)  # a part may have come from anywhere
        note = f" ({spelled(row.note)})" if row.note else ""
        went = "".join(f" -> {spelled(place)}" for place in done.values())
        if row.finding is None:
            echo(f"{'error':>8}  {'':7}  {'':<27}  {path}: {spelled(row.reason or '')}", file=file)
            continue
        found = row.finding
        spoke = f"{spelled(found.spoke)} {found.deviation:+.1f}"
        flag = "yes" if verdict.flagged else ""
        echo(f"{found.p_value:8.5f}  {flag:7}  {spoke:<27}  {path}{note}{went}", file=file)


def _as_dict(verdict: Verdict, done: dict[str, str]) -> dict[str, Any]:
    row = verdict.row.as_dict()
    if verdict.row.finding is None:
        return row
    values = {key: row.pop(key) for key in ("path", "status", "p_value")}
    return values | {"flagged": verdict.flagged} | row | done


def _print_csv(verdicts: Verdicts, act: Act, file: IO[str]) -> None:
    names = ["path", "status", "p_value", "flagged", "strangeness", "spoke", "deviation", *verdicts.names]
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*names, "map", "moved_to", "note", "reason"])
    for verdict in verdicts.sorted():
        values = _as_dict(verdict, act(verdict))
        values |= values.get("scores", {})
        if "flagged" in values:
            values["flagged"] = int(verdict.flagged)
        cells = [values.get(name, "") for name in (*names, "map", "moved_to", "note", "reason")]
        writer.writerow([spelled(cell) if isinstance(cell, str) else cell for cell in cells])


def _print_json(head: dict[str, Any], verdicts: Verdicts, act: Act, file: IO[str]) -> None:
    """One document, with a line an image: kept on disk until it is whole, so that an interrupted one is not printed."""
    rate, scored = verdicts.rate, verdicts.count - verdicts.failed
    summary = {
        "count": scored,
        "flagged": verdicts.flagged,
        "failed": verdicts.failed,
        "rate": rate.value,
        "fdr": rate.fdr,
        "threshold": verdicts.threshold,
    }
    if not rate.fdr:
        summary["expected_if_all_belong"] = rate.value * scored
    with tempfile.SpooledTemporaryFile(_IN_MEMORY, "w+", encoding="utf-8") as text:
        text.write("{" + json.dumps(finite(head))[1:-1] + ', "images": [')
        for number, verdict in enumerate(verdicts.sorted()):
            text.write((",\n  " if number else "\n  ") + json.dumps(finite(_as_dict(verdict, act(verdict)))))
        text.write('\n], "summary": ' + json.dumps(summary) + "}\n")
        text.seek(0)
        shutil.copyfileobj(text, file)
