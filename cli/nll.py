"""``nll``: score images."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from pvae_zoo.cli.models import choose_model
from pvae_zoo.cli.options import (
    batch_size_option,
    device_option,
    fit_options,
    json_option,
    model_option,
    paths_argument,
    refuse_idle_fits,
    seed_option,
    threads_option,
)
from pvae_zoo.cli.output import exit_for_failures, say_repeats
from pvae_zoo.cli.places import leave_parts, place_options
from pvae_zoo.cli.progress import watched
from pvae_zoo.cli.scores import print_scores

if TYPE_CHECKING:
    from pvae_zoo.data.fit import Fit
    from pvae_zoo.scale.places import Place


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
@fit_options
@batch_size_option(64, "Images in memory at once.")
@place_options
@device_option
@threads_option
@json_option
def nll_command(
    paths: tuple[str, ...],
    model: str,
    samples: int,
    seed: int,
    fit: Fit,
    batch_size: int,
    place: Place,
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
    from pvae_zoo.data.images import find_images
    from pvae_zoo.scale.places import Here, run
    from pvae_zoo.scale.scoring import Scoring

    task = Scoring(samples=samples, seed=seed, fit=fit, batch_size=batch_size)
    sources = find_images(paths, say_repeats)
    chosen = choose_model(model, device, threads)
    refuse_idle_fits(chosen.bundle.config.image)
    if not isinstance(place, Here):
        leave_parts(task, chosen, sources, place, as_json=as_json)
        return
    head = {"model": chosen.bundle.name, "provider": chosen.model.provider, "samples": samples, "seed": seed}
    # Rows on a terminal are progress enough.
    with watched("images", shown=as_json or not sys.stdout.isatty()) as watch:
        rows = run(task, chosen, sources, place, watch)
        summary = print_scores(head, rows, levels=len(chosen.bundle.config.latents), as_json=as_json)
    exit_for_failures(summary.failed, len(sources))
