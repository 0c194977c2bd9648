"""``evaluate``: a model's figures on a data set."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pvae_zoo.cli.options import device_option, json_option, model_argument, seed_option, threads_option

if TYPE_CHECKING:
    from pvae_zoo.reporting.evaluation import CodecSizes, Evaluation, Row, Thumbnails

_LATENT_IMAGES = 200


@click.command("evaluate")
@model_argument
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder or zip of the data set.")
@click.option(
    "--split",
    type=click.Choice(["train", "valid", "test"]),
    default="test",
    show_default=True,
    help="Part of the data.",
)
@click.option("--samples", type=click.IntRange(min=1), default=1, show_default=True, help="Draws of z an image (K).")
@click.option("--images", "limit", type=click.IntRange(min=1), help="Score a random subset of that many.")
@click.option("--codecs", is_flag=True, help="Store the same pixels as PNG, WebP and, where it is installed, JPEG XL.")
@click.option(
    "--jpeg",
    type=click.IntRange(1, 100),
    multiple=True,
    metavar="QUALITY",
    help="The same for JPEG copies of the images; may be given several times.",
)
@click.option("--latents", is_flag=True, help="What each level carries: thumbnails of what is drawn from it.")
@click.option(
    "--latent-images",
    type=click.IntRange(min=1),
    default=_LATENT_IMAGES,
    show_default=True,
    help="Draw a random subset of that many for --latents.",
)
@click.option("--save", is_flag=True, help="Add the results to the bundle's evaluation.json.")
@click.option("--card", type=click.Path(path_type=Path, dir_okay=False), help="Write the model card to this file.")
@seed_option
@device_option
@threads_option
@json_option
def evaluate_command(
    model: str,
    data: Path,
    split: str,
    samples: int,
    limit: int | None,
    codecs: bool,
    jpeg: tuple[int, ...],
    latents: bool,
    latent_images: int,
    save: bool,
    card: Path | None,
    seed: int,
    device: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Measure MODEL, a name of the zoo or a bundle, on a data set: ELBO, KL and importance-weighted bound.

    --codecs, --jpeg and --latents add what a card says beside them; any of them go together. Each result is saved as
    soon as it is there, one of the same data, images and samples is replaced, and those of other data sets stay. The
    card's figures are written by this command and by nothing else.

    \b
    Example:
        pvae-zoo evaluate mnist --data data/binarized_mnist
        pvae-zoo evaluate zoo/bundles/mnist --data data/binarized_mnist --samples 1000 --images 500 \\
            --save --card model_cards/mnist.md
        pvae-zoo evaluate zoo/bundles/lsun --data data/rooms64.zip --split valid --codecs --jpeg 75 --jpeg 90 \\
            --latents --save --card model_cards/lsun.md
    """
    from pvae_zoo.base.atomic import atomic_write
    from pvae_zoo.cli.models import load_model
    from pvae_zoo.cli.progress import progress_bar
    from pvae_zoo.reporting.card import render_card
    from pvae_zoo.reporting.evaluation import save_evaluation
    from pvae_zoo.reporting.measurement import Measurement, seen_images
    from pvae_zoo.sources.registry import renew

    runtime = load_model(model, device, threads)
    # Images of another size are cropped as they were for the model's validation.
    images = seen_images(runtime.bundle, data, split)  # type: ignore[arg-type]
    dataset = data.resolve().name
    command = f"pvae-zoo evaluate {runtime.name} --data {shlex.quote(dataset)} --split {split} --samples {samples}"
    command += f" --seed {seed}" + (f" --images {limit}" if limit else "") + (" --codecs" if codecs else "")
    command += "".join(f" --jpeg {quality}" for quality in jpeg)
    if latents:
        command += " --latents" + (f" --latent-images {latent_images}" if latent_images != _LATENT_IMAGES else "")
    wanted = Measurement(
        dataset=dataset, split=split, samples=samples, limit=limit, seed=seed, codecs=codecs,
        jpeg=tuple(dict.fromkeys(jpeg)), latents=latent_images if latents else None, command=command,
    )  # fmt: skip
    rows: list[Row] = []
    with progress_bar("images") as progress:
        for row in wanted.rows(runtime, images, progress):
            rows.append(row)
            if save:
                save_evaluation(runtime.bundle, row)
                renew(runtime.bundle)
    if card is not None:
        atomic_write(card, render_card(runtime.bundle, card.parent).encode())
    if as_json:
        click.echo(json.dumps({"model": runtime.name, "results": [asdict(row) for row in rows]}))
        return
    _print(runtime.name, rows)


def _print(model: str, rows: list[Row]) -> None:
    from pvae_zoo.reporting.evaluation import CodecSizes, Evaluation, Thumbnails

    bits = 0.0
    for row in rows:
        if isinstance(row, Evaluation):
            bits = row.bits_per_dim
            _print_bound(model, row)
        elif isinstance(row, CodecSizes):
            _print_codecs(row, bits)
        elif isinstance(row, Thumbnails):
            _print_thumbnails(row)


def _print_bound(model: str, row: Evaluation) -> None:
    copies = "" if row.jpeg is None else f" as JPEG of quality {row.jpeg}"
    kl = " + ".join(f"{value:.2f}" for value in row.kl_nats)
    click.echo(f"{model}, {row.images} of {row.of} {row.split} images{copies}, {row.provider}")
    click.echo(f"  -ELBO            {row.nll_nats:.2f} +- {row.standard_error_nats:.2f} nats")
    click.echo(f"                   {row.bits_per_dim:.4f} bits per dimension")
    click.echo(f"  reconstruction   {row.reconstruction_nats:.2f} nats")
    click.echo(f"  KL               {kl} nats")
    if row.iwae_nll_nats is not None:
        click.echo(f"  IWAE, K = {row.samples:<6} {row.iwae_nll_nats:.2f} nats")


def _print_codecs(row: CodecSizes, bits: float) -> None:
    for name, size in row.codecs.items():
        click.echo(f"  {name:<16} {size:.4f} bits per dimension; the model needs {bits / size:.3f} of it")


def _print_thumbnails(row: Thumbnails) -> None:
    click.echo(f"thumbnails of {row.images} of {row.of} {row.split} images, drawn from one level of latents")
    for number, (size, r2, rms) in enumerate(zip(row.sizes, row.r2, row.rms, strict=True), start=1):
        share = "no R2, they do not vary" if r2 is None else f"R2 {r2:.4f}"
        click.echo(f"  z{number}, {size:<11} {share}, off by {rms:.4f} of the range")
