"""What was found in a data set, at 80 columns: what cannot be used on stderr, a row each, the rest on stdout."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from pvae_zoo.cli.output import echo

if TYPE_CHECKING:
    from pvae_zoo.data.survey import Survey

_HEAD, _WIDTH = 17, 80


def print_survey(found: Survey, brought: str, *, err: bool = False) -> None:
    """Print it.

    Args:
        found: what was found.
        brought: how it is brought to the model's size.
        err: print all of it on stderr.
    """
    from pvae_zoo.data.survey_words import survey_rows

    for name, why in found.refused:
        echo(f"{name}: {why}", err=True)
    for head, text in survey_rows(found, brought):
        lines = textwrap.wrap(text, _WIDTH - _HEAD, break_long_words=False, break_on_hyphens=False)
        for number, line in enumerate(lines):
            echo(f"{'' if number else head:<{_HEAD}}{line}", err=err)
