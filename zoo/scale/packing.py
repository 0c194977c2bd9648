"""Images that were found on one machine, as text for another one that sees the same files."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.data.images import ImageSource


def packed(sources: Sequence[ImageSource]) -> str:
    """Sources as text: a path may be no UTF-8, which JSON's escapes can carry."""
    return json.dumps([
        [source.name, os.path.abspath(source.path), source.member and source.member.header_offset, source.problem]
        for source in sources
    ])  # fmt: skip


def unpacked(text: str) -> list[ImageSource]:
    """The sources that `packed` gave, their zips opened anew.

    Raises:
        PvaeZooError: if one cannot be.
    """
    members: dict[str, dict[int, zipfile.ZipInfo]] = {}
    sources = []
    for name, path, offset, problem in json.loads(text):
        if offset is None:
            sources.append(ImageSource(name, Path(path), problem=problem))
            continue
        if path not in members:
            try:
                with zipfile.ZipFile(path) as archive:
                    members[path] = {member.header_offset: member for member in archive.infolist()}
            except (OSError, zipfile.BadZipFile) as error:
                raise PvaeZooError(f"{path} cannot be opened by a worker ({error}): all nodes need it") from error
        sources.append(ImageSource(name, Path(path), members[path][offset], problem))
    return sources
