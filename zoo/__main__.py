"""``python -m pvae_zoo`` is ``pvae-zoo``."""

from pvae_zoo.cli.app import main

if __name__ == "__main__":
    main()
