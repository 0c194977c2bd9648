"""Publishing a bundle as a repository of the Hub: its files, and the card written from its measured figures."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.folder import CARD, CONFIG, LICENSE, MEASURED, Bundle
from pvae_zoo.contract.licence import licence_of
from pvae_zoo.reporting.card import render_card
from pvae_zoo.sources.hub.errors import endpoint, hub_errors
from pvae_zoo.sources.names import HubName
from pvae_zoo.sources.standing import card_folder, whole_card

if TYPE_CHECKING:
    from huggingface_hub import HfApi


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """Where a bundle is published.

    Attributes:
        name: the repository at the commit that holds the bundle.
        url: of that commit.
        changed: false if the repository held just this already, and no commit was made.
        tag: that now names the commit, if one was asked for.
    """

    name: HubName
    url: str
    changed: bool
    tag: str | None


def push_bundle(bundle: Bundle, repo: str, *, tag: str | None = None, private: bool = False) -> Pushed:
    """Publish a bundle in one commit; pushing the same again makes none.

    Args:
        bundle: every file is verified first.
        repo: ``ORG/REPO``; is made if it does not exist.
        tag: names the commit; a tag is never moved.
        private: make the repository a private one; one that is there must be private.

    Raises:
        HubUnreachable: if the Hub gives no answer.
        PvaeZooError: if a file is damaged, the Hub refuses, the repository is public, or the tag names another commit.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    name = HubName(repo)
    contents = contents_of(bundle)
    api = HfApi()
    with hub_errors(name):
        api.create_repo(repo, private=private, exist_ok=True)
        info = api.model_info(repo)
        if private and not info.private:
            raise PvaeZooError(
                f"{repo} is there already and is public: make it private at {endpoint()}/{repo}/settings first, or "
                "leave out --private"
            )
        parent = info.sha
        stored = _stored_hashes(api, repo)
        changed = any(stored.get(file) not in _hashes(data) for file, data in contents.items())
        taken = _tag_commit(api, repo, tag)
        if taken is not None and (changed or taken != parent):
            raise PvaeZooError(
                f"{repo} has a tag {tag} already, at {taken[:12]}, of another version: choose another tag"
            )
        commit = parent
        if changed:
            # Graphs of an older bundle that this one does not have would be taken for its own.
            stale = [file for file in stored if file.endswith(".onnx") and file not in contents]
            commit = api.create_commit(
                repo,
                [
                    *(CommitOperationAdd(path_in_repo=file, path_or_fileobj=data) for file, data in contents.items()),
                    *(CommitOperationDelete(path_in_repo=file) for file in stale),
                ],
                commit_message=f"{bundle.name} {bundle.digest[:12]}",
                parent_commit=parent,
            ).oid
        if tag is not None and taken is None:
            api.create_tag(repo, tag=tag, revision=commit)
    url = f"{endpoint()}/{repo}/commit/{commit}"
    return Pushed(name=HubName(repo, commit), url=url, changed=changed, tag=tag)


def contents_of(bundle: Bundle) -> dict[str, bytes]:
    """What is published, by file name: verified files, figures, licence, the card and the pictures that it shows."""
    contents = {spec.file: bundle.read(spec) for spec in bundle.files()}
    contents[CONFIG] = (bundle.folder / CONFIG).read_bytes()
    for name in MEASURED:
        figures = bundle.measured(name)
        if figures is not None:
            contents[name] = (json.dumps(figures, indent=2) + "\n").encode()
    folder = card_folder(bundle)
    card, pictures = whole_card(render_card(bundle, folder), folder)
    contents |= {CARD: card.encode(), LICENSE: licence_of(bundle.config.dataset).text.encode()}
    return contents | pictures


def _tag_commit(api: HfApi, repo: str, tag: str | None) -> str | None:
    """The commit that a tag names, None if there is no such tag."""
    if tag is None:
        return None
    return next((ref.target_commit for ref in api.list_repo_refs(repo).tags if ref.name == tag), None)


def _stored_hashes(api: HfApi, repo: str) -> dict[str, str]:
    """What the repository says of its files: the SHA-256 of large ones, the git hash of the others."""
    from huggingface_hub.hf_api import RepoFile

    files = [entry for entry in api.list_repo_tree(repo, recursive=True) if isinstance(entry, RepoFile)]
    return {file.path: file.lfs.sha256 if file.lfs else file.blob_id for file in files}


def _hashes(data: bytes) -> tuple[str, str]:
    from huggingface_hub.utils.sha import git_hash

    return hashlib.sha256(data).hexdigest(), git_hash(data)
