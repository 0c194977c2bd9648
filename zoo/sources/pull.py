"""Bringing a model here, wherever it is: shipped with the package, in the cache, on the Hub, or in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pvae_zoo.base.atomic import atomic_write, write_error
from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.folder import CONFIG, MEASURED, Bundle
from pvae_zoo.sources import registry
from pvae_zoo.sources.names import FolderName, HubName, ModelName, ZooName
from pvae_zoo.sources.registry import identify, published, resolve
from pvae_zoo.sources.standing import standing_files


@dataclass(frozen=True, kw_only=True)
class Pull:
    """What a pull has brought.

    Attributes:
        bundle: every file verified.
        source: the repository and commit that it came from; None for a shipped one and for a folder.
        pinned: whether the registry of the package vouches for it.
        downloaded: names of the files that came over the network.
        note: what the user should know.
    """

    bundle: Bundle
    source: HubName | None
    pinned: bool
    downloaded: tuple[str, ...] = ()
    note: str | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a pull would do: sizes in bytes by file name, and which files would come over the network."""

    source: str
    files: dict[str, int]
    missing: tuple[str, ...]

    @property
    def bytes_missing(self) -> int:
        return sum(self.files[file] for file in self.missing)


def pull(model: str, *, offline: bool = False, repair: bool = False, bars: bool = False) -> Pull:
    """Bring a model here and verify every file.

    Args:
        model: a name of the zoo, a repository of the Hub or a folder, as the user wrote it.
        offline: do not ask the Hub.
        repair: download files again whose hash does not hold.
        bars: show how far a download is, on stderr.

    Raises:
        PvaeZooError: if there is no such model, it is damaged or cannot be brought.
    """
    meant = identify(model, pulling=True)
    if _is_local(meant):
        return _local(model)
    name = published(meant) if isinstance(meant, ZooName) else meant
    assert isinstance(name, HubName)
    return _from_cache(name) if offline else _from_hub(name, repair, bars)


def needs_no_hub(model: str) -> bool:
    """Whether a model ships with the package or is a folder, so that `pull` asks nobody.

    Raises:
        PvaeZooError: if there is no such model.
    """
    return _is_local(identify(model, pulling=True))


def plan(model: str) -> Plan:
    """What `pull` would download; nothing is downloaded for it."""
    meant = identify(model, pulling=True)
    if _is_local(meant):
        bundle = Bundle(resolve(model))
        return Plan(source=str(bundle.folder), files={spec.file: spec.size for spec in bundle.files()}, missing=())
    from pvae_zoo.sources.hub.fetch import find_commit, plan_pull

    name = published(meant) if isinstance(meant, ZooName) else meant
    assert isinstance(name, HubName)
    pinned = find_commit(name)
    files, missing = plan_pull(pinned)
    return Plan(source=str(pinned), files=files, missing=missing)


def copy_bundle(bundle: Bundle, folder: Path, *, force: bool = False) -> list[Path]:
    """Copy a bundle to a folder that stands alone and that any runtime can load from: licence, card and pictures too.

    Every file is whole or absent, and ``config.json`` comes last, so a copy that was stopped is no bundle yet.

    Args:
        bundle: where to copy from; each file is verified.
        folder: is made; files in it with the same names must be the same.
        force: replace files that differ.

    Returns:
        The files in the folder.

    Raises:
        PvaeZooError: if a file is damaged, would be overwritten or cannot be written.
    """
    contents = {spec.file: bundle.read(spec) for spec in bundle.files()}
    contents |= {name: (bundle.folder / name).read_bytes() for name in MEASURED if (bundle.folder / name).is_file()}
    contents |= standing_files(bundle)
    contents[CONFIG] = (bundle.folder / CONFIG).read_bytes()
    try:
        kept = {name for name, data in contents.items() if _holds(folder / name, data, force)}
        if CONFIG not in kept:
            (folder / CONFIG).unlink(missing_ok=True)
    except OSError as error:
        raise write_error(folder, error) from error
    for name, data in contents.items():
        if name not in kept:
            atomic_write(folder / name, data)
    return [folder / name for name in contents]


def _is_local(meant: ModelName) -> bool:
    """Whether no Hub is needed."""
    if isinstance(meant, ZooName):
        shipped = (registry.bundles_folder() / meant.name / CONFIG).is_file()
        return meant.revision is None and (shipped or meant.name not in registry.known_names())
    return isinstance(meant, FolderName)


def _local(model: str) -> Pull:
    bundle = Bundle(resolve(model))
    for spec in bundle.files():
        bundle.read(spec)
    return Pull(bundle=bundle, source=None, pinned=_is_pinned(bundle))


def _from_cache(name: HubName, note: str | None = None) -> Pull:
    from pvae_zoo.sources.hub.fetch import pull_cached

    bundle = pull_cached(name)
    source = HubName(name.repo, bundle.folder.name)
    return Pull(bundle=bundle, source=source, pinned=_is_pinned(bundle), note=note)


def _from_hub(name: HubName, repair: bool, bars: bool) -> Pull:
    from pvae_zoo.sources.hub.cache import cached_snapshot
    from pvae_zoo.sources.hub.errors import HubUnreachable
    from pvae_zoo.sources.hub.fetch import find_commit, note_revision, pull_commit

    try:
        commit = find_commit(name)
    except HubUnreachable as error:
        if repair or cached_snapshot(name) is None:
            raise
        return _from_cache(name, note=f"{error}; this is what the cache has")
    while True:
        bundle, downloaded = pull_commit(commit, repair=repair, bars=bars)
        standing = note_revision(HubName(name.repo, name.revision))
        if standing == commit or name.revision == commit.revision:
            return Pull(bundle=bundle, source=commit, pinned=_is_pinned(bundle), downloaded=downloaded)
        commit = standing  # the branch has moved on meanwhile


def _is_pinned(bundle: Bundle) -> bool:
    return bundle.config_sha256 in registry.pinned_configs()


def _holds(path: Path, data: bytes, force: bool) -> bool:
    """Whether the file is there already."""
    if not path.exists():
        return False
    if path.is_file() and path.read_bytes() == data:
        return True
    if not force:
        raise PvaeZooError(f"{path} is there and differs: choose another folder, or add --force to replace it")
    return False
