"""Zips, a few of them open at a time: a process may hold a few hundred files open, and people have more zips."""

from __future__ import annotations

import os
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OPEN_AT_MOST = 16


class Archives:
    """Zips that are opened when they are asked for and closed when others need the room; for any number of threads.

    Args:
        most: zips that stay open; more are open only while as many threads read.
    """

    def __init__(self, most: int = OPEN_AT_MOST) -> None:
        self._most, self._lock = most, threading.Lock()
        self._open: dict[str, zipfile.ZipFile] = {}  # the one that was not used for longest first
        self._readers: dict[zipfile.ZipFile, int] = {}

    @contextmanager
    def lend(self, path: Path, *, anew: bool = False) -> Iterator[zipfile.ZipFile]:
        """The zip at a path, open as long as the context lasts. Several threads may read one at once.

        Args:
            path: of the zip.
            anew: read its directory again, as it may have changed since.

        Raises:
            OSError, zipfile.BadZipFile, NotImplementedError, ValueError: if it cannot be opened.
        """
        archive = self._taken(os.path.abspath(path), anew)
        try:
            yield archive
        finally:
            self._given_back(archive)

    def _taken(self, path: str, anew: bool) -> zipfile.ZipFile:
        with self._lock:  # while one opens the others wait: two threads that need the same zip open it once
            old = self._open.get(path)
            fresh = zipfile.ZipFile(path) if old is None or anew else old
            self._open.pop(path, None)
            self._open[path] = fresh
            if old is not None and old is not fresh:
                self._close_unless_read(old)
            self._readers[fresh] = self._readers.get(fresh, 0) + 1
            while len(self._open) > self._most:
                self._close_unless_read(self._open.pop(next(iter(self._open))))
        return fresh

    def _given_back(self, archive: zipfile.ZipFile) -> None:
        with self._lock:
            self._readers[archive] -= 1
            if not self._readers[archive]:
                del self._readers[archive]
                if archive not in self._open.values():
                    archive.close()

    def _close_unless_read(self, archive: zipfile.ZipFile) -> None:
        """Whoever reads it last closes it."""
        if archive not in self._readers:
            archive.close()


ARCHIVES = Archives()
"""Those of this process."""
