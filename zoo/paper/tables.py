"""Tables and lists in the page's Markdown."""

from __future__ import annotations

NOT_YET = "Not measured yet: `pvae-zoo reproduce {figure}{needs}`."
"""In place of a figure that is not stored."""


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table of cells that hold no line breaks."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def listed(words: list[str]) -> str:
    """``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
