"""``list``: what the zoo holds."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from pvae_zoo.bundle import Bundle
from pvae_zoo.cli.options import json_option
from pvae_zoo.cli.output import bundle_size, echo_json, image_shape, mebibytes, number, table
from pvae_zoo.errors import PvaeZooError
from pvae_zoo.registry import model_names, open_bundle


def _figures(bundle: Bundle) -> dict[str, Any] | None:
    """The bound from the most images, and their importance-weighted bound with the most draws: of the test split, or
    of the validation split where the test split was not read."""
    from pvae_zoo.evaluation import own_evaluations

    stored = own_evaluations(bundle)
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


@click.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """List the models of the zoo and those that were pulled: shape, size and measured figures.

    NLL is the bound -ELBO in nats an image on the named SPLIT of the data, IWAE the importance-weighted bound; smaller
    is better.

    \b
    Example:
        pvae-zoo list
    """
    from pvae_zoo.hub.cache import cached_bundles

    shipped = [open_bundle(name) for name in model_names()]
    pulled = [(f"{repo}@{folder.name[:8]}", _opened(folder)) for repo, folder in cached_bundles()]
    named = [(bundle.name, bundle) for bundle in shipped] + [(name, b) for name, b in pulled if b is not None]
    if as_json:
        echo_json({"models": [_summary(name, bundle) for name, bundle in named]})
        return
    if not shipped:
        raise PvaeZooError("the zoo is empty: install the package again")
    rows = [["MODEL", "IMAGE", "PARAMETERS", "SIZE", "SPLIT", "NLL", "BITS/DIM", "IWAE", "PATH"]]
    for name, bundle in named:
        best = _figures(bundle) or {"split": "-"}
        figures = [best["split"], number(best.get("nll_nats")), number(best.get("bits_per_dim"), 4)]
        rows.append([
            *(name, image_shape(bundle), f"{bundle.config.parameters:,}", mebibytes(bundle_size(bundle))),
            *(*figures, number(best.get("iwae_nll_nats")), str(bundle.folder)),
        ])  # fmt: skip
    click.echo(table(rows, right=(2, 3, 5, 6, 7)))


def _opened(folder: Path) -> Bundle | None:
    """A bundle of the cache, if it can be read: doctor says what is wrong with the others."""
    try:
        return Bundle(folder)
    except PvaeZooError:
        return None


def _summary(name: str, bundle: Bundle) -> dict[str, Any]:
    return {
        "name": name,
        "title": bundle.config.title,
        "image": asdict(bundle.config.image),
        "parameters": bundle.config.parameters,
        "bytes": bundle_size(bundle),
        "sha256": bundle.digest,
        "figures": _figures(bundle),
        "path": str(bundle.folder),
    }
