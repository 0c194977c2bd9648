"""Putting flagged files aside: moved, never copied over anything, and never out of a zip."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from pvae_zoo.base.atomic import write_error
from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.data.images import ImageSource


def check_movable(sources: Sequence[ImageSource], folder: Path) -> None:
    """Find out before the work whether files can be moved there.

    Raises:
        PvaeZooError: if an image is inside a zip, or the folder cannot be made.
    """
    inside = next((source for source in sources if source.member is not None), None)
    if inside is not None:
        raise PvaeZooError(f"{inside.name} is inside a zip and cannot be moved out of it: unpack it, or omit --move")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error) from error


def move(source: ImageSource, folder: Path) -> Path:
    """Move a file into a folder, under its name, or a numbered one where that is taken: ``x.png``, ``x-2.png``.

    A link is moved, and what it leads to is not.

    Raises:
        PvaeZooError: if it cannot be moved; the file is where it was then.
    """
    name, number = source.path.name, 1
    while True:
        target = folder / (name if number == 1 else f"{source.path.stem}-{number}{source.path.suffix}")
        number += 1
        try:
            # The name is taken first: a file that two moves want is never overwritten.
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            continue
        except OSError as error:
            raise write_error(target, error) from error
        break
    try:
        try:
            _rename(source.path, target)
        except OSError:  # another disk
            target.unlink(missing_ok=True)
            shutil.move(source.path, target)
    except OSError as error:
        target.unlink(missing_ok=True)
        raise PvaeZooError(f"cannot move {source.name} to {folder}: {error.strerror}") from error
    return target


def _rename(path: Path, target: Path) -> None:
    if not path.is_symlink():
        os.replace(path, target)
        return
    leads_to = os.path.realpath(path)  # of another folder, a relative link would lead elsewhere
    target.unlink()
    os.symlink(leads_to, target)
    path.unlink()
