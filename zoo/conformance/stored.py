"""The matrix in a bundle: written beside its figures, and believed no more than they are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import dacite

from pvae_zoo.base.atomic import atomic_write
from pvae_zoo.conformance.results import GraphResult, Matrix, RuntimeResult
from pvae_zoo.conformance.runtimes import RUNTIMES
from pvae_zoo.contract.folder import CONFORMANCE, Bundle

_TEXT = 1000
_ROWS = 64


def save_matrix(bundle: Bundle, matrix: Matrix) -> None:
    """Write the bundle's ``conformance.json``: the runtimes that were there, in place of their older rows.

    Rows of other runtimes stay, if the same kind of machine measured them on just these graphs: what takes minutes need
    not be measured again because something else is.
    """
    rows = {row.name: row for row in matrix.runtimes if row.remedy is None}
    older = stored_matrix(bundle)
    if older is not None and older.machine == matrix.machine:
        rows = {row.name: row for row in older.runtimes if row.name in RUNTIMES} | rows
    ran = replace(matrix, runtimes=tuple(rows[name] for name in RUNTIMES if name in rows))
    atomic_write(bundle.folder / CONFORMANCE, (json.dumps(asdict(ran), indent=2) + "\n").encode())


def stored_matrix(bundle: Bundle) -> Matrix | None:
    """The matrix in a bundle, if it was measured on just these graphs and is what `save_matrix` writes.

    Raises:
        PvaeZooError: if the file is damaged.
    """
    stated = bundle.measured(CONFORMANCE)
    if stated is None or stated.get("model_sha256") != bundle.digest:
        return None
    try:
        matrix = dacite.from_dict(Matrix, stated, dacite.Config(strict=True, cast=[tuple]))
    except (dacite.DaciteError, TypeError, ValueError):
        return None
    sizes = len(matrix.runtimes) <= _ROWS and all(len(row.graphs) <= _ROWS for row in matrix.runtimes)
    texts = all(len(text) < _TEXT and text.isprintable() for text in _texts(asdict(matrix)))
    cells = not any("|" in cell for row in matrix.runtimes for cell in (row.name, row.version))
    return matrix if sizes and texts and cells else None


def conformance_rows(matrix: Matrix) -> str:
    """The matrix as a Markdown table."""
    lines = ["| runtime | version | graphs | largest difference | same pixels | time |", "|---|---|---|---|---|---|"]
    return "\n".join([*lines, *(_row(row) for row in matrix.runtimes)])


def conformance_table(matrix: Matrix) -> str:
    """The matrix as a Markdown table, and a line for each thing that failed."""
    failures = [f"- {line}" for row in matrix.runtimes for line in failures_of(row)]
    return "\n".join([conformance_rows(matrix), *(["", *failures] if failures else [])])


def failures_of(row: RuntimeResult) -> list[str]:
    """What failed in a runtime, a line each."""
    lines = [f"{row.name}: {_failure(graph)}" for graph in row.graphs if not graph.ok]
    return lines + ([f"{row.name}: no sample: {row.problem}"] if row.problem else [])


def share(equal: float) -> str:
    """A share of equal values in words that do not round a difference away."""
    return "all" if equal == 1 else f"{min(equal, 0.9999):.2%}"


def _row(row: RuntimeResult) -> str:
    passed, difference = sum(graph.ok for graph in row.graphs), row.difference
    cells = (
        row.name, row.version, f"{passed} of {len(row.graphs)} pass",
        "-" if difference is None else f"{difference:.1e}",
        "-" if row.equal is None else share(row.equal),
        "-" if row.time_ratio is None else f"{row.time_ratio:.1f} x",
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _failure(graph: GraphResult) -> str:
    operator = f" ({graph.operator})" if graph.operator else ""
    return f"`{graph.role}`{operator}: {graph.problem}"


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
