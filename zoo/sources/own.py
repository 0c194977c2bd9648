"""The models that were made on this machine: a folder of bundles beside the Hub's cache, where names lead to as well.

It lies beside the name of the current model (``HF_HOME``, ``HF_ASSETS_CACHE``). A name of the zoo always means the zoo.
"""

from __future__ import annotations

import re
from pathlib import Path

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.folder import CONFIG

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,59}", re.ASCII)


def own_models_folder() -> Path:
    """Where they are kept; it need not exist."""
    # Its constants alone: the client behind them costs ten times as much to import.
    from huggingface_hub import constants

    return Path(constants.HF_ASSETS_CACHE) / "pvae-zoo" / "models"


def own_names() -> list[str]:
    """Their names, sorted."""
    try:
        return sorted(path.parent.name for path in own_models_folder().glob(f"[!.]*/{CONFIG}"))
    except OSError:
        return []


def checked_name(name: str, taken: list[str]) -> str:
    """A name for a new model.

    Args:
        name: as the user wrote it.
        taken: names of the zoo.

    Raises:
        PvaeZooError: if it is no name, or one of the zoo.
    """
    if not _NAME.fullmatch(name) or name.endswith("."):
        raise PvaeZooError(f"--name {name!r} is no name: letters, digits, - and _, at most 60, such as kitchens")
    if name.lower() in (other.lower() for other in taken):
        raise PvaeZooError(f"the zoo has a model {name} already: choose another --name")
    return name
