"""The one error that users see: a line that names the input and the remedy."""

from __future__ import annotations


class PvaeZooError(Exception):
    """A user's mistake or a missing piece of the machine; the message is complete and has no traceback."""
