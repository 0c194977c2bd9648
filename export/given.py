"""The weights that a user means: of a checkpoint, of a run, or out of a bundle's graphs."""

from __future__ import annotations

from pathlib import Path

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.folder import CONFIG, Bundle
from pvae_zoo.export.weights import checkpoint_of
from pvae_zoo.sources.registry import resolve
from pvae_zoo.training.checkpoint import BEST, LATEST, Checkpoint, load_checkpoint


def given_weights(text: str) -> Checkpoint:
    """The weights that a user means.

    Args:
        text: a checkpoint file, the folder of a run (its best weights, or its last), the folder of a bundle, or the
            name of a model of the zoo or of one that was pulled.

    Raises:
        PvaeZooError: if there are none, in one line.
    """
    path = Path(text)
    if path.is_file():
        return load_checkpoint(path)
    for name in (BEST, LATEST):
        if (path / name).is_file():
            return load_checkpoint(path / name)
    if path.is_dir() and not (path / CONFIG).is_file():
        raise PvaeZooError(f"{text} holds no run and no bundle: it has neither {BEST} nor {CONFIG}")
    try:
        folder = resolve(text)
    except PvaeZooError as error:
        raise PvaeZooError(f"--init {text}: no checkpoint, no run, and {error}") from error
    return checkpoint_of(Bundle(folder))
