"""``nll``: score images."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pvae_zoo.cli.models import load_model, open_admitted
from pvae_zoo.cli.options import (
    batch_size_option,
    device_option,
    image_options,
    json_option,
    model_option,
    paths_argument,
    ray_options,
    refuse,
    refuse_idle_fits,
    seed_option,
    shard_option,
    threads_option,
)
from pvae_zoo.cli.output import echo, echo_json, exit_for_failures, say_repeats
from pvae_zoo.cli.progress import progress_bar
from pvae_zoo.cli.scores import print_scores

if TYPE_CHECKING:
    from pvae_zoo.data.images import ImageSource
    from pvae_zoo.runtime.score_files import Row
    from pvae_zoo.scale.shard_scoring import Scoring
    from pvae_zoo.scale.shards import Shard


@click.command("nll")
@paths_argument
@model_option
@click.option(
    "--samples",
    "-k",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="K",
    help="Draws of z an image; more add the importance-weighted bound (IWAE).",
)
@seed_option
@image_options
@batch_size_option(64, "Images in memory at once.")
@shard_option
@click.option("--out", "-o", metavar="DIR", help="Where --shard and --ray write their parts, for pvae-zoo merge.")
@ray_options
@device_option
@threads_option
@json_option
def nll_command(
    paths: tuple[str, ...],
    model: str,
    samples: int,
    seed: int,
    resize: bool,
    binarize: int | None,
    convert: bool,
    enlarge: bool,
    invert: bool,
    prepare: bool,
    batch_size: int,
    shard: Shard | None,
    out: str | None,
    use_ray: bool,
    ray_address: str | None,
    workers: int,
    per_part: int,
    device: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Score the images in PATHS: files, folders, globs and zips.

    All figures are positive and smaller is better. NATS is the bound -ELBO, the sum of the reconstruction term and the
    KL of each level. An image of another size, colour or depth is an error for its row, never a wrong number. The
    figures of an image depend on nothing but the image, the model and the seed, so the work may be cut anywhere. Ctrl-C
    and SIGTERM leave the rows that stand there; with --shard or --ray the same command goes on after them.

    \b
    Example:
        pvae-zoo nll digits/
        pvae-zoo nll 'digits/7*.png' more.zip --samples 64 --json
        pvae-zoo nll photos/ --resize --convert --binarize 128
        pvae-zoo nll digits/ --shard 3/8 --out parts/
        pvae-zoo nll digits/ --ray --workers 8 --out parts/
    """
    from pvae_zoo.data.fit import Fit
    from pvae_zoo.data.images import find_images
    from pvae_zoo.scale.shard_scoring import Scoring

    if shard is not None and use_ray:
        raise click.UsageError("--ray cuts into shards itself: leave out --shard")
    if (out is None) == (shard is not None or use_ray):
        raise click.UsageError("--out DIR goes with --shard and --ray, which write parts there: give both or neither")
    if not use_ray:
        refuse("workers", "per_part", "ray_address", because="nothing runs on Ray: add --ray, or omit it")
    fit = Fit(resize, binarize, convert, enlarge, invert, prepare)
    sources = find_images(paths, say_repeats)
    scoring = Scoring(samples=samples, seed=seed, fit=fit, batch_size=batch_size)
    if use_ray and out is not None:
        _score_on_ray(model, sources, scoring, Path(out), ray_address, workers, per_part, device, threads, as_json)
    elif shard is not None and out is not None:
        _score_shard(model, sources, scoring, shard, Path(out), device, threads, as_json)
    else:
        _score_all(model, sources, scoring, device, threads, as_json)


def _score_all(
    model: str, sources: list[ImageSource], scoring: Scoring, device: str, threads: int | None, as_json: bool
) -> None:
    from pvae_zoo.scale.shard_scoring import score_sources

    runtime = load_model(model, device, threads)
    refuse_idle_fits(runtime.image)
    # Rows on a terminal are progress enough.
    with progress_bar("images", shown=as_json or not sys.stdout.isatty()) as progress:

        def rows() -> Iterable[Row]:
            for done, row in enumerate(score_sources(runtime, sources, scoring), start=1):
                progress(done, len(sources))
                yield row

        head = {
            "model": runtime.name,
            "provider": runtime.provider,
            "samples": scoring.samples,
            "seed": scoring.seed,
        }
        summary = print_scores(head, rows(), levels=len(runtime.bundle.config.latents), as_json=as_json)
    exit_for_failures(summary.failed, len(sources))


def _score_shard(
    model: str,
    sources: list[ImageSource],
    scoring: Scoring,
    shard: Shard,
    folder: Path,
    device: str,
    threads: int | None,
    as_json: bool,
) -> None:
    from pvae_zoo.base.interrupts import prompt_stop
    from pvae_zoo.scale.shard_scoring import header_of, score_part

    with prompt_stop() as check, progress_bar("images") as show:
        runtime = load_model(model, device, threads)
        refuse_idle_fits(runtime.image)
        header = header_of(runtime.bundle, runtime.provider, sources, scoring, shard)
        block = header.block

        def progress(done: int) -> None:
            show(done, len(block))
            check()

        part = score_part(runtime, header, sources[block.start : block.stop], scoring, folder, progress)
    state = "was there already" if part.was_there else f"scored on {runtime.provider}"
    _report_parts(as_json, str(part.path), runtime.name, shard.of, part.count, part.failed, f"shard {shard} {state}")


def _score_on_ray(
    model: str,
    sources: list[ImageSource],
    scoring: Scoring,
    folder: Path,
    address: str | None,
    workers: int,
    per_part: int,
    device: str,
    threads: int | None,
    as_json: bool,
) -> None:
    from pvae_zoo.base.interrupts import prompt_stop
    from pvae_zoo.scale.ray_scoring import Cluster, score_on_ray

    bundle = open_admitted(model)
    refuse_idle_fits(bundle.config.image)
    cluster = Cluster(address=address, workers=workers, threads=threads or 1, device=device)  # type: ignore[arg-type]
    with prompt_stop() as check, progress_bar("images") as show:
        failed = shards = 0
        tallies = score_on_ray(model, bundle, sources, scoring, folder, cluster, per_part=per_part)
        with closing(tallies):  # an interrupt here ends Ray too
            for tally in tallies:
                failed, shards = tally.failed, tally.shards
                show(tally.done, len(sources))
                check()
    state = f"{shards} parts, to be put together by pvae-zoo merge {folder}"
    _report_parts(as_json, str(folder), bundle.name, shards, len(sources), failed, state)


def _report_parts(as_json: bool, path: str, model: str, shards: int, count: int, failed: int, state: str) -> None:
    """One line on what was written, and the exit code of these images."""
    if as_json:
        report: dict[str, Any] = {"path": path, "model": model, "shards": shards, "count": count, "failed": failed}
        echo_json(report)
    else:
        echo(f"{path}: {count} image{'s' * (count != 1)} of {model}, {state}")
    exit_for_failures(failed, count)
