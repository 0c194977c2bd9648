"""``push`` and ``register``, for makers: publish a bundle, and let the zoo vouch for it."""

from __future__ import annotations

from pathlib import Path

import click

from pvae_zoo.cli.options import json_option
from pvae_zoo.cli.output import echo, echo_json


@click.command("push")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("repo", metavar="ORG/REPO")
@click.option("--tag", metavar="TAG", help="Give the commit this name; a tag is never moved.")
@click.option("--private", is_flag=True, help="Make the repository a private one.")
@json_option
def push_command(bundle: Path, repo: str, tag: str | None, private: bool, as_json: bool) -> None:
    """Publish BUNDLE, a folder or a model that was made here, with its model card, on the Hugging Face Hub.

    Every file is verified first, and the card is written from the measured figures in the bundle. Pushing the same
    again makes no commit. Needs a token that may write: HF_TOKEN, or hf auth login.

    \b
    Example:
        pvae-zoo push bundles/mnist someone/pixelvae-mnist --tag v1
        pvae-zoo push kitchens someone/kitchens
    """
    from pvae_zoo.contract.folder import Bundle
    from pvae_zoo.publishing.push import push_bundle
    from pvae_zoo.sources.names import parse_name
    from pvae_zoo.sources.registry import resolve

    meant = parse_name(repo, ())
    if getattr(meant, "repo", None) is None or getattr(meant, "revision", None) is not None:
        raise click.UsageError(f"{repo!r} names no repository: write ORG/REPO")
    folder = bundle if bundle.is_dir() else resolve(str(bundle))
    pushed = push_bundle(Bundle(folder), meant.repo, tag=tag, private=private)  # type: ignore[union-attr]
    if as_json:
        echo_json({
            "repo": pushed.name.repo,
            "commit": pushed.name.revision,
            "changed": pushed.changed,
            "tag": pushed.tag,
            "url": pushed.url,
        })  # fmt: skip
        return
    did = "published" if pushed.changed else "is there already, nothing to do"
    echo(f"{bundle} {did}: {pushed.url}" + (f" (tag {pushed.tag})" if pushed.tag else ""))


@click.command("register")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--license",
    metavar="ID",
    help="The weights' licence, an SPDX identifier; by itself what the data set asks for.",
)
@click.option("--published", metavar="ORG/REPO@COMMIT", help="The repository and commit that the bundle was pushed to.")
@json_option
def register_command(bundle: Path, license: str | None, published: str | None, as_json: bool) -> None:
    """Write the hashes of BUNDLE into the registry.json beside it, which vouches for the bundles of the package.

    \b
    Example:
        pvae-zoo register zoo/bundles/mnist
        pvae-zoo register zoo/bundles/mnist --published someone/pixelvae-mnist@COMMIT
    """
    from dataclasses import asdict

    from pvae_zoo.contract.folder import Bundle
    from pvae_zoo.contract.licence import licence_of
    from pvae_zoo.sources.names import HubName, parse_name
    from pvae_zoo.sources.registry import REGISTRY, register

    where = parse_name(published, ()) if published is not None else HubName("")
    if not isinstance(where, HubName) or (published and len(where.revision or "") != 40):
        raise click.UsageError(f"--published {published!r}: write ORG/REPO@COMMIT, with all 40 digits of the commit")
    opened = Bundle(bundle)
    for spec in opened.files():
        opened.read(spec)
    license = license or licence_of(opened.config.dataset).spdx
    entry = register(opened, license=license, repo=where.repo or None, commit=where.revision)
    if as_json:
        echo_json({"name": bundle.name, **asdict(entry)})
    else:
        echo(f"{bundle.parent / REGISTRY}: {bundle.name}, {len(entry.files)} files")
