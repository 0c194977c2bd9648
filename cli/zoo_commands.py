"""``list`` and ``pull``: what the zoo holds."""

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


def _test_figures(bundle: Bundle) -> dict[str, Any] | None:
    """The bound from the most test images, and the importance-weighted bound with the most draws."""
    from pvae_zoo.evaluation import stored_evaluations

    rows = [row for row in stored_evaluations(bundle) if row.get("split") == "test"]
    if not rows:
        return None
    most = max(rows, key=lambda row: (row.get("images", 0), row.get("samples", 0)))
    weighted = [row for row in rows if row.get("iwae_nll_nats") is not None]
    best = max(weighted, key=lambda row: row.get("samples", 0), default={})
    figures = {key: most.get(key) for key in ("nll_nats", "standard_error_nats", "bits_per_dim", "kl_nats", "images")}
    return figures | {"iwae_nll_nats": best.get("iwae_nll_nats"), "iwae_samples": best.get("samples")}


@click.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """List the models of the zoo: shape, size and measured figures.

    NLL is the bound -ELBO in nats an image on the test set, IWAE the importance-weighted bound; smaller is better.

    \b
    Example:
        pvae-zoo list
    """
    bundles = [open_bundle(name) for name in model_names()]
    if as_json:
        echo_json({"models": [_summary(bundle) for bundle in bundles]})
        return
    if not bundles:
        raise PvaeZooError("the zoo is empty: install the package again")
    rows = [["MODEL", "IMAGE", "PARAMETERS", "SIZE", "NLL", "BITS/DIM", "IWAE", "PATH"]]
    for bundle in bundles:
        test = _test_figures(bundle) or {}
        figures = [number(test.get("nll_nats")), number(test.get("bits_per_dim"), 4)]
        rows.append([
            *(bundle.name, image_shape(bundle), f"{bundle.config.parameters:,}", mebibytes(bundle_size(bundle))),
            *(*figures, number(test.get("iwae_nll_nats")), str(bundle.folder)),
        ])  # fmt: skip
    click.echo(table(rows, right=(2, 3, 4, 5, 6)))


def _summary(bundle: Bundle) -> dict[str, Any]:
    return {
        "name": bundle.name,
        "title": bundle.config.title,
        "image": asdict(bundle.config.image),
        "parameters": bundle.config.parameters,
        "bytes": bundle_size(bundle),
        "sha256": bundle.digest,
        "test": _test_figures(bundle),
        "path": str(bundle.folder),
    }


@click.command("pull")
@click.argument("name")
@click.option("--to", type=click.Path(path_type=Path), metavar="DIR", help="Copy the bundle and its card to DIR.")
@click.option("--force", is_flag=True, help="Replace files in DIR that differ.")
@json_option
def pull_command(name: str, to: Path | None, force: bool, as_json: bool) -> None:
    """Bring a model here: NAME is verified and, with --to, copied where another runtime can load it.

    The models of the zoo ship with the package, so this needs no network.

    \b
    Example:
        pvae-zoo pull mnist
        pvae-zoo pull mnist --to bundles/mnist
    """
    from pvae_zoo.pull import copy_bundle

    bundle = open_bundle(name)
    for spec in bundle.files():
        bundle.read(spec)
    folder = bundle.folder if to is None else to
    if to is not None:
        copy_bundle(bundle, to, force=force)
    if as_json:
        files = [{"file": spec.file, "size": spec.size, "sha256": spec.sha256} for spec in bundle.files()]
        echo_json({"name": bundle.name, "path": str(folder), "sha256": bundle.digest, "files": files})
    else:
        did = "copied to" if to is not None else "is at"
        click.echo(f"{bundle.name} {did} {folder} ({mebibytes(bundle_size(bundle))}, all hashes hold)")
