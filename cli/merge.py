"""``merge``: put the parts of a sharded run together."""

from __future__ import annotations

from pathlib import Path

import click

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.cli.options import json_option
from pvae_zoo.cli.output import echo, echo_json, exit_for_failures
from pvae_zoo.cli.scores import print_scores
from pvae_zoo.cli.screened import Form, print_screened


@click.command("merge")
@click.argument("folder", metavar="DIR")
@click.option("--out", "-o", metavar="FILE", help="Write to this file what would be printed.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, where the parts are those of screen.")
@json_option
def merge_command(folder: str, out: str | None, as_csv: bool, as_json: bool) -> None:
    """Put the parts in DIR together: those of nll or screen with --shard or --ray, or of sample --shard.

    Of nll and screen, prints what one run over all images would have printed, with its exit code. Of sample, sees that
    every image is there and is what was drawn. Nothing is printed unless all parts are there, whole and of one run.

    \b
    Example:
        pvae-zoo merge parts/
        pvae-zoo merge parts/ --json --out scores.json
    """
    from pvae_zoo.scale.merge import part_names

    kinds = {"nll": ("part", ".jsonl"), "screen": ("screen", ".jsonl"), "sample": ("samples", ".json")}
    found = [name for name, (prefix, suffix) in kinds.items() if part_names(Path(folder), prefix, suffix)]
    if len(found) > 1:
        raise PvaeZooError(f"{folder} holds parts of {' and of '.join(found)}: keep them in folders of their own")
    if not found:
        raise PvaeZooError(
            f"{folder} holds no part: run pvae-zoo nll, screen or sample with --shard 1/N --out {folder} first"
        )
    if as_csv and found != ["screen"]:
        raise click.UsageError("--csv is for parts of screen: omit it")
    if found == ["nll"]:
        _merge_scores(Path(folder), out, as_json)
    elif found == ["screen"]:
        _merge_screened(Path(folder), out, "json" if as_json else "csv" if as_csv else "table")
    elif out is not None:
        raise click.UsageError("--out is for parts of nll and screen: the files of sample are where they belong")
    else:
        _check_samples(Path(folder), as_json)


def _merge_scores(folder: Path, out: str | None, as_json: bool) -> None:
    from pvae_zoo.base.atomic import atomic_path
    from pvae_zoo.scale.scoring import ScoredParts

    parts = ScoredParts(folder)
    header = parts.header
    head = {name: getattr(header, name) for name in ("model", "provider", "precision", "samples", "seed")}
    if out is None:
        summary = print_scores(head, parts.rows(), levels=header.levels, as_json=as_json)
    else:
        with atomic_path(Path(out)) as path, path.open("w", encoding="utf-8") as file:
            summary = print_scores(head, parts.rows(), levels=header.levels, as_json=as_json, file=file)
        echo(f"{out}: {header.sources} images of {header.model}")
    exit_for_failures(summary.failed, header.sources)


def _merge_screened(folder: Path, out: str | None, form: Form) -> None:
    from pvae_zoo.base.atomic import atomic_path
    from pvae_zoo.scale.screening import ScreenedParts
    from pvae_zoo.screening.verdicts import Rate, Verdicts

    parts = ScreenedParts(folder)
    header = parts.header
    about = {"ranked": header.ranked, "sha256": header.calibration_sha256}
    head = {"model": header.model, "provider": header.provider, "calibration": about}
    with Verdicts(Rate(header.rate, header.fdr), header.ranked) as verdicts:
        verdicts.take(parts.rows())
        if out is None:
            print_screened(head, verdicts, form=form)
        else:
            with atomic_path(Path(out)) as path, path.open("w", encoding="utf-8") as file:
                print_screened(head, verdicts, form=form, file=file)
            echo(f"{out}: {header.sources} images of {header.model}")
        failed = verdicts.failed
    exit_for_failures(failed, header.sources)


def _check_samples(folder: Path, as_json: bool) -> None:
    from pvae_zoo.scale.samples import check_samples

    manifest = check_samples(folder)
    if as_json:
        names = ("model", "model_sha256", "provider", "n", "seed", "temperature", "latent_temperature", "shards")
        echo_json({name: getattr(manifest, name) for name in names})
    else:
        echo(
            f"{folder}: all {manifest.n} images of {manifest.model}, seed {manifest.seed}, are there and are what was "
            f"drawn ({manifest.shards} shards)"
        )
