import json

import pytest

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.paper.results import (
    RESULTS,
    CodecResult,
    LatentsResult,
    Results,
    RowsResult,
    SamplesResult,
    StudyResult,
    load_results,
)
from pvae_zoo.paper.results import save_results as save
from pvae_zoo.paper.studies import Study


def study(kind="pixelvae", layers=2, nll=90.0, **changes):
    latents = kind == "pixelvae"
    values = {
        "kind": kind, "layers": layers, "parameters": 10, "steps": 5, "images_seen": 50, "minutes": 1.5,
        "hardware": "2 cores", "test_images": 7, "nll_nats": nll, "standard_error_nats": 0.5,
        "reconstruction_nats": 80.0 if latents else nll, "kl_nats": nll - 80.0 if latents else None,
        "samples": 4 if latents else None, "weighted_images": 3 if latents else None,
        "iwae_nll_nats": nll - 1 if latents else None, "weighted_nll_nats": nll + 1 if latents else None,
        "probe_accuracy": 0.5 if latents else None, "probe_images": 9 if latents else None,
    }  # fmt: skip
    return StudyResult(**values | changes)


def latents(images=3000, bits=5.0, found=True, dataset="photos64.zip"):
    return LatentsResult(
        latents=found, images=images, dataset=dataset, steps=188, batch_size=16, images_seen=3008, minutes=5.0,
        hardware="2 cores", parameters=9, valid_images=7, bits_per_dim=bits, standard_error=0.1,
        kl_nats=(300.0, 20.0) if found else (), others_bits_per_dim=6.0 if found else None,
    )  # fmt: skip


@pytest.fixture
def results():
    codecs = CodecResult(dataset="rooms", images=3, codecs={"PNG": 5.0}, model="lsun", model_bits_per_dim=3.5)
    return Results(
        budget="quick", studies=(study(), study("pixelcnn")), codecs=(codecs,),
        latents=(latents(), latents(found=False)),
        rows=RowsResult(model="lsun", digest="0" * 64, distance={"top": 0.1, "bottom": 0.05, "pixels": 0.01}),
        samples=SamplesResult(
            model="mnist", digest="1" * 64, train_images=10, distances=(0.02, 0.04), held_out=(0.03, 0.05)
        ),
    )  # fmt: skip


def test_what_is_stored_is_read_back(results, tmp_path):
    save(tmp_path, results)
    assert load_results(tmp_path, "quick") == results
    assert load_results(tmp_path / "none", "full") == Results(budget="full")


def test_a_result_replaces_that_of_the_same_model_and_keeps_the_order():
    results = Results(budget="full")
    for layers, kind in ((4, "pixelvae"), (0, "pixelvae"), (4, "pixelcnn")):
        results = results.with_study(study(kind, layers))
    results = results.with_study(study(layers=4, nll=85.0))
    assert [row.layers for row in results.of("pixelvae")] == [0, 4] and len(results.studies) == 3
    assert results.find(Study("pixelvae", 4)).nll_nats == 85.0 and results.find(Study("pixelcnn", 1)) is None


def test_models_of_latents_are_told_apart_by_data_images_and_latents():
    results = Results(budget="full")
    for row in (latents(12_000), latents(), latents(found=False), latents(dataset="others"), latents(bits=4.0)):
        results = results.with_latents(row)
    assert [(row.dataset, row.images, row.latents) for row in results.latents] == [
        ("others", 3000, True), ("photos64.zip", 3000, False), ("photos64.zip", 3000, True),
        ("photos64.zip", 12_000, True),
    ]  # fmt: skip
    assert results.find_latents("photos64.zip", 3000, True).bits_per_dim == 4.0
    assert results.find_latents("photos64.zip", 12_000, False) is None


def test_quick_results_never_mix_with_full_ones(results, tmp_path):
    save(tmp_path, results)
    with pytest.raises(PvaeZooError, match="results of the quick budget: choose another --out"):
        load_results(tmp_path, "full")


@pytest.mark.parametrize("damage", ["{", "[]", '{"studies": 3}', None])
def test_a_damaged_file_is_named(damage, results, tmp_path):
    save(tmp_path, results)
    path = tmp_path / RESULTS
    if damage is None:
        content = json.loads(path.read_text())
        content["studies"][0]["layers"] = "many"
        damage = json.dumps(content)
    path.write_text(damage)
    with pytest.raises(PvaeZooError, match=rf"{RESULTS} is damaged .*: remove it and measure again"):
        load_results(tmp_path, "quick")
