"""``python -m pvae_zoo`` is ``pvae-zoo``."""

from __future__ import annotations

import os
import signal
import sys

INTERRUPTED = 130


def main() -> None:
    """The entry point; an interrupt while modules are imported, or while Python ends, is like any other."""
    try:
        from pvae_zoo.cli.app import main as run

        run()
    except KeyboardInterrupt:
        _end()
    except SystemExit as end:
        if end.code == INTERRUPTED:
            _end()
        raise


def _end() -> None:
    """End as interrupted; another interrupt on the way out ends the process at once, with the same exit code."""
    signal.signal(signal.SIGINT, lambda number, frame: os._exit(INTERRUPTED))
    sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
