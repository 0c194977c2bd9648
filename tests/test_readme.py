"""What the README claims is what was measured."""

import math
from pathlib import Path

import numpy as np
import pytest

import pvae_zoo
from pvae_zoo.conformance.stored import conformance_rows, stored_matrix
from pvae_zoo.reporting.card import render_card
from pvae_zoo.reporting.evaluation import own_evaluations, stored_evaluations
from pvae_zoo.sources.registry import model_names, open_bundle, resolve

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def readme_row(bundle):
    """The model's line in the table: figures of the whole test set, and of the row with the largest K.

    Of the validation set, where a data set has no test set.
    """
    stored = own_evaluations(bundle)
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


@pytest.mark.parametrize("name", model_names())
def test_the_readme_has_the_figures_of_every_model(name):
    assert readme_row(open_bundle(name)) in README


@pytest.mark.parametrize("name", model_names())
def test_the_card_is_what_evaluate_writes(name):
    folder = ROOT / "model_cards"
    assert (folder / f"{name}.md").read_text("utf-8") == render_card(open_bundle(name), folder)


def test_the_readme_has_the_matrix_of_mnist():
    assert conformance_rows(stored_matrix(open_bundle("mnist"))) in README


@pytest.mark.parametrize("name", model_names())
def test_a_shipped_model_passes_in_five_runtimes(name):
    states = [row.state for row in stored_matrix(open_bundle(name)).runtimes]
    assert states.count("passed") >= 5


@pytest.mark.parametrize("name", model_names())
def test_a_shipped_model_has_latents_that_carry_something(name):
    bundle = open_bundle(name)
    rows = stored_evaluations(bundle)
    # 0.01 bits per dimension of a colour image of 64x64 are 85 nats; a digit's 3 are more than that a dimension.
    least = 3 if bundle.config.image.levels == 2 else 0.01 * bundle.config.image.dimensions * math.log(2)
    assert rows and all(kl > least for row in rows for kl in row["kl_nats"])


@pytest.mark.parametrize("name", model_names())
def test_a_shipped_model_reads_its_latents(name):
    """An image is likelier, by more than a few nats, given its own latents than given those of another."""
    model = pvae_zoo.load(name, device="cpu")
    images = model.sample(16, seed=1)
    own, others = model.encode(images)[0].mean, model.encode(np.roll(images, 1, axis=0))[0].mean
    log_prob = [model.networks.log_prob(images, z).reshape(16, -1).sum(1) for z in (own, others)]
    assert np.mean(log_prob[0] - log_prob[1]) > 3


@pytest.mark.parametrize("name", [n for n in model_names() if len(open_bundle(n).config.latents) == 2])
def test_the_top_latents_change_an_image_more_than_the_pixels_noise_does(name):
    """The paper's figure 5: what an image shows is decided at the top, the pixels' noise is detail."""
    model = pvae_zoo.load(name, device="cpu")

    def mean_change(level):
        rows = [model.vary(level, 4, seed=seed).astype(int) for seed in range(4)]
        return np.mean([np.abs(row[1:] - row[0]).mean() for row in rows])

    assert mean_change("top") > mean_change("pixels")


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the example leaves closing its file to Python
def test_the_bare_onnxruntime_example_draws_a_digit(tmp_path, monkeypatch, capsys):
    code = README.split("import json\n", 1)[1].split("```", 1)[0]
    (tmp_path / "mnist").symlink_to(resolve("mnist"))
    monkeypatch.chdir(tmp_path)
    exec("import json\n" + code, {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 28 and all(len(line) == 28 for line in lines)
    assert 20 < sum(line.count("#") for line in lines) < 300
