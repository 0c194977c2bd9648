"""Text that others wrote (titles, tensors, files, answers of servers), fit to stand on a terminal.

A terminal obeys escape sequences, and a change of direction (U+202E and its like) makes a line read as another one.
So whatever is not printable is spelled out as Python does it. Three sizes of the same idea: `spelled` for a whole text
that stays one line, `spelled_lines` for one that keeps its line ends, `shown` for a value that must be short.
"""

from __future__ import annotations

import unicodedata


def spelled(text: str) -> str:
    """``text`` as one line of printable characters; a line that was spelled already stays as it is."""
    return text if text.isprintable() else "".join(map(_spelled, text))


def spelled_lines(text: str) -> str:
    """``text`` with its line ends, and printable between them."""
    return "\n".join(map(spelled, text.split("\n")))


def shown(value: object, most: int = 60) -> str:
    """``value`` as one short line of printable characters; a line that was shown already stays as it is.

    Args:
        most: characters of the result, at most.
    """
    try:
        text = str(value)
    except (RecursionError, ValueError):  # nested too deeply, or an integer of too many digits
        return f"a {type(value).__name__} that cannot be shown"
    # Cut first: the spelling of a gigabyte would take several.
    line = spelled(text[: most + 1])
    return line if len(text) <= most and len(line) <= most else f"{line[: most - 3]}..."


def _spelled(char: str) -> str:
    # Spaces of other widths, as in the names of macOS's screenshots, harm nobody.
    return char if char.isprintable() or unicodedata.category(char) == "Zs" else repr(char)[1:-1]
