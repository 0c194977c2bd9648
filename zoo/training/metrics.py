"""``metrics.jsonl``: what a run reported, a line each, in its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pvae_zoo.base.atomic import atomic_write, write_error
from pvae_zoo.training.reports import Report

METRICS = "metrics.jsonl"


def append_report(run: Path, report: Report, seconds: float) -> None:
    """Add a line.

    Args:
        run: the run's folder.
        report: what it says.
        seconds: spent training so far.

    Raises:
        PvaeZooError: if it cannot be written, with the remedy.
    """
    path, row = run / METRICS, {"seconds": round(seconds, 1), **vars(report)}
    try:
        run.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    except OSError as error:
        raise write_error(path, error) from error


def read_reports(run: Path) -> list[dict[str, Any]]:
    """All lines that can be read; a kill tears the last one, and a disk may damage others."""
    path = run / METRICS
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text("utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and isinstance(row.get("step"), int) and isinstance(row.get("kind"), str):
            rows.append(row)
    return rows


def forget_after(run: Path, step: int) -> None:
    """Drop what was reported after a step, which is walked again, and what cannot be read."""
    if (run / METRICS).is_file():
        kept = [json.dumps(row) for row in read_reports(run) if row["step"] <= step]
        atomic_write(run / METRICS, "".join(f"{line}\n" for line in kept).encode())
