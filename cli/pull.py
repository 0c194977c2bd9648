"""``pull``: bring a model here, whole and verified."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.cli.options import json_option, refuse
from pvae_zoo.cli.output import bundle_size, echo, echo_json, mebibytes, table

if TYPE_CHECKING:
    from pvae_zoo.sources.pull import Plan, Pull


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
    """Bring a model here, verify every file of it, and make it the current model.

    NAME is a model of the zoo, a repository of the Hugging Face Hub (ORG/REPO or hf://ORG/REPO) or a folder; REV is a
    branch, a tag or a commit. Models that ship with the package need no network. What is downloaded stays in the Hub's
    cache (HF_HOME), where sample, nll and the other commands find it under the same name. They mean it from then on
    when no model is named; pvae-zoo use changes that.

    \b
    Example:
        pvae-zoo pull lsun
        pvae-zoo pull mnist --to bundles/mnist
        pvae-zoo pull someone/their-pixelvae@v1 --dry-run
    """
    from pvae_zoo.sources.pull import copy_bundle, needs_no_hub, plan, pull

    if dry_run:
        refuse("to", "force", "repair", "offline", because="--dry-run changes nothing")
        _print_plan(plan(name), as_json)
        return
    if to is None:
        refuse("force", because="it is for the files of --to DIR")
    if offline and repair:
        raise click.UsageError("--repair downloads, --offline forbids it: choose one")
    if repair and needs_no_hub(name):
        refuse("repair", because=f"{name} does not come from the Hub, so nothing can be downloaded again")
    # The client's bars are for people who look: none in logs, none beside JSON.
    pulled = pull(name, offline=offline, repair=repair, bars=sys.stderr.isatty() and not as_json)
    if pulled.note:
        echo(f"Note: {pulled.note}", err=True)
    folder = pulled.bundle.folder if to is None else to
    if to is not None:
        copy_bundle(pulled.bundle, to, force=force)
    current = _made_current(name)
    if as_json:
        echo_json(_as_json(pulled, folder) | {"current": current})
        return
    did = "copied to" if to is not None else "is at"
    fetched = f"; downloaded {', '.join(pulled.downloaded)}" if pulled.downloaded else ""
    source = f" ({pulled.source})" if pulled.source else ""
    size = mebibytes(bundle_size(pulled.bundle))
    echo(f"{pulled.bundle.name}{source} {did} {folder} ({size}, all hashes hold{fetched})")
    if current is not None:
        echo(f"{current} is the current model now: commands mean it when none is named")


def _made_current(name: str) -> str | None:
    """The name of the pulled model as the current one, None where it cannot be kept: that spoils no pull."""
    from pvae_zoo.sources.current import VARIABLE, make_current

    try:
        current = make_current(name)
    except PvaeZooError as error:
        echo(f"Note: the current model stays what it was: {error}", err=True)
        return None
    if os.environ.get(VARIABLE):
        echo(f"Note: {VARIABLE} is set to {os.environ[VARIABLE]}, which wins until it is unset", err=True)
    return current


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
    echo(f"{planned.source}: {needed}")
    echo(table(rows, right=(1,)))
