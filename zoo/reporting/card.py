"""Model cards, written from a bundle's contract and its measured figures and from nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from pvae_zoo.conformance.stored import conformance_table, stored_matrix
from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.contract.folder import Bundle
from pvae_zoo.contract.licence import licence_of
from pvae_zoo.explain.guide import guide_text
from pvae_zoo.explain.tensors import tensor_words
from pvae_zoo.reporting.card_figures import bounds_table, codecs_table, descent_text, levels_text
from pvae_zoo.reporting.card_training import training_lines
from pvae_zoo.reporting.differences import conversion_text
from pvae_zoo.reporting.evaluation import stored_evaluations, stored_rows
from pvae_zoo.runtime.pictures import read_metadata
from pvae_zoo.runtime.wavefront import step_count

_TASK = "unconditional-image-generation"


PICTURES = (
    ("samples", "Samples"),
    ("levels", "Rows in which the noise of one level alone changes: {levels}"),
    ("reconstructions", "Validation images and, below each, a draw from its z1"),
)
"""What may lie beside a card as ``pictures/NAME-WHAT.png``, and its words."""

TEMPERATURES = (
    ("samples", "1 and 1, the model itself"),
    ("samples-latents-0.7", "latents 0.7"),
    ("samples-pixels-0.85", "pixels 0.85"),
)
"""Samples side by side, the last two drawn with ``--latent-temperature 0.7`` and with ``--temperature 0.85``."""


def render_card(bundle: Bundle, folder: Path | None = None) -> str:
    """The model card of a bundle, Markdown with front matter.

    Args:
        bundle: with what was measured of it.
        folder: where the card will lie; pictures that are there are shown, if just these weights drew them.

    Raises:
        PvaeZooError: if the bundle does not say what a card says of the training.
    """
    config, training, licence = bundle.config, bundle.config.training, licence_of(bundle.config.dataset)
    results = stored_evaluations(bundle)
    image, slope = config.image, config.steps["decoder_step"].geometry.slope
    wavefront = (
        f"A draw takes {step_count(image.height, image.width, slope)} runs of `decoder_step.onnx` "
        f"(all pixels with x + {slope} y = t at once) in place of {image.height * image.width}."
    )
    commands = dict.fromkeys(row.command for row in stored_rows(bundle))
    values: dict[str, Any] = {
        "front_matter": front_matter(bundle),
        "title": config.title,
        "name": config.name,
        "model": config.name if config.conversion is None else f"./{config.name}",
        "gap": f"{config.numbers.gap:.0e}",
        "dataset": config.dataset.rstrip("."),
        "parameters": f"{config.parameters:,}",
        "size": f"{sum(graph.size for graph in config.graphs.values()) / 2**20:.1f}",
        "precision": config.numbers.words,
        "conversion": conversion_text(bundle),
        "figures": bounds_table(results),
        "codecs": codecs_table(bundle) + descent_text(bundle),
        "reading": _reading(bundle),
        "levels": levels_text(bundle),
        "commands": "\n".join(f"    {command}" for command in commands) or "    (none yet)",
        "conformance": _conformance(bundle),
        "digest": bundle.digest[:16],
        "pictures": "" if folder is None else _pictures(bundle, folder),
        "image_type": config.image_type,
        "shape": f"(N, {image.channels}, {image.height}, {image.width})",
        "made": _made(image, training),
        "last_value": image.levels - 1,
        "wavefront": wavefront,
        "graphs": "\n".join(row for role in config.roles for row in _graph_rows(bundle, role)),
        "guide": guide_text(config).strip(),
        "training": training_lines(bundle),
        "terms": "; the weights are for research and education, as the photos are" if licence.name else "",
    }
    template = (resources.files("pvae_zoo.model_cards") / "template.md").read_text("utf-8")
    return Template(template).substitute(values)


def _reading(bundle: Bundle) -> str:
    """What was read of the data set, where the recipe says it."""
    lines = (bundle.config.recipe or {}).get("reading") or []
    return "".join(f"- {line}\n" for line in lines) + ("\n" if lines else "")


def _pictures(bundle: Bundle, folder: Path) -> str:
    levels = ", ".join([level.name for level in reversed(bundle.config.latents)] + ["the pixels"])
    drawn = {what: _drawn_by(bundle, folder / f"pictures/{bundle.name}-{what}.png")
             for what, _ in (*PICTURES, *TEMPERATURES)}  # fmt: skip
    several = [(what, words) for what, words in TEMPERATURES if drawn[what] is not None]
    parts = []
    for what, words in PICTURES:
        shown = words.format(levels=levels)
        if what == "samples" and len(several) > 1:
            parts.append(_side_by_side(bundle.name, several, drawn))
        elif drawn[what] is not None:
            image = f"![{shown}](pictures/{bundle.name}-{what}.png)"
            parts.append(f"{shown} (`{drawn[what]}`):\n\n{image}\n\n")
    return "## What it draws\n\n" + "".join(parts) if parts else ""


def _side_by_side(name: str, several: list[tuple[str, str]], drawn: dict[str, str | None]) -> str:
    """Samples at several temperatures as the columns of a table, and the commands that drew them."""
    images = [f"![Samples, {words}](pictures/{name}-{what}.png)" for what, words in several]
    cells = [[words for _, words in several], ["---"] * len(several), images]
    table = "\n".join(f"| {' | '.join(row)} |" for row in cells)
    commands = "\n".join(f"    {drawn[what]}" for what, _ in several)
    return f"Samples with the same noise, by the temperatures of latents and pixels:\n\n{table}\n\n{commands}\n\n"


def _drawn_by(bundle: Bundle, path: Path) -> str | None:
    """The command that drew a picture, from its own notes; None if it is not there or other weights drew it."""
    if not path.is_file():
        return None
    notes = read_metadata(path)
    return notes.get("command", "") if notes.get("model_sha256") == bundle.digest else None


def front_matter(bundle: Bundle) -> str:
    """The card's metadata as the Hub reads it, YAML without its fences, with a ``model-index`` of the measured figures.

    Reference: the model card specification of the Hugging Face Hub (``huggingface_hub.ModelCardData``).
    """
    from huggingface_hub import EvalResult, ModelCardData

    licence, trained_on = licence_of(bundle.config.dataset), re.split(r" \(|,", bundle.config.dataset)[0]

    def result(row: dict[str, Any], metric: str, title: str, value: float) -> EvalResult:
        name = row["dataset"].removesuffix(".zip") or trained_on
        return EvalResult(
            task_type=_TASK, dataset_type=re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "images",
            dataset_name=name, dataset_split=row["split"],
            dataset_config=None if row["jpeg"] is None else f"jpeg-{row['jpeg']}",
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
        license=licence.hub,
        license_name=licence.name,
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


def _conformance(bundle: Bundle) -> str:
    matrix = stored_matrix(bundle)
    if matrix is None:
        return "Not measured yet."
    how = f"Measured with pvae-zoo {matrix.pvae_zoo} on {matrix.date[:10]} ({matrix.machine}), {matrix.images} "
    how += f"image{'s' * (matrix.images > 1)}, by"
    return f"{conformance_table(matrix)}\n\n{how}\n\n    pvae-zoo conformance {bundle.name}"


def _graph_rows(bundle: Bundle, role: str) -> Iterator[str]:
    """Inputs and outputs of a graph, in our words and not in those that it brings."""
    graph, words = bundle.config.graphs[role], tensor_words(bundle.config, role)
    for kind, tensors in (("in", graph.inputs), ("out", graph.outputs)):
        for tensor in tensors:
            shape = f"{tensor.dtype} ({', '.join(map(str, tensor.shape))})"
            meaning = words[tensor.name].replace("|", "\\|")  # else it would end the cell
            yield f"| `{graph.file}` | {kind} | `{tensor.name}` | {shape} | {meaning} |"
