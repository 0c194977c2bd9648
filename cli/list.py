"""``list``: what the zoo holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.cli.options import json_option
from pvae_zoo.cli.output import bundle_size, echo, echo_json, image_shape, mebibytes, number, table
from pvae_zoo.contract.folder import Bundle
from pvae_zoo.sources import registry
from pvae_zoo.sources.registry import model_names, resolve

_HEAD = ["MODEL", "IMAGE", "PARAMETERS", "SIZE", "SPLIT", "NLL", "BITS/DIM", "IWAE", "PATH"]


@click.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """List the models of the zoo and those that were made here or pulled: shape, size and measured figures.

    NLL is the bound -ELBO in nats an image on the named SPLIT of the data, IWAE the importance-weighted bound; smaller
    is better. A star marks the current model, the one that commands mean when none is named.

    \b
    Example:
        pvae-zoo list
    """
    if not model_names():
        raise PvaeZooError("the zoo is empty: install the package again")
    current = _current_folder()
    models, rows = [], [_HEAD]
    for name, folder in _places(current):
        chosen = current is not None and folder.resolve() == current.resolve()
        try:
            bundle = Bundle(folder)
            figures = _figures(bundle)
            rows.append(_row(f"{name} *" if chosen else name, bundle, figures))
            models.append(_summary(name, bundle, figures) | {"current": chosen})
        except (PvaeZooError, ValueError, ArithmeticError) as error:  # figures that cannot be put into words too
            echo(f"Note: {name} is left out: {error}", err=True)
    if as_json:
        echo_json({"models": models})
    else:
        echo(table(rows, right=(2, 3, 5, 6, 7)))


def _places(current: Path | None) -> Iterator[tuple[str, Path]]:
    """Names with folders: what ships with the package, what was made here or pulled, and the current model if it is
    none of these."""
    from pvae_zoo.sources.hub.cache import cached_bundles
    from pvae_zoo.sources.own import own_models_folder, own_names

    shipped = model_names()
    places = [(name, registry.bundles_folder() / name) for name in shipped]
    places += [(name, own_models_folder() / name) for name in own_names() if name not in shipped]
    places += [(f"{repo}@{folder.name[:8]}", folder) for repo, folder in cached_bundles()]
    yield from places
    if current is not None and all(folder.resolve() != current.resolve() for _, folder in places):
        yield str(current), current


def _current_folder() -> Path | None:
    """Where the current model lies, None if it is not here."""
    from pvae_zoo.sources.current import current_model

    current = current_model()
    if current.note:
        echo(f"Note: {current.note}", err=True)
    try:
        return resolve(current.name)
    except PvaeZooError as error:
        echo(f"Note: {error} (it is the current model: pvae-zoo use NAME changes that)", err=True)
        return None


def _row(name: str, bundle: Bundle, figures: dict[str, Any] | None) -> list[str]:
    best = figures or {"split": "-"}
    return [
        *(name, image_shape(bundle), f"{bundle.config.parameters:,}", mebibytes(bundle_size(bundle))),
        *(best["split"], number(best.get("nll_nats")), number(best.get("bits_per_dim"), 4)),
        *(number(best.get("iwae_nll_nats")), str(bundle.folder)),
    ]


def _summary(name: str, bundle: Bundle, figures: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "name": name,
        "title": bundle.config.title,
        "image": asdict(bundle.config.image),
        "parameters": bundle.config.parameters,
        "bytes": bundle_size(bundle),
        "sha256": bundle.digest,
        "figures": figures,
        "path": str(bundle.folder),
    }


def _figures(bundle: Bundle) -> dict[str, Any] | None:
    """The bound from the most images, and their importance-weighted bound with the most draws: of the test split, or
    of the validation split where the test split was not read. None, with a note, where the file is damaged."""
    from pvae_zoo.reporting.evaluation import own_evaluations

    try:
        stored = own_evaluations(bundle)
    except PvaeZooError as error:
        echo(f"Note: {error}", err=True)
        return None
    split = next((split for split in ("test", "valid") if any(row["split"] == split for row in stored)), None)
    if split is None:
        return None
    rows = [row for row in stored if row["split"] == split]
    most = max(rows, key=lambda row: (row.get("images", 0), row.get("samples", 0)))
    same = [row for row in rows if row.get("images") == most.get("images")]  # figures of other images do not compare
    weighted = [row for row in same if row.get("iwae_nll_nats") is not None]
    best = max(weighted, key=lambda row: row.get("samples", 0), default={})
    keys = ("split", "nll_nats", "standard_error_nats", "bits_per_dim", "kl_nats", "images")
    figures = {key: most.get(key) for key in keys}
    return figures | {"iwae_nll_nats": best.get("iwae_nll_nats"), "iwae_samples": best.get("samples")}
