"""What commands print: JSON or aligned text on stdout, notes on stderr, and their exit codes."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Any

import click

from pvae_zoo.base.printable import spelled, spelled_lines

if TYPE_CHECKING:
    from pvae_zoo.contract.folder import Bundle

FAILED = 1
SOME_FAILED = 3


def echo(text: str = "", *, err: bool = False, file: IO[str] | None = None) -> None:
    """Lines of text on stdout or stderr, without anything that a terminal would obey."""
    click.echo(spelled_lines(text), file, err=err)


def echo_json(data: Any) -> None:
    """One JSON document on stdout; a figure that is no number is null."""
    click.echo(json.dumps(finite(data), indent=2))  # ASCII, and nothing below a space but line ends


def finite(data: Any) -> Any:
    """The same with NaN and infinities, which JSON does not know, as None."""
    if isinstance(data, dict):
        return {key: finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Rows as aligned columns, those with an index in ``right`` flush right."""
    rows = [[spelled(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def mebibytes(size: int) -> str:
    if size >= 2**30:
        return f"{size / 2**30:.1f} GiB"
    return f"{size / 2**20:.1f} MiB" if size >= 2**20 else f"{size / 2**10:.1f} KiB"


def say_repeats(count: int) -> None:
    """For `find_images`, on stderr: a folder given twice is a slip, and its images count once."""
    echo(f"{count} image{'s' * (count != 1)} given twice, counted once", err=True)


def bundle_size(bundle: Bundle) -> int:
    """Bytes of the files whose hashes the bundle states."""
    return sum(spec.size for spec in bundle.files())


def image_shape(bundle: Bundle) -> str:
    image = bundle.config.image
    return f"{image.channels}x{image.height}x{image.width}, {image.levels} levels"


def number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def exit_for_failures(failed: int, count: int) -> None:
    """End with 3 if some of ``count`` inputs failed, with 1 if all did."""
    if failed:
        echo(f"Error: {failed} of {count} {'image' if count == 1 else 'images'} could not be used", err=True)
        click.get_current_context().exit(FAILED if failed == count else SOME_FAILED)
