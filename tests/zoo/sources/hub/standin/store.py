"""What a Hub keeps: repositories with commits, branches and tags, and large files by their hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

LARGE = frozenset({".bin", ".npy", ".npz", ".onnx", ".pt", ".safetensors"})
REGULAR_LIMIT = 10 * 2**20  # bytes; the Hub makes an LFS file of anything larger
GITATTRIBUTES = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in sorted(LARGE)).encode()


class ConflictError(Exception):
    """The branch has moved on, or the name is taken."""


def is_large(path: str, size: int) -> bool:
    """Whether a file goes to LFS; an empty one cannot."""
    return size > 0 and (PurePosixPath(path).suffix in LARGE or size > REGULAR_LIMIT)


def git_oid(content: bytes) -> str:
    """The name that git gives to a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass(frozen=True)
class File:
    """A file in a commit; of a large one git itself holds a pointer only."""

    content: bytes
    large: bool

    @classmethod
    def at(cls, path: str, content: bytes) -> File:
        return cls(content, is_large(path, len(content)))

    @property
    def size(self) -> int:
        return len(self.content)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def pointer(self) -> bytes:
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {self.size}\n"
        return text.encode()

    @property
    def oid(self) -> str:
        return git_oid(self.pointer if self.large else self.content)

    @property
    def etag(self) -> str:
        """What names the content over HTTP: sha256 for LFS, git's name otherwise."""
        return self.sha256 if self.large else self.oid


@dataclass(frozen=True)
class Commit:
    """A state of all files; its id follows from its content and its parent."""

    title: str
    files: Mapping[str, File]
    parent: str | None = None

    @property
    def id(self) -> str:
        tree = {path: file.oid for path, file in self.files.items()}
        return hashlib.sha1(json.dumps([self.title, self.parent, tree], sort_keys=True).encode()).hexdigest()


@dataclass
class Repo:
    """A model repository. Like the Hub's own, it begins with a commit that holds `.gitattributes`."""

    name: str
    private: bool = False
    gated: bool = False
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.commits:
            self.commit({".gitattributes": File(GITATTRIBUTES, large=False)}, "initial commit")

    def commit(
        self, changes: Mapping[str, File | None], title: str, branch: str = "main", parent: str | None = None
    ) -> Commit:
        """Puts the changed files, None for those that go, on top of a branch.

        Raises:
            ConflictError: `parent` is given and is not (the beginning of) the branch's commit.
        """
        head = self.branches.get(branch)
        if parent is not None and not (head or "").startswith(parent):
            raise ConflictError("A commit has happened since. Please refresh and try again.")
        files: dict[str, File | None] = {**(self.commits[head].files if head else {}), **changes}
        commit = Commit(title, {path: file for path, file in sorted(files.items()) if file is not None}, head)
        self.commits[commit.id] = commit
        self.branches[branch] = commit.id
        return commit

    def resolve(self, revision: str) -> Commit | None:
        """The commit that a branch, a tag, an id or the first 7 or more digits of one names."""
        name = self.branches.get(revision) or self.tags.get(revision) or revision
        found = [id for id in self.commits if len(name) >= 7 and id.startswith(name)]
        return self.commits[found[0]] if len(found) == 1 else None

    def history(self, revision: str = "main") -> list[Commit]:
        """A revision's commits, the newest first."""
        commits, commit = [], self.resolve(revision)
        while commit:
            commits.append(commit)
            commit = self.commits.get(commit.parent or "")
        return commits

    @property
    def files(self) -> dict[str, bytes]:
        """The content of each file on `main`."""
        return {path: file.content for path, file in self.history()[0].files.items()}
