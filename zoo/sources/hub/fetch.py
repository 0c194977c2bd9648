"""Bringing a bundle from the Hub into its cache: at one commit, whole, and every file as its config says.

huggingface_hub downloads (its cache, its settings, its retries) and checks lengths; the hashes are ours. Files come by
the commit, and a branch or tag is noted in the cache when all of them are there: until then the last version stands.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.config import ROLES, TWO_LEVEL_ROLES, FileSpec
from pvae_zoo.contract.folder import CARD, CONFIG, GOLDEN, LICENSE, MEASURED, PICTURES, WEIGHTS, Bundle
from pvae_zoo.sources.hub.cache import as_stated, cache_folder, cached_snapshot
from pvae_zoo.sources.hub.errors import endpoint, hub_errors
from pvae_zoo.sources.names import HubName

if TYPE_CHECKING:
    from huggingface_hub import DryRunFileInfo

_PATIENCE = 30.0
"""Seconds to wait for the Hub to say where a revision stands; the client itself would wait for ever."""

_SPARE = 1.05
"""Free space wanted for a download, as a multiple of its size."""


def find_commit(name: HubName) -> HubName:
    """The same at the commit where the revision stands now.

    Raises:
        HubUnreachable: if the Hub gives no answer.
        PvaeZooError: if there is no such repository or revision.
    """
    from huggingface_hub import HfApi

    with hub_errors(name):
        info = HfApi().model_info(name.repo, revision=name.revision or "main", timeout=_PATIENCE)
    if info.sha is None:
        raise PvaeZooError(f"{name.repo} is empty: it has no commit")
    return HubName(name.repo, info.sha)


def plan_pull(pinned: HubName) -> tuple[dict[str, int], tuple[str, ...]]:
    """What `pull_commit` would download, as the repository lists it; nothing is downloaded for that.

    Returns:
        Sizes in bytes by file name, and the names of the files that are not here.

    Raises:
        PvaeZooError: if the repository holds no bundle.
    """
    # Every file of a bundle has one name that it must have: the config is not needed to know them.
    graphs = dict.fromkeys(f"{role}.onnx" for role in (*ROLES, *TWO_LEVEL_ROLES))
    infos = _found(pinned, [*graphs, GOLDEN, WEIGHTS])
    if all(info.filename != CONFIG for info in infos):
        raise PvaeZooError(f"{pinned} is no bundle, or not a whole one: it has no {CONFIG}")
    return {info.filename: info.file_size or 0 for info in infos}, tuple(i.filename for i in infos if i.will_download)


def pull_commit(pinned: HubName, *, repair: bool = False, bars: bool = False) -> tuple[Bundle, tuple[str, ...]]:
    """Bring the bundle at a commit into the cache; what is there already is hashed and not fetched again.

    Args:
        pinned: a repository at a commit.
        repair: fetch files anew whose hash does not hold.
        bars: let the client show how far it is, on stderr.

    Returns:
        The bundle, every file verified, and the names of the files that came over the network.

    Raises:
        HubUnreachable: if the Hub gives no answer.
        PvaeZooError: if a file is missing there, is not what the config says, or cannot be written.
    """
    from huggingface_hub import snapshot_download

    bundle, fetched = _config_of(pinned, repair=repair)
    infos = _listing(pinned, bundle)
    missing = [info.filename for info in infos if info.will_download]
    _check_space(sum(info.file_size or 0 for info in infos if info.will_download))
    with hub_errors(pinned), _bars(bars):
        snapshot_download(pinned.repo, revision=pinned.revision, allow_patterns=[info.filename for info in infos])
    # What came just now and is not right may be a fault on the way: it gets one more chance.
    again = [spec for spec in _unsound(bundle) if repair or spec.file in missing]
    for spec in again:
        _fetch_again(pinned, bundle, spec)
    check_cached(bundle, pinned)
    return bundle, tuple(dict.fromkeys([*fetched, *missing, *(spec.file for spec in again)]))


def note_revision(name: HubName) -> HubName:
    """Let the cache know where a branch or tag stands; gives the commit, which may be newer than the one before."""
    from huggingface_hub import hf_hub_download

    with hub_errors(name), _bars(False):
        path = hf_hub_download(name.repo, CONFIG, revision=name.revision)
    return HubName(name.repo, Path(path).parent.name)


def pull_cached(name: HubName) -> Bundle:
    """The bundle in the cache, every file verified, without asking the Hub.

    Raises:
        PvaeZooError: if it is not there, not whole or not sound.
    """
    folder = cached_snapshot(name)
    if folder is None:
        raise PvaeZooError(f"{name} is not in the cache at {cache_folder()}: pull it once without --offline")
    if not as_stated(folder / CONFIG):
        raise PvaeZooError(f"{folder / CONFIG} is damaged: run pvae-zoo pull {name} --repair")
    bundle = Bundle(folder)
    check_cached(bundle, name)
    return bundle


def check_cached(bundle: Bundle, name: HubName) -> None:
    """Hash every file of a bundle in the cache.

    Raises:
        PvaeZooError: if one is missing or damaged, with the command that mends it.
    """
    unsound = _unsound(bundle)
    if unsound:
        files = ", ".join(spec.file for spec in unsound)
        raise PvaeZooError(f"{bundle.folder}: missing or damaged: {files}: run pvae-zoo pull {name} --repair")


def _config_of(pinned: HubName, *, repair: bool) -> tuple[Bundle, list[str]]:
    """The bundle as far as its config is there, and what was fetched for it."""
    from huggingface_hub import hf_hub_download

    present = cached_snapshot(pinned) is not None
    with hub_errors(pinned, CONFIG), _bars(False):
        path = Path(hf_hub_download(pinned.repo, CONFIG, revision=pinned.revision))
        if not as_stated(path) and (repair or not present):
            path = Path(hf_hub_download(pinned.repo, CONFIG, revision=pinned.revision, force_download=True))
            present = False
    if path.parent.name != pinned.revision:
        raise PvaeZooError(f"{endpoint()} gives the commit {path.parent.name} for {pinned}: do not use it")
    if not as_stated(path):
        raise PvaeZooError(f"{path} is damaged: run pvae-zoo pull {pinned} --repair")
    return Bundle(path.parent), [] if present else [CONFIG]


def _listing(pinned: HubName, bundle: Bundle) -> list[DryRunFileInfo]:
    """The files of the bundle as the repository has them.

    Raises:
        PvaeZooError: if one is missing there or has another size.
    """
    specs = {spec.file: spec for spec in bundle.files()}
    infos = _found(pinned, [*specs])
    there = {info.filename: info for info in infos}
    for name, spec in specs.items():
        if name not in there:
            raise PvaeZooError(f"{pinned} lacks {name}, which its {CONFIG} names: ask its owner to push it again")
        info = there[name]
        if info.will_download and info.file_size != spec.size:
            raise PvaeZooError(
                f"{pinned} has {name} with {info.file_size} bytes, its {CONFIG} says {spec.size}: not downloaded"
            )
    return infos


def _found(pinned: HubName, files: list[str]) -> list[DryRunFileInfo]:
    """Those of the files that the repository has, and its config, card, the card's pictures, licence and figures."""
    from huggingface_hub import snapshot_download

    wanted = [CONFIG, *files, CARD, LICENSE, *PICTURES, *MEASURED]
    with hub_errors(pinned), _bars(False):
        infos = snapshot_download(pinned.repo, revision=pinned.revision, allow_patterns=wanted, dry_run=True)
    return sorted(infos, key=lambda info: info.filename)


@contextmanager
def _bars(shown: bool) -> Iterator[None]:
    """Silence the client's progress bars for a while, unless they are wanted."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if shown or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def _check_space(needed: int) -> None:
    folder = cache_folder()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if needed * _SPARE > free:
        raise PvaeZooError(
            f"{cache_folder()} has {free / 2**20:.1f} MiB free and {needed * _SPARE / 2**20:.1f} are needed: free some "
            "space, or set HF_HOME to another disk"
        )


def _unsound(bundle: Bundle) -> list[FileSpec]:
    def sound(spec: FileSpec) -> bool:
        try:
            bundle.read(spec)
        except PvaeZooError:
            return False
        return True

    return [spec for spec in bundle.files() if not sound(spec)]


def _fetch_again(pinned: HubName, bundle: Bundle, spec: FileSpec) -> None:
    """Replace one file; what the repository gives wrongly a second time is taken out of the cache."""
    from huggingface_hub import hf_hub_download

    bad = (bundle.folder / spec.file).resolve()
    with hub_errors(pinned, spec.file), _bars(False):
        path = Path(hf_hub_download(pinned.repo, spec.file, revision=pinned.revision, force_download=True))
    # The cache may share a file between repositories, and a download in its place leaves the shared one as it was.
    if bad != path.resolve() and bad.is_relative_to(cache_folder().resolve()):
        bad.unlink(missing_ok=True)
    try:
        bundle.read(spec)
    except PvaeZooError as error:
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise PvaeZooError(
            f"{pinned} gives other bytes for {spec.file} than its {CONFIG} says (SHA-256 differs): do not use it, and "
            "ask its owner to push it again"
        ) from error
