"""The one error that users see: a line that names the input and the remedy; and the one warning."""

from __future__ import annotations


class PvaeZooError(Exception):
    """A user's mistake or a missing piece of the machine; the message is complete and has no traceback."""


class PvaeZooWarning(UserWarning):
    """What a user should know and what stops nothing; commands print it as a note."""
