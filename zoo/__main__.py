"""``python -m pvae_zoo`` is ``pvae-zoo``."""

from __future__ import annotations

import sys


def main() -> None:
    """The entry point; an interrupt while modules are imported ends it like any other."""
    try:
        from pvae_zoo.cli.app import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
