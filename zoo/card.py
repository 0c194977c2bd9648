"""Model cards, written from a bundle's contract and its measured figures and from nothing else."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from pvae_zoo.bundle import Bundle, describe_tensors
from pvae_zoo.conformance.stored import conformance_table, stored_matrix
from pvae_zoo.errors import PvaeZooError
from pvae_zoo.evaluation import stored_evaluations
from pvae_zoo.models.architecture import ImageShape
from pvae_zoo.runtime.wavefront import step_count

_TASK = "unconditional-image-generation"
_RECIPE = ("weight_decay", "learning_rate", "batch_size", "best_step", "steps")
_TRAINING = ("images_seen", "hours", "valid_elbo_nats", *_RECIPE)


PICTURES = (
    ("samples", "Samples", "pvae-zoo sample --model {name}"),
    ("levels", "Rows in which the noise of one level alone changes: {levels}", "pvae-zoo vary --model {name}"),
    ("reconstructions", "Validation images and, below each, a draw from its z1", "pvae-zoo reconstruct --model {name}"),
)
"""What may lie beside a card as ``pictures/NAME-WHAT.png``: what, its words, and the command that draws it."""


def render_card(bundle: Bundle, folder: Path | None = None) -> str:
    """The model card of a bundle, Markdown with front matter.

    Args:
        bundle: with what was measured of it.
        folder: where the card will lie; pictures of the model that are there are shown.

    Raises:
        PvaeZooError: if the bundle does not say what a card says of the training.
    """
    config, training = bundle.config, bundle.config.training
    missing = [key for key in _TRAINING if key not in training]
    if missing:
        raise PvaeZooError(f"{bundle.folder} does not say of its training: {', '.join(missing)}; export it again")
    results = stored_evaluations(bundle)
    image, slope = config.image, config.steps["decoder_step"].geometry.slope
    wavefront = (
        f"A draw takes {step_count(image.height, image.width, slope)} runs of `decoder_step.onnx` "
        f"(all pixels with x + {slope} y = t at once) in place of {image.height * image.width}."
    )
    values: dict[str, Any] = {
        "front_matter": front_matter(bundle),
        "title": config.title,
        "name": config.name,
        "parameters": f"{config.parameters:,}",
        "size": f"{sum(graph.size for graph in config.graphs.values()) / 2**20:.1f}",
        "figures": _figures(results),
        "commands": "\n".join(f"    {row['command']}" for row in results) or "    (none yet)",
        "conformance": _conformance(bundle),
        "digest": bundle.digest[:16],
        "pictures": "" if folder is None else _pictures(bundle, folder),
        "shape": f"(N, {image.channels}, {image.height}, {image.width})",
        "made": _made(image, training),
        "last_value": image.levels - 1,
        "wavefront": wavefront,
        "graphs": "\n".join(_graph_row(bundle, role) for role in config.roles),
        "dataset": config.dataset,
        "images_seen": f"{training['images_seen']:,}",
        "time": training_time(training["hours"]),
        "hardware": f" on {training['hardware']}" if training.get("hardware") else "",
        "initialised": f"; started from {training['initialised_from']}" if training.get("initialised_from") else "",
        "valid_elbo": "-" if training["valid_elbo_nats"] is None else f"{-training['valid_elbo_nats']:.2f}",
        **{key: training[key] for key in _RECIPE},
    }
    template = (resources.files("pvae_zoo.model_cards") / "template.md").read_text("utf-8")
    return Template(template).substitute(values)


def training_time(hours: float) -> str:
    """How long a model trained, in words: ``2.0 hours``, ``7 minutes``."""
    minutes = round(hours * 60)
    if minutes >= 60:
        return f"{hours:.1f} hours"
    return f"{minutes} minute{'s' * (minutes > 1)}" if minutes else "less than a minute"


def _pictures(bundle: Bundle, folder: Path) -> str:
    levels = ", ".join([level.name for level in reversed(bundle.config.latents)] + ["the pixels"])
    parts = []
    for what, words, command in PICTURES:
        file = f"pictures/{bundle.name}-{what}.png"
        if (folder / file).is_file():
            shown = words.format(levels=levels)
            parts.append(f"{shown} (`{command.format(name=bundle.name)}`):\n\n![{shown}]({file})\n\n")
    return "## What it draws\n\n" + "".join(parts) if parts else ""


def front_matter(bundle: Bundle) -> str:
    """The card's metadata as the Hub reads it, YAML without its fences, with a ``model-index`` of the measured figures.

    Reference: the model card specification of the Hugging Face Hub (``huggingface_hub.ModelCardData``).
    """
    from huggingface_hub import EvalResult, ModelCardData

    name = re.split(r" \(|,", bundle.config.dataset)[0]
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")

    def result(row: dict[str, Any], metric: str, title: str, value: float) -> EvalResult:
        return EvalResult(
            task_type=_TASK, dataset_type=slug, dataset_name=name, dataset_split=row["split"],
            metric_type=metric, metric_name=title, metric_value=round(value, 4),
            metric_args={"samples": row["samples"], "images": row["images"], "seed": row["seed"]},
        )  # fmt: skip

    results = []
    for row in stored_evaluations(bundle):
        results.append(result(row, "bits_per_dim", "bits per dimension of -ELBO", row["bits_per_dim"]))
        results.append(result(row, "nll_nats", "-ELBO in nats an image", row["nll_nats"]))
        if row["iwae_nll_nats"] is not None:
            results.append(result(row, "iwae_nll_nats", "importance-weighted bound in nats", row["iwae_nll_nats"]))
    data = ModelCardData(
        license="mit",
        library_name="pvae-zoo",
        pipeline_tag=_TASK,
        tags=["onnx", "pixelvae", "vae", "pixelcnn", "autoregressive", "density-estimation"],
        metrics=["bits_per_dim"],
        model_name=bundle.name if results else None,  # the index needs it, a plain key it is not
        eval_results=results or None,
    )
    return data.to_yaml().strip()


def _made(image: ImageShape, training: dict[str, Any]) -> str:
    """How the model's images are made, in words."""
    colours = "black and white" if image.levels == 2 else "colour" if image.channels == 3 else "grey"
    cropped = ", the centre of a larger picture" if training.get("crop", "none") != "none" else ""
    return f"{colours}, {image.height} x {image.width}{cropped}"


def _figures(results: list[dict[str, Any]]) -> str:
    lines = ["| split | images | -ELBO | bits/dim | reconstruction | KL | IWAE |", "|---|---|---|---|---|---|---|"]
    for row in results:
        iwae = f"{row['iwae_nll_nats']:.2f} (K = {row['samples']})" if row["iwae_nll_nats"] is not None else ""
        images = f"{row['images']:,}" + (f" of {row['of']:,}, drawn at random" if row["images"] < row["of"] else "")
        kl = " + ".join(f"{value:.2f}" for value in row["kl_nats"])
        lines.append(
            f"| {row['split']} | {images} | {row['nll_nats']:.2f} +- {row['standard_error_nats']:.2f} "
            f"| {row['bits_per_dim']:.4f} | {row['reconstruction_nats']:.2f} | {kl} | {iwae} |"
        )
    return "\n".join(lines) if results else "Not measured yet."


def _conformance(bundle: Bundle) -> str:
    matrix = stored_matrix(bundle)
    if matrix is None:
        return "Not measured yet."
    how = f"Measured with pvae-zoo {matrix.pvae_zoo} on {matrix.date[:10]} ({matrix.machine}), {matrix.images} "
    how += f"image{'s' * (matrix.images > 1)}, by"
    return f"{conformance_table(matrix)}\n\n{how}\n\n    pvae-zoo conformance {bundle.name}"


def _graph_row(bundle: Bundle, role: str) -> str:
    graph = bundle.config.graphs[role]
    return f"| `{graph.file}` | {describe_tensors(graph.inputs, '`')} | {describe_tensors(graph.outputs, '`')} |"


def readme_row(bundle: Bundle) -> str:
    """The model's line in the README's table: figures of the whole test set, and of the row with the largest K.

    Of the validation set, where a data set has no test set.
    """
    stored = stored_evaluations(bundle)
    rows = [row for row in stored if row["split"] == "test"] or stored
    whole = max((row for row in rows if row["images"] == row["of"]), key=lambda row: row["samples"])
    weighted = max(rows, key=lambda row: row["samples"])
    iwae = ""
    if weighted["iwae_nll_nats"] is not None:
        iwae = f"{weighted['iwae_nll_nats']:.2f} (K = {weighted['samples']}, {weighted['images']:,} images"
        iwae += ")" if weighted["images"] == weighted["of"] else f"; -ELBO of those: {weighted['nll_nats']:.2f})"
    kl = " + ".join(f"{value:.2f}" for value in whole["kl_nats"])
    return (
        f"| `{bundle.name}` | {bundle.config.parameters:,} | {whole['nll_nats']:.2f} +- "
        f"{whole['standard_error_nats']:.2f} | {whole['bits_per_dim']:.4f} | {kl} | {iwae} |"
    )
