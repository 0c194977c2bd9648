"""What the zoo holds: the bundles that ship with the package, with the hashes that vouch for them.

``bundles/registry.json`` says for every model which files it has, with size and SHA-256, its licence, and the
repository and commit where it is published, if it is. A bundle whose ``config.json`` has a hash of the registry is
pinned, wherever it came from: the config holds the hashes of all graphs, and those are checked at every read.
"""

from __future__ import annotations

import difflib
import json
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path

import dacite

from pvae_zoo.base.atomic import atomic_write
from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.config import FileSpec
from pvae_zoo.contract.folder import CONFIG, MEASURED, Bundle, file_spec
from pvae_zoo.sources.names import FolderName, HubName, ModelName, ZooName, parse_name
from pvae_zoo.sources.own import own_models_folder, own_names

DEFAULT_MODEL = "mnist"
REGISTRY = "registry.json"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What vouches for a model of the zoo.

    Attributes:
        license: of the weights, an SPDX identifier.
        repo: where it is published, None if it is not.
        commit: of ``repo``, 40 hexadecimal digits.
        files: every file of the bundle.
    """

    license: str
    repo: str | None
    commit: str | None
    files: tuple[FileSpec, ...]

    @property
    def config_sha256(self) -> str:
        """The hash that pins the model: that of its ``config.json``, which holds those of the graphs."""
        return next(file.sha256 for file in self.files if file.file == CONFIG)


def bundles_folder() -> Path:
    """Where the package keeps its bundles."""
    return Path(str(resources.files("pvae_zoo") / "bundles"))


def read_registry(folder: Path | None = None) -> dict[str, Entry]:
    """The entries by name, of the package or of another folder of bundles; none if there is no registry.

    Raises:
        PvaeZooError: if the file is damaged.
    """
    path = (folder or bundles_folder()) / REGISTRY
    if not path.is_file():
        return {}
    try:
        data = json.loads(path.read_text("utf-8"))
        options = dacite.Config(strict=True, cast=[tuple])
        return {name: dacite.from_dict(Entry, entry, options) for name, entry in data["models"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, dacite.DaciteError) as error:
        raise PvaeZooError(f"{path} cannot be read ({error}): install the package again") from error


def register(bundle: Bundle, *, license: str, repo: str | None = None, commit: str | None = None) -> Entry:
    """Write a bundle's entry into the registry of the folder that it lies in, for the bundles of the package."""
    folder = bundle.folder.parent
    paths = [bundle.folder / CONFIG, *(bundle.folder / spec.file for spec in bundle.files())]
    paths += [bundle.folder / name for name in MEASURED if (bundle.folder / name).is_file()]
    entry = Entry(license=license, repo=repo, commit=commit, files=tuple(file_spec(path) for path in sorted(paths)))
    entries = {**read_registry(folder), bundle.folder.name: entry}
    models = {name: asdict(entries[name]) for name in sorted(entries)}
    atomic_write(folder / REGISTRY, (json.dumps({"models": models}, indent=2) + "\n").encode())
    return entry


def renew(bundle: Bundle) -> None:
    """Bring the entry of a bundle up to date after its figures have changed, if it has one beside it."""
    entry = read_registry(bundle.folder.parent).get(bundle.folder.name)
    if entry is not None and entry.config_sha256 == bundle.config_sha256:
        register(bundle, license=entry.license, repo=entry.repo, commit=entry.commit)


def pinned_configs() -> frozenset[str]:
    """Hashes of the ``config.json`` that the registry vouches for."""
    return frozenset(entry.config_sha256 for entry in read_registry().values())


def model_names() -> list[str]:
    """Names of the models that ship with the package, the default one first."""
    names = sorted(path.parent.name for path in bundles_folder().glob(f"*/{CONFIG}"))
    return sorted(names, key=lambda name: (name != DEFAULT_MODEL, name))


def known_names() -> list[str]:
    """All names of the zoo: those that ship with the package, then those that the registry says where to find."""
    shipped = model_names()
    return [*shipped, *(name for name in read_registry() if name not in shipped)]


def identify(text: str, *, pulling: bool = False) -> ModelName:
    """What a user means by a name. One of the zoo always means the zoo, whatever lies in the working folder.

    Args:
        text: a name of the zoo, a repository of the Hub or a folder.
        pulling: whether the Hub is to be asked; otherwise only repositories that were pulled are meant.

    Raises:
        PvaeZooError: if it may be a folder and a repository, with both spellings, or nothing, with the nearest name.
    """
    known = known_names()
    if text.partition("@")[0] not in known:
        known += own_names()
    meant = parse_name(text, known)
    if isinstance(meant, FolderName | ZooName):
        return meant  # without a look at the working folder
    here = Path(text)
    if not (here / CONFIG).is_file():
        if meant is None or (here.is_dir() and not pulling and not _pulled(meant)):
            raise PvaeZooError(_unknown(text, known))
        return meant
    if meant is not None and (pulling or _pulled(meant)):
        raise PvaeZooError(
            f"{text!r} may be a folder here or a repository of the Hub: write ./{text} or hf://{text} for it"
        )
    return FolderName(here)


def published(name: ZooName) -> HubName:
    """Where a model of the zoo is published: at the commit that the registry pins, or at the revision asked for.

    Raises:
        PvaeZooError: if it is not.
    """
    entry = read_registry().get(name.name)
    if entry is None or entry.repo is None:
        raise PvaeZooError(f"{name}: the model is not published anywhere: pull {name.name}, which ships with this")
    return HubName(entry.repo, name.revision or entry.commit)


def resolve(model: str) -> Path:
    """The folder of a model: one that ships with the package, one that was made here or pulled, or any by its path.

    Raises:
        PvaeZooError: if there is none; the nearest name or the command that brings it is in the message.
    """
    meant = identify(model)
    if isinstance(meant, FolderName):
        if meant.folder.is_dir() and not (meant.folder / CONFIG).is_file():
            raise PvaeZooError(f"the folder {model!r} is no bundle: it has no {CONFIG}")
        return meant.folder
    if isinstance(meant, ZooName):
        shipped = bundles_folder() / meant.name
        if meant.revision is None and (shipped / CONFIG).is_file():
            return shipped
        if not (shipped / CONFIG).is_file() and meant.name not in read_registry():
            if meant.revision is not None:
                raise PvaeZooError(f"{meant.name} was made on this machine and has no versions: leave out the @")
            return own_models_folder() / meant.name
        meant = published(meant)
    from pvae_zoo.sources.hub.cache import cached_snapshot

    folder = cached_snapshot(meant)
    if folder is None:
        raise PvaeZooError(f"{meant} has not been pulled: run pvae-zoo pull {model}")
    return folder


def open_bundle(model: str) -> Bundle:
    """The bundle of a model by name or path."""
    return Bundle(resolve(model))


def _pulled(name: HubName) -> bool:
    from pvae_zoo.sources.hub.cache import has_repository

    return has_repository(name.repo)


def _unknown(text: str, known: list[str]) -> str:
    if Path(text).is_dir():
        return f"the folder {text!r} is no bundle: it has no {CONFIG}"
    near = difflib.get_close_matches(text, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"the zoo holds {', '.join(known) or 'none'}"
    return f"no model {text!r}: {hint} (or give the folder of a bundle; see pvae-zoo list)"
