"""Files that are whole or absent: written beside the target, flushed to disk, then renamed over it.

A target that is a link stays one, and the file that it leads to is written. A link to a file that is named by its own
hash, as in the Hub's cache, is the exception: others rely on such a file, so the link gives way to a file.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pvae_zoo.base.errors import PvaeZooError

_REMEDIES = {
    errno.ENOSPC: "the disk is full: free some space or choose another place",
    errno.EDQUOT: "the disk quota is used up: free some space or choose another place",
    errno.EROFS: "that place is read-only: choose another one",
    errno.EACCES: "no permission to write there: choose another place",
    errno.EPERM: "no permission to write there: choose another place",
    errno.EEXIST: "a file stands where a folder is needed: choose another place",
    errno.ENOTDIR: "a file stands where a folder is needed: choose another place",
    errno.EISDIR: "a folder stands where a file is needed: choose another name",
}


def write_error(path: Path, error: OSError) -> PvaeZooError:
    """A failed write as one line with the remedy."""
    return PvaeZooError(f"cannot write {path}: {_REMEDIES.get(error.errno or 0, error.strerror or str(error))}")


def check_writable(target: Path) -> None:
    """Find out before the work whether a file can be written there; leaves nothing behind.

    Raises:
        PvaeZooError: if it cannot.
    """
    folder = target.parent
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    try:
        # Tried, not asked: permissions say little to root, on network drives and in read-only containers.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise write_error(target, error) from error


_NAMED_BY_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def _written(target: Path) -> Path:
    """The path to write: behind a link what it leads to, whether that exists or not."""
    if not target.is_symlink():
        return target
    behind = Path(os.path.realpath(target))
    return target if _NAMED_BY_HASH.fullmatch(behind.name) else behind


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """A temporary path beside ``target``, or beside what it links to, that replaces it on success and else vanishes.

    Raises:
        PvaeZooError: if the file cannot be written, with the remedy.
    """
    written = _written(target)
    # Named before it exists, so that an interrupt at any moment finds what to remove.
    temporary = written.with_name(f".{written.name}.{secrets.token_hex(8)}.part")
    try:
        written.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(exist_ok=False)
        yield temporary
        with temporary.open("r+b") as file:  # Windows flushes only what may be written
            os.fsync(file.fileno())
        os.replace(temporary, written)
    except OSError as error:
        raise write_error(target, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def atomic_write(target: Path, data: bytes) -> None:
    """Write ``data`` to ``target``, whole or not at all."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(data)
