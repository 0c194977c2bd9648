"""What a copy of a bundle has beside its graphs, so that it stands alone: licence, card, and the pictures of the card.

A card shows pictures that lie beside it, as ``pictures/NAME.png``. Those that are there travel with it; where one is
not, the card of the copy has its words in the place of the link.
"""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

from pvae_zoo.base.regular_files import open_regular
from pvae_zoo.contract.folder import CARD, LICENSE, Bundle
from pvae_zoo.contract.licence import licence_of
from pvae_zoo.sources import registry

PICTURE_BYTES = 4 << 20
"""A picture of a card has some hundred thousand bytes; one of more than this stays where it is."""

_LINK = re.compile(r"!\[([^\]\n]*)\]\((?!https?://)([^)\n]*)\)")
_PICTURE = re.compile(r"pictures/[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.png")
_PNG = b"\x89PNG\r\n\x1a\n"


def standing_files(bundle: Bundle) -> dict[str, bytes]:
    """Licence, card and pictures of a bundle, by their names in a copy; no card where there is none."""
    path = _card_path(bundle)
    files = {LICENSE: licence_of(bundle.config.dataset).text.encode()}
    if not path.is_file():
        return files
    card, pictures = whole_card(path.read_text("utf-8", "replace"), path.parent)
    return files | {CARD: card.encode()} | pictures


def whole_card(card: str, folder: Path) -> tuple[str, dict[str, bytes]]:
    """A card that lies in ``folder`` without dead links, and the pictures that it shows, by name."""
    pictures: dict[str, bytes] = {}

    def link(match: re.Match[str]) -> str:
        words, name = match.groups()
        data = _picture(folder, name)
        if data is None:
            return words
        pictures[name] = data
        return match.group()

    return _LINK.sub(link, card), pictures


def card_folder(bundle: Bundle) -> Path:
    """Where a bundle's card lies, its pictures beside it: in the package, or with the bundle."""
    return _card_path(bundle).parent


def _card_path(bundle: Bundle) -> Path:
    if bundle.folder.parent == registry.bundles_folder():
        return Path(str(resources.files("pvae_zoo.model_cards"))) / f"{bundle.folder.name}.md"
    return bundle.folder / CARD


def _picture(folder: Path, name: str) -> bytes | None:
    """A picture that a card names, None if it is none of those that lie beside it."""
    if not _PICTURE.fullmatch(name):
        return None
    try:
        with open_regular(folder / name) as file:
            data = file.read(PICTURE_BYTES + 1)
    except OSError:
        return None
    return data if data.startswith(_PNG) and len(data) <= PICTURE_BYTES else None
