"""``pull``: bring a model here, whole and verified."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pvae_zoo.cli.options import json_option
from pvae_zoo.cli.output import bundle_size, echo_json, mebibytes, table

if TYPE_CHECKING:
    from pvae_zoo.pull import Plan, Pull


@click.command("pull")
@click.argument("name", metavar="NAME[@REV]")
@click.option("--to", type=click.Path(path_type=Path), metavar="DIR", help="Copy the bundle and its card to DIR.")
@click.option("--force", is_flag=True, help="Replace files in DIR that differ.")
@click.option("--dry-run", is_flag=True, help="Say what would be downloaded, and download nothing.")
@click.option("--offline", is_flag=True, help="Do not ask the Hub: what is in the cache, or an error.")
@click.option("--repair", is_flag=True, help="Download files again whose hash does not hold.")
@json_option
def pull_command(
    name: str, to: Path | None, force: bool, dry_run: bool, offline: bool, repair: bool, as_json: bool
) -> None:
    """Bring a model here and verify every file of it.

    NAME is a model of the zoo, a repository of the Hugging Face Hub (ORG/REPO or hf://ORG/REPO) or a folder; REV is a
    branch, a tag or a commit. Models that ship with the package need no network. What is downloaded stays in the Hub's
    cache (HF_HOME), where sample, nll and the other commands find it under the same name.

    \b
    Example:
        pvae-zoo pull mnist
        pvae-zoo pull mnist --to bundles/mnist
        pvae-zoo pull someone/their-pixelvae@v1 --dry-run
    """
    from pvae_zoo.pull import copy_bundle, plan, pull

    if dry_run and (to is not None or repair or offline):
        raise click.UsageError("--dry-run changes nothing: leave out --to, --repair and --offline")
    if offline and repair:
        raise click.UsageError("--repair downloads, --offline forbids it: choose one")
    if dry_run:
        _print_plan(plan(name), as_json)
        return
    # The client's bars are for people who look: none in logs, none beside JSON.
    pulled = pull(name, offline=offline, repair=repair, bars=sys.stderr.isatty() and not as_json)
    if pulled.note:
        click.echo(f"Note: {pulled.note}", err=True)
    folder = pulled.bundle.folder if to is None else to
    if to is not None:
        copy_bundle(pulled.bundle, to, force=force)
    if as_json:
        echo_json(_as_json(pulled, folder))
        return
    did = "copied to" if to is not None else "is at"
    fetched = f"; downloaded {', '.join(pulled.downloaded)}" if pulled.downloaded else ""
    source = f" ({pulled.source})" if pulled.source else ""
    size = mebibytes(bundle_size(pulled.bundle))
    click.echo(f"{pulled.bundle.name}{source} {did} {folder} ({size}, all hashes hold{fetched})")


def _as_json(pulled: Pull, folder: Path) -> dict[str, Any]:
    return {
        "name": pulled.bundle.name,
        "path": str(folder),
        "sha256": pulled.bundle.digest,
        "repo": pulled.source.repo if pulled.source else None,
        "commit": pulled.source.revision if pulled.source else None,
        "pinned": pulled.pinned,
        "downloaded": list(pulled.downloaded),
        "files": [{"file": spec.file, "size": spec.size, "sha256": spec.sha256} for spec in pulled.bundle.files()],
    }


def _print_plan(planned: Plan, as_json: bool) -> None:
    if as_json:
        files = [
            {"file": file, "size": size, "will_download": file in planned.missing}
            for file, size in planned.files.items()
        ]
        echo_json({"source": planned.source, "download_bytes": planned.bytes_missing, "files": files})
        return
    rows = [
        [file, mebibytes(size), "download" if file in planned.missing else "is here"]
        for file, size in planned.files.items()
    ]
    needed = f"{mebibytes(planned.bytes_missing)} to download" if planned.missing else "nothing to download"
    click.echo(f"{planned.source}: {needed}")
    click.echo(table(rows, right=(1,)))
