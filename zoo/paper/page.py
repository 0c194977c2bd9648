"""The page: the paper's figures and ours side by side, written from stored results and from nothing else."""

from __future__ import annotations

import re
from importlib import resources
from itertools import pairwise
from pathlib import Path
from string import Template

from pvae_zoo.paper.photo_sections import codecs_section, figure5_section, imagenet64_section, latents_section
from pvae_zoo.paper.reference import FIGURE_4, TABLE_1, TRAINED_ON
from pvae_zoo.paper.results import Results, StudyResult
from pvae_zoo.paper.studies import Budget, Study, table_studies
from pvae_zoo.paper.tables import NOT_YET, listed, table
from pvae_zoo.reporting.evaluation import stored_evaluations
from pvae_zoo.sources.registry import model_names, open_bundle


def render_page(results: Results, budget: Budget, folder: Path, link: str) -> str:
    """The page in Markdown.

    Args:
        results: what was measured.
        budget: that it was measured with.
        folder: where the pictures are; those that are not there are not shown.
        link: the folder as the page links to it.
    """

    def picture(name: str, words: str) -> str:
        return f"![{words}]({link}/{name})" if (folder / name).is_file() else ""

    template = (resources.files("pvae_zoo.paper") / "page.md").read_text("utf-8")
    page = Template(template).substitute(
        budget=_budget(results, budget),
        table1=_table1(results, budget),
        vae_times=budget.vae_times,
        rest=_rest(results, budget),
        figure3=_figure3(results),
        figure3_picture=picture("figure3.png", "NLL against the number of masked layers"),
        figure4=_figure4(results),
        figure4_picture=picture("figure4.png", "KL and reconstruction against the number of masked layers"),
        figure5=figure5_section(results),
        figure5_picture=picture("figure5.png", "Three rows: the noise of z2, of z1, of the pixels changes"),
        probe=_probe(results),
        probe_picture=picture("probe.png", "Accuracy of a linear probe of z, and the KL"),
        latents=latents_section(results),
        codecs=codecs_section(results),
        imagenet64=imagenet64_section(),
        samples=_samples(results),
        temperatures_picture=picture("temperatures.png", "Samples at several temperatures"),
        interpolations_picture=picture("interpolations.png", "Interpolations"),
        neighbours_picture=picture("neighbours.png", "Samples above their nearest training images"),
    )
    return re.sub(r"\n{3,}", "\n\n", page)  # where a picture is not there


def _budget(results: Results, budget: Budget) -> str:
    words = f"{budget.steps:,} steps of {budget.batch_size} images each"
    if results.of_figures:
        longest = max(row.minutes for row in results.of_figures)
        hardware = sorted({row.hardware for row in results.of_figures})
        words += f" (at most {longest:.0f} minutes a model on {' or '.join(hardware)})"
    return words if results.budget == "full" else f"{words}; **a quick run, its figures mean nothing**"


def _bound(row: StudyResult) -> str:
    return f"{row.nll_nats:.2f} +- {row.standard_error_nats:.2f}"


def _study_row(name: str, paper: str, row: StudyResult | None) -> list[str]:
    if row is None:
        return [name, TABLE_1[paper], "not measured yet", "", ""]
    weighted = ""
    if row.iwae_nll_nats is not None:
        weighted = (
            f"{row.iwae_nll_nats:.2f} (K = {row.samples}, {row.weighted_images} images; "
            f"-ELBO of those: {row.weighted_nll_nats:.2f})"
        )
    return [name, TABLE_1[paper], _bound(row), weighted, f"{row.images_seen:,} images"]


def _zoo_row(name: str, paper: str, model: str) -> list[str]:
    """A model of the zoo, by the figures on its card."""
    if model not in model_names():
        return [name, TABLE_1[paper], "not in the zoo", "", ""]
    bundle = open_bundle(model)
    rows = [row for row in stored_evaluations(bundle) if row["split"] == "test"]
    whole = [row for row in rows if row["images"] == row["of"]]
    if not whole:
        return [name, TABLE_1[paper], "not measured yet", "", ""]
    best, weighted = whole[-1], max(rows, key=lambda row: int(row["samples"]))
    iwae = ""
    if weighted["iwae_nll_nats"] is not None:
        iwae = f"{weighted['iwae_nll_nats']:.2f} (K = {weighted['samples']}, {weighted['images']:,} images"
        iwae += ")" if weighted["images"] == weighted["of"] else f"; -ELBO of those: {weighted['nll_nats']:.2f})"
    seen = f"{bundle.config.training['images_seen']:,} images"
    return [name, TABLE_1[paper], f"{best['nll_nats']:.2f} +- {best['standard_error_nats']:.2f}", iwae, seen]


def _table1(results: Results, budget: Budget) -> str:
    names, (vae, alone, upsampled) = list(TABLE_1), table_studies(budget)
    return table(
        ["model", "paper", "here: -ELBO or exact NLL", "importance-weighted", "trained on"],
        [
            _study_row(f"{names[0]} (no masked layer)", names[0], results.find(vae)),
            _study_row(f"PixelCNN alone, {alone.layers} layers", names[1], results.find(alone)),
            _study_row(f"PixelVAE with upsampling, {upsampled.layers} layers", names[2], results.find(upsampled)),
            _zoo_row("`mnist-upsample` of the zoo", names[2], "mnist-upsample"),
            _zoo_row("`mnist` of the zoo, without upsampling", names[3], "mnist"),
        ],
    )


def _rest(results: Results, budget: Budget) -> str:
    """What more training gave and what the paper's would take: nothing until all models of table 1 are there."""
    short, rows = results.find(Study("pixelvae", 0)), [results.find(study) for study in table_studies(budget)]
    found = [row for row in rows if row is not None]
    if short is None or len(found) < len(rows):
        return ""
    vae, alone, upsampled = (f"{row.minutes / 60 * TRAINED_ON / row.images_seen:.0f}" for row in found)
    return (
        f"More time helps: {short.images_seen:,} images give the VAE {_bound(short)}, {found[0].images_seen:,} give it "
        f"{_bound(found[0])}, and the paper's models saw {TRAINED_ON:,}. At the speed of these runs that is at most "
        f"{vae} hours for the VAE, {alone} for the PixelCNN and {upsampled} for the PixelVAE of as many layers."
    )


def _figure3(results: Results) -> str:
    rows = []
    for layers in sorted({row.layers for row in results.of_figures}):
        pair = [results.find(Study("pixelvae", layers)), results.find(Study("pixelcnn", layers))]
        cells = ["" if row is None else _bound(row) for row in pair]
        gain = "" if pair[0] is None or pair[1] is None else f"{pair[1].nll_nats - pair[0].nll_nats:+.2f}"
        rows.append([str(layers), *cells, gain])
    if not rows:
        return NOT_YET.format(figure="figure3", needs=" --data DIR")
    shown = table(["masked layers", "PixelVAE, -ELBO", "PixelCNN alone, exact", "what the latents gain"], rows)
    return f"{shown}\n\n{_claim3(results)}".rstrip()


def _claim3(results: Results) -> str:
    """What the paper claims of figure 3, in our numbers: nothing until both kinds of models are there."""
    gains = {
        alone.layers: alone.nll_nats - found.nll_nats
        for alone in results.of("pixelcnn")
        if (found := results.find(Study("pixelvae", alone.layers))) is not None
    }
    if not gains:
        return ""
    words = [f"{gain:.1f} nats at {layers}" for layers, gain in gains.items()]
    return f"Here a PixelVAE is better than the PixelCNN in it by {listed(words)} masked layers."


def _figure4(results: Results) -> str:
    rows = []
    for row in results.of("pixelvae"):
        theirs = FIGURE_4.get(row.layers)
        paper = ["", ""] if theirs is None else [f"{value:.2f}" for value in theirs]
        rows.append([str(row.layers), f"{row.reconstruction_nats:.2f}", f"{row.kl_nats:.2f}", *paper])
    if not rows:
        return NOT_YET.format(figure="figure4", needs=" --data DIR")
    shown = table(["masked layers", "reconstruction", "KL", "paper: reconstruction", "paper: KL"], rows)
    return f"{shown}\n\n{_claim4(results)}".rstrip()


def _claim4(results: Results) -> str:
    """What the paper claims of figure 4, in our numbers: nothing without models of 0 and 1 layers."""
    kl = [row.kl_nats for row in results.of("pixelvae") if row.kl_nats is not None]
    if len(kl) < 2 or results.find(Study("pixelvae", 0)) is None or results.find(Study("pixelvae", 1)) is None:
        return ""
    rise = max(later - earlier for earlier, later in pairwise(kl[1:])) if len(kl) > 2 else 0.0
    after = f"after it no layer adds more than {rise:.1f}" if rise > 0 else "after it no layer adds to it"
    return f"Here the first masked layer takes {100 * (1 - kl[1] / kl[0]):.0f} % of the KL; {after}."


def _probe(results: Results) -> str:
    rows = [
        [str(row.layers), f"{row.kl_nats:.2f}", f"{100 * row.probe_accuracy:.1f} %"]
        for row in results.of("pixelvae")
        if row.probe_accuracy is not None
    ]
    if not rows:
        return NOT_YET.format(figure="probe", needs=" --data DIR --labels DIR")
    return table(["masked layers", "KL", "linear probe"], rows)


def _samples(results: Results) -> str:
    if results.samples is None:
        return NOT_YET.format(figure="samples", needs=" --data DIR")
    found = results.samples
    samples, held_out = ([100 * distance for distance in part] for part in (found.distances, found.held_out))
    return (
        f"Model: `{found.model}` ({found.digest[:16]}). A sample differs from the nearest of "
        f"{found.train_images:,} training images in {_mean(samples):.1f} % of its pixels on average "
        f"({min(samples):.1f} to {max(samples):.1f} %), a validation image in {_mean(held_out):.1f} % "
        f"({min(held_out):.1f} to {max(held_out):.1f} %); {len(samples)} of each."
    )


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
