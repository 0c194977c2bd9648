"""Strings from files that nobody vouches for, fit to stand in a message."""

from __future__ import annotations


def shown(value: object, most: int = 60) -> str:
    """``value`` as one short line of printable characters.

    What a terminal would obey (escape sequences, changes of direction, line ends) is spelled out as Python does it. A
    line that was shown already stays as it is.

    Args:
        most: characters of the result, at most.
    """
    try:
        text = str(value)
    except (RecursionError, ValueError):  # nested too deeply, or an integer of too many digits
        return f"a {type(value).__name__} that cannot be shown"
    # Cut first: the spelling of a gigabyte would take several.
    spelled = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text[: most + 1])
    return spelled if len(text) <= most and len(spelled) <= most else f"{spelled[: most - 3]}..."
