"""Bundles in the cache of the Hugging Face Hub, found without a network.

The cache is huggingface_hub's own (``HF_HOME``, ``HF_HUB_CACHE``), shared with every other program that uses it. What
it holds is not trusted to be sound: every file is hashed before onnxruntime sees a byte.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from pvae_zoo.contract.folder import CONFIG
from pvae_zoo.sources.names import HubName

_SHORT = re.compile(r"[0-9a-f]{7,39}")


def cache_folder() -> Path:
    """Where huggingface_hub keeps what it has downloaded."""
    # Its constants alone: the client behind them costs ten times as much to import.
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def has_repository(repo: str) -> bool:
    """Whether any revision of a repository is in the cache."""
    return _folder_of(repo).is_dir()


def cached_snapshot(name: HubName) -> Path | None:
    """The folder of a pulled revision (a branch, a tag or a commit; by default the main branch), None if there is none.

    A branch is where it stood when it was last pulled. A commit may be cut short, as ``pvae-zoo list`` shows it.
    """
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name.repo, CONFIG, revision=name.revision)
    if isinstance(found, str):
        return Path(found).parent
    if name.revision is None or not _SHORT.fullmatch(name.revision):
        return None
    matching = list(_folder_of(name.repo).glob(f"snapshots/{name.revision}*/{CONFIG}"))
    return matching[0].parent if len(matching) == 1 else None


def cached_bundles() -> list[tuple[str, Path]]:
    """Every repository of the cache that holds a bundle, with the folder of each of its revisions."""
    found = []
    for config in sorted(cache_folder().glob(f"models--*--*/snapshots/*/{CONFIG}")):
        if (config.parent / "decoder_step.onnx").exists():
            repo = config.parents[2].name.removeprefix("models--").replace("--", "/")
            found.append((repo, config.parent))
    return found


def _folder_of(repo: str) -> Path:
    return cache_folder() / f"models--{repo.replace('/', '--')}"


def as_stated(path: Path) -> bool:
    """Whether a file of the cache has the hash that its blob is named by, where it is named by one.

    The cache names blobs by what the Hub calls them: the SHA-256 of large files, the git hash of small ones.
    """
    if not path.is_symlink():
        return True
    from huggingface_hub.utils.sha import git_hash

    stated, data = path.readlink().name, path.read_bytes()
    if len(stated) == 64:
        return hashlib.sha256(data).hexdigest() == stated
    return len(stated) != 40 or git_hash(data) == stated
