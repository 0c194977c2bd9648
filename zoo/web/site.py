"""The site: the built page and the bundles that it draws from, as a table of addresses and files.

    index.html, assets/...          the page, built from ``web/`` by Vite; it is not committed
    bundles/index.json              ``{"bundles": [{"name", "title", "folder"}]}``, the first one is shown first
    bundles/NAME/config.json        the contract
    bundles/NAME/*.onnx             the graphs

It is the same whether it is served or written to a folder for a static host. Nothing else of a bundle is in it: the
page needs no golden vectors.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from pvae_zoo.base.atomic import write_error
from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.folder import CONFIG, Bundle

INDEX = "bundles/index.json"
BUILD = "npm ci --prefix web && npm run build --prefix web"


@dataclass(frozen=True)
class Site:
    """What is at which address.

    Attributes:
        pages: bytes that are made, by address (``bundles/index.json``).
        files: files on disk, by address.
    """

    pages: dict[str, bytes]
    files: dict[str, Path]

    def read(self, address: str) -> bytes | None:
        """What is at an address of the table; None if nothing is.

        Raises:
            PvaeZooError: if the file is no longer there.
        """
        if address in self.pages:
            return self.pages[address]
        path = self.files.get(address)
        if path is None:
            return None
        try:
            return path.read_bytes()
        except OSError as error:
            raise PvaeZooError(f"{path} cannot be read: {error.strerror}") from error


def built_page() -> Path:
    """The folder of the built page, a part of the package.

    Raises:
        PvaeZooError: if it has not been built.
    """
    # Beside the sources, where an editable install leads; and what was linked or copied when it was installed.
    for folder in (
        Path(__file__).resolve().parent / "static",
        Path(str(resources.files("pvae_zoo"))) / "web" / "static",
    ):
        if (folder / "index.html").is_file():
            return folder
    raise PvaeZooError(f"this installation has no built page: install Node.js with npm, then in the sources {BUILD}")


def make_site(bundles: Sequence[Bundle], page: Path | None = None) -> Site:
    """The site of these bundles, the first one shown first; every graph is hashed on the way.

    Args:
        bundles: at least one, of different names.
        page: the built page, by default that of the package.

    Raises:
        PvaeZooError: if the page is missing, a bundle is damaged, or two have the same name.
    """
    folder = page or built_page()
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    entries = []
    for bundle in bundles:
        root = f"bundles/{bundle.name}/"
        if root + CONFIG in files:
            raise PvaeZooError(f"two of the models are called {bundle.name!r}: give one of them")
        entries.append({"name": bundle.name, "title": bundle.config.title, "folder": root})
        files[root + CONFIG] = bundle.folder / CONFIG
        for role in bundle.config.roles:
            bundle.read_graph(role)
            spec = bundle.config.graphs[role]
            files[root + spec.file] = bundle.folder / spec.file
    index = json.dumps({"bundles": entries}, indent=2) + "\n"
    return Site({INDEX: index.encode()}, files)


def write_site(site: Site, target: Path) -> int:
    """Write the site as files for a static host, whole or not at all.

    Args:
        site: from `make_site`.
        target: a folder that does not exist, is empty, or holds such a site, which is replaced.

    Returns:
        The number of bytes.

    Raises:
        PvaeZooError: if the folder holds something else or cannot be written.
    """
    if target.exists() and not target.is_dir():
        raise PvaeZooError(f"{target} is a file: choose a folder")
    if target.is_dir() and any(target.iterdir()) and not (target / INDEX).is_file():
        raise PvaeZooError(f"{target} holds something that is no such site: choose an empty folder")
    fresh, old = (target.with_name(f".{target.name}.{secrets.token_hex(8)}.part") for _ in range(2))
    size = 0
    try:
        for address in [*site.pages, *site.files]:
            data = site.read(address) or b""
            path = fresh / address
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            size += len(data)
        if target.exists():
            target.replace(old)
        fresh.replace(target)
    except OSError as error:
        raise write_error(target, error) from error
    finally:
        if old.exists() and not target.exists():
            old.replace(target)
        for left in (fresh, old):
            shutil.rmtree(left, ignore_errors=True)
    return size
