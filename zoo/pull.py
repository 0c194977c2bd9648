"""Bringing a bundle to a folder, whole and verified."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from pvae_zoo.atomic import atomic_write, write_error
from pvae_zoo.bundle import CARD, CONFIG, EVALUATION, Bundle
from pvae_zoo.errors import PvaeZooError


def model_card(bundle: Bundle) -> bytes | None:
    """The card that ships with the package, or the one in the bundle."""
    shipped = resources.files("pvae_zoo.model_cards") / f"{bundle.name}.md"
    if shipped.is_file():
        return shipped.read_bytes()
    own = bundle.folder / CARD
    return own.read_bytes() if own.is_file() else None


def copy_bundle(bundle: Bundle, folder: Path, *, force: bool = False) -> list[Path]:
    """Copy a bundle and its card to a folder that any runtime can load from.

    Every file is whole or absent, and ``config.json`` comes last, so a copy that was stopped is no bundle yet.

    Args:
        bundle: where to copy from; each file is verified.
        folder: is made; files in it with the same names must be the same.
        force: replace files that differ.

    Returns:
        The files in the folder.

    Raises:
        PvaeZooError: if a file is damaged, would be overwritten or cannot be written.
    """
    contents = {spec.file: bundle.read(spec) for spec in bundle.files()}
    evaluation = bundle.folder / EVALUATION
    if evaluation.is_file():
        contents[EVALUATION] = evaluation.read_bytes()
    card = model_card(bundle)
    if card is not None:
        contents[CARD] = card
    contents[CONFIG] = (bundle.folder / CONFIG).read_bytes()
    try:
        kept = {name for name, data in contents.items() if _holds(folder / name, data, force)}
        if CONFIG not in kept:
            (folder / CONFIG).unlink(missing_ok=True)
    except OSError as error:
        raise write_error(folder, error) from error
    for name, data in contents.items():
        if name not in kept:
            atomic_write(folder / name, data)
    return [folder / name for name in contents]


def _holds(path: Path, data: bytes, force: bool) -> bool:
    """Whether the file is there already."""
    if not path.exists():
        return False
    if path.is_file() and path.read_bytes() == data:
        return True
    if not force:
        raise PvaeZooError(f"{path} is there and differs: choose another folder, or add --force to replace it")
    return False
