"""The model that a command means when none is named: the one that was pulled or chosen last.

Its name is kept beside the Hub's cache (``HF_HOME``, ``HF_ASSETS_CACHE``), where verdicts on bundles are kept too. The
Python interface does not look at it: `pvae_zoo.load` means the same model on every machine.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pvae_zoo.base.atomic import atomic_write
from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.base.printable import spelled
from pvae_zoo.base.regular_files import open_regular
from pvae_zoo.sources.names import FolderName, HubName
from pvae_zoo.sources.registry import DEFAULT_MODEL, identify

VARIABLE = "PVAE_ZOO_MODEL"
"""Environment variable that names the model, and wins over what is kept."""

_BYTES = 1 << 16


@dataclass(frozen=True)
class Current:
    """The model that is meant.

    Attributes:
        name: as ``--model`` takes it, whatever the working folder is.
        source: who says so: the environment, what was pulled or chosen, or nobody.
        note: what the user should know, None where there is nothing.
    """

    name: str
    source: Literal["environment", "chosen", "default"]
    note: str | None = None


def current_file() -> Path:
    """Where the name is kept."""
    # Its constants alone: the client behind them costs ten times as much to import.
    from huggingface_hub import constants

    return Path(constants.HF_ASSETS_CACHE) / "pvae-zoo" / "current.json"


def current_model() -> Current:
    """The model that a command means when none is named; a file that cannot be read is a note and no error."""
    named = os.environ.get(VARIABLE)
    if named:
        return Current(named, "environment")
    path = current_file()
    try:
        with open_regular(path) as file:
            model = json.loads(file.read(_BYTES))["model"]
        if not isinstance(model, str) or not model or spelled(model) != model:
            raise ValueError("no name")
    except (FileNotFoundError, NotADirectoryError):
        return Current(DEFAULT_MODEL, "default")
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        note = f"{path} is damaged, so {DEFAULT_MODEL} is meant: pvae-zoo use NAME mends it"
        return Current(DEFAULT_MODEL, "default", note)
    return Current(model, "chosen")


def make_current(model: str) -> str:
    """Let commands mean this model when none is named.

    Args:
        model: of the zoo, of the Hub or a folder, as the user wrote it.

    Returns:
        Its name as it is kept, which means the same from any folder.

    Raises:
        PvaeZooError: if there is no such model, or the name cannot be kept.
    """
    meant = identify(model)
    if isinstance(meant, FolderName):
        name = str(meant.folder.absolute())
    else:
        name = f"hf://{meant}" if isinstance(meant, HubName) else str(meant)
    if spelled(name) != name:
        raise PvaeZooError(f"{spelled(name)} has characters that cannot be shown: give the folder another name")
    atomic_write(current_file(), (json.dumps({"model": name}) + "\n").encode())
    return name
