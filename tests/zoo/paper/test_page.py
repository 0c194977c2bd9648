import json
from dataclasses import replace
from pathlib import Path

import pytest

from pvae_zoo.evaluation import stored_evaluations
from pvae_zoo.paper.page import render_page
from pvae_zoo.paper.results import RESULTS, CodecResult, Results, StudyResult, load_results
from pvae_zoo.paper.studies import FULL
from pvae_zoo.registry import open_bundle

DOCS = Path(__file__).parents[3] / "docs"


def study(kind, layers, nll):
    latents = kind == "pixelvae"
    return StudyResult(
        kind=kind, layers=layers, parameters=1, steps=2, images_seen=1234, minutes=1.0, hardware="2 cores",
        test_images=5, nll_nats=nll, standard_error_nats=0.25, reconstruction_nats=nll - 7,
        kl_nats=7.0 if latents else None, samples=9 if latents else None, weighted_images=3 if latents else None,
        iwae_nll_nats=nll - 1 if latents else None, weighted_nll_nats=nll + 2 if latents else None,
        probe_accuracy=0.875 if latents else None, probe_images=5 if latents else None,
    )  # fmt: skip


def test_a_page_of_nothing_says_how_to_measure(tmp_path):
    page = render_page(Results(budget="full"), FULL, tmp_path, "paper")
    assert page.count("Not measured yet: `pvae-zoo reproduce") == 6 and "![" not in page and "\n\n\n" not in page


def test_figures_stand_beside_the_paper_s(tmp_path):
    longer = replace(study("pixelvae", 0, 91.0), times=FULL.vae_times)
    studies = (study("pixelvae", 0, 95.0), longer, study("pixelvae", 2, 85.5), study("pixelcnn", 2, 88.0))
    page = render_page(Results(budget="full", studies=studies), FULL, tmp_path, "paper")
    assert "| Convolutional VAE (no masked layer) | <= 87.41 | 91.00 +- 0.25 | 90.00 (K = 9, 3 images;" in page
    assert "| 0 | 95.00 +- 0.25 |  |  |" in page and page.count("91.00") == 1
    assert "| 2 | 85.50 +- 0.25 | 88.00 +- 0.25 | +2.50 |" in page
    assert "| 2 | 78.50 | 7.00 | 71.82 | 9.40 |" in page
    assert "| 2 | 7.00 | 87.5 % |" in page


def test_the_paper_s_claims_are_said_in_our_numbers(tmp_path):
    kl = {0: 25.0, 1: 10.0, 2: 9.0, 4: 9.25}
    studies = [replace(study("pixelvae", layers, 80.0), kl_nats=nats) for layers, nats in kl.items()]
    studies += [study("pixelcnn", 1, 90.0), study("pixelcnn", 4, 84.5), study("pixelcnn", 12, 79.0)]
    page = render_page(Results(budget="full", studies=tuple(studies)), FULL, tmp_path, "paper")
    assert (
        "Here a PixelVAE is better than the PixelCNN in it by 10.0 nats at 1 and 4.5 nats at 4 masked layers." in page
    )
    assert "Here the first masked layer takes 60 % of the KL; after it no layer adds more than 0.2." in page
    page = render_page(Results(budget="full", studies=tuple(studies[:3])), FULL, tmp_path, "paper")
    assert "60 % of the KL; after it no layer adds to it." in page and "is better than" not in page


def test_the_zoo_s_models_stand_there_as_on_their_cards(tmp_path):
    page = render_page(Results(budget="full"), FULL, tmp_path, "paper")
    for model in ("mnist", "mnist-upsample"):
        (row,) = [r for r in stored_evaluations(open_bundle(model)) if r["split"] == "test" and r["images"] == r["of"]]
        assert f"{row['nll_nats']:.2f} +- {row['standard_error_nats']:.2f}" in page


def test_pictures_are_shown_where_they_are(tmp_path):
    (tmp_path / "figure3.png").touch()
    page = render_page(Results(budget="full"), FULL, tmp_path, "elsewhere")
    assert page.count("![") == 1 and "(elsewhere/figure3.png)" in page


def test_codecs_without_a_model_say_so(tmp_path):
    row = CodecResult(
        dataset="rooms", images=7, codecs={"PNG": 5.0, "WebP": 4.125}, model=None, model_bits_per_dim=None
    )
    page = render_page(Results(budget="full", codecs=(row,)), FULL, tmp_path, "paper")
    assert "| rooms | 7 | 5.000 | 4.125 | no trained model yet |" in page


@pytest.mark.skipif(not (DOCS / "paper" / RESULTS).is_file(), reason="no results are stored")
def test_the_page_in_docs_is_what_its_results_give():
    results = load_results(DOCS / "paper", "full")
    assert (DOCS / "paper.md").read_text("utf-8") == render_page(results, FULL, DOCS / "paper", "paper")
    assert json.loads((DOCS / "paper" / RESULTS).read_text("utf-8"))["budget"] == "full"


def test_what_the_paper_s_training_would_take_is_reckoned_from_these_runs(tmp_path):
    assert "More time helps" not in render_page(Results(budget="full"), FULL, tmp_path, "paper")
    studies = [study(kind, layers, 90.0) for kind, layers in (("pixelvae", 0), ("pixelcnn", 12), ("pixelvae", 12))]
    studies.append(replace(study("pixelvae", 0, 88.0), times=FULL.vae_times))
    studies = [replace(row, images_seen=200_000, minutes=6.0 * max(1, row.layers)) for row in studies]
    page = render_page(Results(budget="full", studies=tuple(studies)), FULL, tmp_path, "paper")
    assert "at most 10 hours for the VAE, 120 for the PixelCNN and 120 for the PixelVAE" in page
