"""Building the page from its sources, where there are any: in a checkout, once, by npm."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.web.site import BUILD, built_page


def sources() -> Path | None:
    """The folder of the page's sources in the checkout that this package runs from; None in an installed wheel."""
    root = Path(__file__).resolve().parents[2]  # through the links of an editable install
    web = root / "web"
    return web if (web / "package-lock.json").is_file() and (root / "pyproject.toml").is_file() else None


def ready_page(say: Callable[[str], None], web: Path | None = None) -> Path:
    """The folder of the built page; from a checkout it is built first, if it has not been.

    Args:
        say: told what takes a minute.
        web: the folder of the sources, by default that of the checkout.

    Raises:
        PvaeZooError: if there is none and none can be built: one line with what to do.
    """
    try:
        return built_page()
    except PvaeZooError:
        web = web or sources()
        npm = shutil.which("npm")
        if web is None or npm is None:
            raise
        say("The page is built once, by npm: this takes a minute")
        for command in (["ci", "--no-audit", "--no-fund"], ["run", "build"]):
            done = subprocess.run([npm, *command], cwd=web, capture_output=True, text=True)
            if done.returncode:
                lines = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
                why = next(
                    (line for line in lines if "error" in line.lower()), lines[-1] if lines else "no reason given"
                )
                raise PvaeZooError(f"npm {' '.join(command)} failed in {web}: {why}: see {BUILD}") from None
        return built_page()
