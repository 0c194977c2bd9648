"""What the zoo holds: bundles that ship with the package, and any bundle by its path."""

from __future__ import annotations

import difflib
from importlib import resources
from pathlib import Path

from pvae_zoo.bundle import CONFIG, Bundle
from pvae_zoo.errors import PvaeZooError

DEFAULT_MODEL = "mnist"


def bundles_folder() -> Path:
    """Where the package keeps its bundles."""
    return Path(str(resources.files("pvae_zoo") / "bundles"))


def model_names() -> list[str]:
    """Names of the models in the zoo, the default one first."""
    folder = bundles_folder()
    names = sorted(path.parent.name for path in folder.glob(f"*/{CONFIG}"))
    return sorted(names, key=lambda name: (name != DEFAULT_MODEL, name))


def resolve(model: str) -> Path:
    """The folder of a model: a name of the zoo, or the path of a bundle.

    Raises:
        PvaeZooError: if there is neither; the nearest name is suggested.
    """
    shipped = bundles_folder() / model
    known = model_names()
    path = Path(model)
    is_path = (path / CONFIG).is_file()
    if model in known:
        if is_path and path.resolve() != shipped.resolve():
            raise PvaeZooError(
                f"{model!r} is both a model of the zoo and a folder here: write ./{model} for the folder"
            )
        return shipped
    if is_path:
        return path
    if path.is_dir():
        raise PvaeZooError(f"the folder {model!r} is no bundle: it has no {CONFIG}")
    near = difflib.get_close_matches(model, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"the zoo holds {', '.join(known) or 'none'}"
    raise PvaeZooError(f"no model {model!r}: {hint} (or give the folder of a bundle; see pvae-zoo list)")


def open_bundle(model: str) -> Bundle:
    """The bundle of a model by name or path."""
    return Bundle(resolve(model))
