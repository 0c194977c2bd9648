"""The one step of the build that pyproject.toml cannot say: a wheel carries the page of ``web/``, built by npm.

Where npm is missing or fails (no network), the wheel is made without the page, and says so. PVAE_ZOO_NO_PAGE=1 leaves
the page out. An editable install builds nothing: there `pvae-zoo web` builds the page when it is first asked for.
"""

import os
import shutil
import subprocess
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent.resolve()


class BuildWithPage(build_py):
    """Puts the page into ``zoo/web/static/`` before the files of the packages are listed."""

    def run(self) -> None:
        if not self.editable_mode and not os.environ.get("PVAE_ZOO_NO_PAGE"):
            build_page()
        super().run()


def build_page() -> None:
    npm, web = shutil.which("npm"), ROOT / "web"
    if (ROOT / "zoo/web/static/index.html").is_file() or not (web / "package-lock.json").is_file():
        return
    if npm is None:
        print("warning: npm is not installed, so the page of `pvae-zoo web` is left out")
        return
    for command in (["ci", "--no-audit", "--no-fund"], ["run", "build"]):
        if subprocess.run([npm, *command], cwd=web).returncode:
            print(f"warning: npm {' '.join(command)} failed, so the page of `pvae-zoo web` is left out")
            return


setup(cmdclass={"build_py": BuildWithPage})
