"""What a user may call a model: a name of the zoo, a repository of the Hub, or the folder of a bundle.

lsun  lsun@v1                       a name of the zoo
org/repo  org/repo@v1  hf://org/repo    a repository of the Hub, at a branch, tag or commit
./bundles/lsun  /data/lsun  lsun/       a folder
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from pvae_zoo.base.errors import PvaeZooError

HUB = "hf://"

_REPOSITORY = re.compile(r"[A-Za-z0-9_][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}", re.ASCII)
_REVISION = re.compile(r"[A-Za-z0-9_][\w./-]{0,199}", re.ASCII)


@dataclass(frozen=True)
class ZooName:
    """A model of the zoo; a revision asks its repository for another version of it."""

    name: str
    revision: str | None = None

    def __str__(self) -> str:
        return self.name if self.revision is None else f"{self.name}@{self.revision}"


@dataclass(frozen=True)
class HubName:
    """A repository of the Hub, at a branch, tag or commit; None is its main branch."""

    repo: str
    revision: str | None = None

    def __str__(self) -> str:
        return self.repo if self.revision is None else f"{self.repo}@{self.revision}"


@dataclass(frozen=True)
class FolderName:
    """A folder of this machine."""

    folder: Path


ModelName = ZooName | HubName | FolderName


def parse_name(text: str, known: Collection[str]) -> ModelName | None:
    """What the spelling of a name says; None if it says nothing.

    Args:
        text: as the user wrote it.
        known: names of the zoo.

    Raises:
        PvaeZooError: for ``hf://`` with something else than a repository behind it, or an impossible revision.
    """
    if text.startswith(HUB):
        return _repository(text, text.removeprefix(HUB))
    if text in (".", "..") or text.startswith(("./", "../", "/", "~")) or text.endswith("/") or "\\" in text:
        return FolderName(Path(text).expanduser())
    name, at, revision = text.partition("@")
    if name in known:
        return ZooName(name, _revision(text, revision) if at else None)
    if _REPOSITORY.fullmatch(name):
        return _repository(text, text)
    return None


def _repository(text: str, spelled: str) -> HubName:
    repo, at, revision = spelled.partition("@")
    if not _REPOSITORY.fullmatch(repo) or ".." in repo or "--" in repo:
        raise PvaeZooError(f"{text!r} names no repository: write hf://ORG/REPO or hf://ORG/REPO@REVISION")
    return HubName(repo, _revision(text, revision) if at else None)


def _revision(text: str, revision: str) -> str:
    if not _REVISION.fullmatch(revision) or ".." in revision:
        raise PvaeZooError(f"{text!r} names no revision: write NAME@REVISION with a branch, a tag or a commit")
    return revision
