"""``info``: one model in full."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from pvae_zoo.cli.models import open_named
from pvae_zoo.cli.options import json_option, named_model
from pvae_zoo.cli.output import bundle_size, echo, echo_json, image_shape, mebibytes, number, table
from pvae_zoo.contract.config import BundleConfig, describe_tensors


@click.command("info")
@named_model
@json_option
def info_command(model: str, as_json: bool) -> None:
    """Describe MODEL, a name of the zoo or the folder of a bundle: graphs, shapes, hashes, training, figures.

    NLL is the bound -ELBO, in training and in what was measured; smaller is better.

    \b
    Example:
        pvae-zoo info mnist
        pvae-zoo info mnist --json
    """
    from pvae_zoo.reporting.evaluation import stored_evaluations

    bundle = open_named(model)
    measured = stored_evaluations(bundle)
    if as_json:
        extra = {
            "sha256": bundle.digest,
            "path": str(bundle.folder),
            "bytes": bundle_size(bundle),
            "measured": measured,
        }
        echo_json(asdict(bundle.config) | extra)
        return
    config, step = bundle.config, bundle.config.steps["decoder_step"]
    geometry = step.geometry
    latents = ", ".join(f"{z.name} {'x'.join(map(str, z.shape))}" for z in config.latents)
    facts = [
        ("image", image_shape(bundle)),
        ("latents", latents),
        ("parameters", f"{config.parameters:,} ({step.macs:,} multiply-adds a pixel)"),
        ("precision", _precision(config)),
        ("dataset", config.dataset),
        ("training", _training(config.training)),
        *(("measured", line) for line in map(_measurement, measured)),
        ("wavefront", f"pixels with x + {geometry.slope} y = t in one step"),
        ("canvas", f"{geometry.rows_per_image} rows an image, {geometry.stride} a line, {geometry.top} lines above"),
        ("path", f"{bundle.folder} ({mebibytes(bundle_size(bundle))})"),
        ("sha256", bundle.digest),
    ]
    echo(f"{config.name}: {config.title}\n\n{table(facts)}\n")
    for graph in config.graphs.values():
        echo(f"{graph.file}  {mebibytes(graph.size)}  sha256 {graph.sha256}")
        echo(f"    in   {describe_tensors(graph.inputs)}\n    out  {describe_tensors(graph.outputs)}")


def _precision(config: BundleConfig) -> str:
    made = config.conversion
    return config.numbers.words + (f" (converted from {made.source} {made.source_sha256[:16]})" if made else "")


def _training(training: dict[str, Any]) -> str:
    from pvae_zoo.reporting.card_training import training_time

    parts = []
    if "images_seen" in training:
        parts.append(f"{training['images_seen']:,} images seen")
    if "hours" in training:
        parts.append(training_time(training["hours"]))
    if training.get("valid_elbo_nats") is not None:
        parts.append(f"best validation NLL {-training['valid_elbo_nats']:.2f} nats")
    return ", ".join(parts) or "-"


def _measurement(row: dict[str, Any]) -> str:
    iwae = row.get("iwae_nll_nats")
    where = ", ".join(filter(None, [row.get("dataset"), row.get("split")]))
    where += f", as JPEG of quality {row['jpeg']}" if row.get("jpeg") else ""
    text = f"{where}, {row.get('images', 0):,} images: NLL {number(row.get('nll_nats'))} nats, "
    text += f"{number(row.get('bits_per_dim'), 4)} bits/dim, KL {' + '.join(map(number, row.get('kl_nats', [])))}"
    return text + (f", IWAE {number(iwae)} (K = {row.get('samples')})" if iwae is not None else "")
