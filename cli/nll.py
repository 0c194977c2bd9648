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
    from pvae_zoo.runtime.precisions import ScorePrecision
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
@batch_size_option(None, "Images in memory at once, which changes no figure.  [default: 64, on a GPU 1024]")
@click.option(
    "--precision",
    type=click.Choice(["float32", "tf32", "float16"]),
    default="float32",
    show_default=True,
    help="What the networks compute in: tf32 is for NVIDIA GPUs. If it is not float32, the first 16 images are scored "
    "in float32 too, and the difference is printed.",
)
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
    batch_size: int | None,
    precision: ScorePrecision,
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

    --precision float16 takes the bundle as it is, in the numbers that pvae-zoo convert would give it, and writes
    nothing. With --json, float32_bits_per_dim of an image is its figure in float32, and precision_difference has the
    images that were scored in both, mean_bits_per_dim (of what the other precision is larger by) and
    largest_bits_per_dim (without its sign); with --shard and --ray these are the first 16 images of each part.

    \b
    Example:
        pvae-zoo nll digits/
        pvae-zoo nll 'digits/7*.png' more.zip --samples 64 --json
        pvae-zoo nll photos/ --resize --convert --binarize 128
        pvae-zoo nll photos/ --device cuda --precision tf32
        pvae-zoo nll digits/ --shard 3/8 --out parts/
        pvae-zoo nll digits/ --ray --workers 8 --out parts/
    """
    from pvae_zoo.data.images import find_images
    from pvae_zoo.runtime.precisions import check_precision
    from pvae_zoo.scale.places import Here, OnRay, run
    from pvae_zoo.scale.scoring import Scoring

    task = Scoring(samples=samples, seed=seed, fit=fit, batch_size=batch_size, precision=precision)
    sources = find_images(paths, say_repeats)
    chosen = choose_model(model, device, threads)
    refuse_idle_fits(chosen.bundle.config.image)
    # What runs on Ray's nodes is known there.
    check_precision(precision, chosen.bundle, None if isinstance(place, OnRay) else chosen.model.provider)
    if not isinstance(place, Here):
        leave_parts(task, chosen, sources, place, as_json=as_json)
        return
    head = {
        "model": chosen.bundle.name,
        "provider": chosen.model.provider,
        "precision": precision,
        "samples": samples,
        "seed": seed,
    }
    # Rows on a terminal are progress enough.
    with watched("images", shown=as_json or not sys.stdout.isatty()) as watch:
        rows = run(task, chosen, sources, place, watch)
        summary = print_scores(head, rows, levels=len(chosen.bundle.config.latents), as_json=as_json)
    exit_for_failures(summary.failed, len(sources))
