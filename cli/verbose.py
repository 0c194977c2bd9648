"""``pvae-zoo -v``: what the library says of its work, on stderr."""

from __future__ import annotations

import logging
import sys

import click

from pvae_zoo.cli.output import echo


def listen() -> None:
    """Print what the loggers of the package say, until the command ends."""
    logger, ear = logging.getLogger("pvae_zoo"), _Ear()
    before = logger.level
    logger.addHandler(ear)
    logger.setLevel(logging.INFO)

    def leave() -> None:
        logger.removeHandler(ear)
        logger.setLevel(before)

    click.get_current_context().call_on_close(leave)


class _Ear(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        tqdm = sys.modules.get("tqdm")
        if tqdm is None:
            echo(record.getMessage(), err=True)
            return
        with tqdm.tqdm.external_write_mode(file=sys.stderr):  # a bar makes room for the line
            echo(record.getMessage(), err=True)
