"""Links in an environment to all packages of this Python that it does not have, but for any onnxruntime.

usage: python benchmarks/gpu_links.py SITE

SITE is the environment's site-packages. Two distributions of onnxruntime may not be seen at once, and the CUDA
libraries that PyTorch brought must lie beside the one that is used, where it looks for them (``../nvidia``). What was
installed there before stays as it is, and of several folders the first that has a package is taken, as in an import.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

_METADATA = re.compile(r"(.+?)-[^-]+\.(?:dist|egg)-info")


def link_packages(folders: Iterable[Path], site: Path) -> None:
    """Link what lies in the folders of packages into ``site``."""
    for folder in folders:
        taken = {_name(path) for path in site.iterdir()}
        for path in sorted(folder.iterdir()):
            name = _name(path)
            left_out = name.startswith(("onnxruntime", "pvae_zoo", "__")) or path.suffix == ".pth"
            if not left_out and name not in taken and not (site / path.name).exists():
                (site / path.name).symlink_to(path)


def _name(path: Path) -> str:
    """What two versions of a distribution have in common; the file's name of what is no distribution's metadata."""
    found = _METADATA.fullmatch(path.name)
    return re.sub(r"[-_.]+", "_", found[1]).lower() + " metadata" if found else path.name


def main() -> None:
    here = [Path(entry) for entry in sys.path if entry.endswith(("site-packages", "dist-packages"))]
    link_packages(filter(Path.is_dir, here), Path(sys.argv[1]))


if __name__ == "__main__":
    main()
