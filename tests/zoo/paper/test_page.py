import json
from dataclasses import replace
from pathlib import Path

import pytest

from pvae_zoo.paper.page import render_page
from pvae_zoo.paper.results import RESULTS, CodecResult, LatentsResult, Results, StudyResult, load_results
from pvae_zoo.paper.studies import FULL
from pvae_zoo.reporting.evaluation import stored_evaluations
from pvae_zoo.sources.registry import open_bundle

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
    assert page.count("Not measured yet: `pvae-zoo reproduce") == 7 and "![" not in page and "\n\n\n" not in page


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
    assert "| `rooms` | 7 | 5.000 | 4.125 | no trained model yet |  |" in page


def test_a_model_s_bits_are_told_as_a_share_of_webp_s(tmp_path):
    codecs = {"PNG": 5.0, "WebP lossless": 4.0}
    row = CodecResult(dataset="rooms64.zip", images=7, codecs=codecs, model="lsun", model_bits_per_dim=3.25)
    other = CodecResult(dataset="z", images=7, codecs={**codecs, "JPEG XL lossless": 3.5}, model=None,
                        model_bits_per_dim=None)  # fmt: skip
    page = render_page(Results(budget="full", codecs=(row, other)), FULL, tmp_path, "paper")
    assert "| `rooms64.zip` | 7 | 5.000 | 4.000 |  | 3.250 (`lsun`) | 0.812 |" in page


def latents(images, bits, found):
    return LatentsResult(
        latents=found, images=images, dataset="photos64.zip", steps=1, batch_size=16, images_seen=images + 8,
        minutes=5.0, hardware="2 cores", parameters=9 if found else 4, valid_images=7, bits_per_dim=bits,
        standard_error=0.0125, kl_nats=(300.0, 20.25) if found else (), others_bits_per_dim=6.5 if found else None,
    )  # fmt: skip


def test_what_latents_earn_is_said_whatever_comes_out(tmp_path):
    rows = (latents(3000, 5.0, False), latents(3000, 5.25, True), latents(12_000, 4.5, False))
    page = render_page(Results(budget="full", latents=rows), FULL, tmp_path, "paper")
    assert "| `photos64.zip` | 3,008 | 5.000 +- 0.013 | 5.250 +- 0.013 | 300.0 + 20.2 | 6.500 |" in page
    assert "| `photos64.zip` | 12,008 | 4.500 +- 0.013 | not measured yet |  |  |" in page
    assert "Here the latents cost 0.250 after 3,008 images, in bits per dimension." in page
    page = render_page(Results(budget="full", latents=(*rows, latents(12_000, 4.0, True))), FULL, tmp_path, "paper")
    assert "cost 0.250 after 3,008 images and save 0.500 after 12,008 images, in bits" in page
    assert "9 parameters with latents, 4 without; 20 minutes of training in all on 2 cores." in page


def test_the_two_sets_called_imagenet64_are_told_apart(tmp_path):
    page = " ".join(render_page(Results(budget="full"), FULL, tmp_path, "paper").split())
    older, newer = (next(line for line in page.split(" | ") if name in line) for name in ("van den Oord", "Chrabaszcz"))
    assert page.index("PixelVAE 3.66") < page.index(newer) < page.index("3.30") and older in page
    assert "The paper's 3.66 is of the older." in page and page.count("3.66") == 2


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
