"""Who may load: bundles that are pinned, trusted by the user, or found harmless."""

from __future__ import annotations

import os
from pathlib import Path

from pvae_zoo import __version__
from pvae_zoo.base.atomic import atomic_write
from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.folder import Bundle


def admit(bundle: Bundle, *, trust: bool = False) -> None:
    """Let a bundle pass, or say why not; to be called before a session is made of any of its graphs.

    Pinned is a bundle whose config has a hash of the registry: the config holds the hashes of all graphs, and those are
    checked at every read. Any other is screened and tried once; the verdict is remembered for as long as neither the
    config nor onnxruntime nor this package changes.

    Args:
        bundle: opened, none of its graphs read.
        trust: the user vouches for it.

    Raises:
        PvaeZooError: if the bundle is neither pinned nor trusted nor harmless, or onnxruntime is missing.
    """
    if trust:
        return
    from pvae_zoo.sources.registry import pinned_configs

    if bundle.config_sha256 in pinned_configs():
        return
    from pvae_zoo.runtime.sessions import import_onnxruntime

    verdict = _verdict(bundle.config_sha256, import_onnxruntime().__version__)
    if verdict is not None and verdict.is_file():
        return
    _check(bundle)
    if verdict is not None:
        _remember(verdict)


def _check(bundle: Bundle) -> None:
    from pvae_zoo.trust.configuration import screen_config
    from pvae_zoo.trust.trial import try_bundle

    problems = screen_config(bundle.config) or try_bundle(bundle)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise PvaeZooError(
            f"{bundle.folder} is not pinned by the registry and not safe to load: {problems[0]}{more}; get it from a "
            "source you trust, or add --trust if you know what it holds"
        )


def _verdict(config_sha256: str, onnxruntime: str) -> Path | None:
    """The file that is there once a bundle was found harmless; None where there is no place for it."""
    from huggingface_hub import cached_assets_path

    try:
        folder = Path(cached_assets_path("pvae-zoo", namespace="admitted"))
    except (OSError, ValueError):
        return None
    return folder / f"{config_sha256}-onnxruntime-{onnxruntime}-pvae-zoo-{__version__}"


def _remember(verdict: Path) -> None:
    try:
        atomic_write(verdict, f"admitted by process {os.getpid()}\n".encode())
    except PvaeZooError:  # a full or read-only cache: the next load looks again
        return
