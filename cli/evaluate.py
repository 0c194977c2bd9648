"""``evaluate``: a model's figures on a data set."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from pvae_zoo.cli.options import device_option, json_option, model_argument, seed_option, threads_option
from pvae_zoo.errors import PvaeZooError


@click.command("evaluate")
@model_argument
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder of the data set.")
@click.option(
    "--split",
    type=click.Choice(["train", "valid", "test"]),
    default="test",
    show_default=True,
    help="Part of the data.",
)
@click.option("--samples", type=click.IntRange(min=1), default=1, show_default=True, help="Draws of z an image (K).")
@click.option("--images", "limit", type=click.IntRange(min=1), help="Score a random subset of that many.")
@click.option("--save", is_flag=True, help="Add the result to the bundle's evaluation.json.")
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
    save: bool,
    card: Path | None,
    seed: int,
    device: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Measure MODEL, a name of the zoo or a bundle, on a data set: ELBO, KL and importance-weighted bound.

    The card's figures are written by this command and by nothing else.

    \b
    Example:
        pvae-zoo evaluate mnist --data data/binarized_mnist
        pvae-zoo evaluate zoo/bundles/mnist --data data/binarized_mnist --samples 1000 --images 500 \\
            --save --card model_cards/mnist.md
    """
    from pvae_zoo.atomic import atomic_write
    from pvae_zoo.card import render_card
    from pvae_zoo.cli.models import load_model
    from pvae_zoo.cli.progress import progress_bar
    from pvae_zoo.evaluation import evaluate, save_evaluation
    from pvae_zoo.registry import renew
    from pvae_zoo.training.augmentation import Augmentation
    from pvae_zoo.training.datasets import load_split
    from pvae_zoo.training.image_store import Binarize

    runtime = load_model(model, device, threads)
    # Images of another size are cropped as they were for the model's validation.
    training = runtime.bundle.config.training
    try:
        view = Augmentation(crop=training.get("crop", "none"), scale=tuple(training.get("scale", (1.0, 1.0))))
    except ValueError as error:
        raise PvaeZooError(f"{runtime.bundle.folder / 'config.json'} is not valid: {error}") from error
    binarize: Binarize = "threshold" if training.get("binarize") == "threshold" else "refuse"
    images = load_split(data, split, runtime.image, binarize=binarize, augmentation=view)  # type: ignore[arg-type]
    command = f"pvae-zoo evaluate {runtime.name} --data {data.name} --split {split} --samples {samples} --seed {seed}"
    command += f" --images {limit}" if limit else ""
    with progress_bar("images") as progress:
        result = evaluate(
            runtime, images, split=split, samples=samples, limit=limit, seed=seed, command=command, progress=progress
        )  # fmt: skip
    if save:
        save_evaluation(runtime.bundle, result)
        renew(runtime.bundle)
    if card is not None:
        atomic_write(card, render_card(runtime.bundle, card.parent).encode())
    if as_json:
        click.echo(json.dumps(asdict(result)))
        return
    kl = " + ".join(f"{value:.2f}" for value in result.kl_nats)
    click.echo(f"{runtime.name}, {result.images} of {result.of} {split} images, {result.provider}")
    click.echo(f"  -ELBO            {result.nll_nats:.2f} +- {result.standard_error_nats:.2f} nats")
    click.echo(f"                   {result.bits_per_dim:.4f} bits per dimension")
    click.echo(f"  reconstruction   {result.reconstruction_nats:.2f} nats")
    click.echo(f"  KL               {kl} nats")
    if result.iwae_nll_nats is not None:
        click.echo(f"  IWAE, K = {result.samples:<6} {result.iwae_nll_nats:.2f} nats")
