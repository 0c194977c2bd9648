import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest

from pvae_zoo.contract.folder import CONFIG, EVALUATION, Bundle
from pvae_zoo.data.datasets import ImageSet
from pvae_zoo.reporting import evaluation
from pvae_zoo.reporting.evaluation import (
    CodecSizes,
    Thumbnails,
    evaluate,
    own_evaluations,
    save_evaluation,
    stored_codecs,
    stored_evaluations,
    stored_thumbnails,
)
from pvae_zoo.runtime.model import Model


@pytest.fixture
def bundle(gates, copy_bundle):
    return Bundle(copy_bundle(gates.bundle))


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(2, size=(30, 1, 7, 6), dtype=np.uint8)


def measure(bundle, images, *, split="test", samples=1, limit=None, seed=0, **options):
    model = Model(bundle, "cpu", 1)
    return evaluate(
        model,
        ImageSet.of(images, model.image),
        split=split,
        samples=samples,
        limit=limit,
        seed=seed,
        command="c",
        **options,
    )


@pytest.mark.parametrize("samples", [1, 5])
def test_figures_are_means_over_the_images(bundle, images, samples):
    figures = measure(bundle, images, samples=samples, seed=3)
    scores = Model(bundle, "cpu", 1).nll(images, samples=samples, seed=3)
    assert figures.nll_nats == pytest.approx(scores.nll_nats.mean())
    assert figures.standard_error_nats == pytest.approx(scores.nll_nats.std(ddof=1) / math.sqrt(30))
    assert figures.bits_per_dim == pytest.approx(scores.nll_nats.mean() / 42 / math.log(2))
    assert figures.reconstruction_nats + sum(figures.kl_nats) == pytest.approx(figures.nll_nats)
    if samples == 1:
        assert figures.iwae_nll_nats is None
    else:
        assert figures.iwae_nll_nats == pytest.approx(scores.iwae_nll_nats.mean())
    assert (figures.images, figures.of, figures.samples, figures.split) == (30, 30, samples, "test")
    assert figures.model_sha256 == bundle.digest and figures.provider == "CPUExecutionProvider"


def test_batches_change_no_figure(bundle, images, monkeypatch):
    whole = measure(bundle, images, samples=3)
    seen = []
    monkeypatch.setattr(evaluation, "BATCH", 7)
    monkeypatch.setattr(Model, "nll_batch", 1)
    parts = measure(bundle, images, samples=3, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(7, 30), (14, 30), (21, 30), (28, 30), (30, 30)]
    for name, value in asdict(whole).items():
        assert getattr(parts, name) == (pytest.approx(value, rel=1e-6) if isinstance(value, float | tuple) else value)


def test_a_subset_is_drawn_at_random_and_can_be_drawn_again(bundle, images, monkeypatch):
    chosen = []
    nll = Model.nll
    monkeypatch.setattr(Model, "nll", lambda self, x, **options: chosen.append(x) or nll(self, x, **options))
    first, again, other = (measure(bundle, images, limit=10, seed=seed) for seed in (1, 1, 2))
    assert first == again and first != other
    assert (first.images, first.of) == (10, 30)
    where = [[int(np.flatnonzero((images == image).all((1, 2, 3)))[0]) for image in x] for x in chosen]
    assert where[0] == where[1] != where[2]
    assert all(len(set(rows)) == 10 and rows != list(range(10)) for rows in where)


@pytest.mark.parametrize("limit", [30, 31, None])
def test_a_limit_that_leaves_none_out_is_the_whole_split(bundle, images, limit):
    assert measure(bundle, images, limit=limit) == measure(bundle, images)


def test_one_image_has_no_standard_error(bundle, images):
    assert measure(bundle, images[:1]).standard_error_nats == 0


def test_a_result_replaces_the_one_of_the_same_split_images_and_samples(bundle, images):
    row = measure(bundle, images)
    assert stored_evaluations(bundle) == []
    save_evaluation(bundle, row)
    save_evaluation(bundle, replace(row, nll_nats=1.0))
    assert [stored["nll_nats"] for stored in stored_evaluations(bundle)] == [1.0]
    others = [replace(row, split="valid"), replace(row, images=10), replace(row, samples=5)]
    for other in others:
        save_evaluation(bundle, other)
    keys = [(stored["split"], stored["images"], stored["samples"]) for stored in stored_evaluations(bundle)]
    assert keys == [("test", 30, 1), ("test", 30, 5), ("test", 10, 1), ("valid", 30, 1)]
    stored = json.loads((bundle.folder / EVALUATION).read_text())["results"][0]
    assert stored == asdict(replace(row, nll_nats=1.0)) | {"kl_nats": list(row.kl_nats)}


def test_rows_of_other_data_and_of_jpeg_copies_stand_beside_each_other(bundle, images):
    row = measure(bundle, images, dataset="rooms64.zip", split="valid")
    rows = [row, replace(row, dataset="rooms96.zip"), replace(row, jpeg=75), replace(row, jpeg=90)]
    for one in (*rows, replace(row, jpeg=75, nll_nats=2.0)):
        save_evaluation(bundle, one)
    found = [(stored["dataset"], stored["jpeg"], stored["nll_nats"]) for stored in stored_evaluations(bundle)]
    same = row.nll_nats
    assert found == [
        ("rooms64.zip", None, same), ("rooms64.zip", 75, 2.0), ("rooms64.zip", 90, same), ("rooms96.zip", None, same)
    ]  # fmt: skip


def test_the_data_that_was_measured_first_is_the_model_s_own(bundle, images):
    assert own_evaluations(bundle) == []
    row = measure(bundle, images, dataset="rooms64.zip", split="valid")
    for one in (row, replace(row, jpeg=75), replace(row, dataset="photos64.zip", images=99), replace(row, samples=5)):
        save_evaluation(bundle, one)
    save_evaluation(bundle, row)  # measured again
    assert [(r["dataset"], r["jpeg"], r["samples"]) for r in own_evaluations(bundle)] == [
        ("rooms64.zip", None, 1), ("rooms64.zip", None, 5)
    ]  # fmt: skip


def test_codecs_and_thumbnails_are_rows_of_their_own(bundle, images):
    row = measure(bundle, images, dataset="a.zip")
    of = {"dataset": "a.zip", "split": "test", "images": 30, "of": 30, "seed": 0, "command": "c",
          "model_sha256": bundle.digest}  # fmt: skip
    codecs = CodecSizes(codecs={"PNG": 5.0, "WebP lossless": 4.5}, jpeg=None, **of)
    thumbnails = Thumbnails(sizes=("16x16", "8x8"), r2=(0.9, None), rms=(0.1, 0.2), **of)
    for one in (thumbnails, replace(codecs, codecs={"PNG": 6.0}), codecs, replace(codecs, jpeg=75), row):
        save_evaluation(bundle, one)
    assert stored_codecs(bundle) == [codecs, replace(codecs, jpeg=75)] and stored_thumbnails(bundle) == [thumbnails]
    (bound,) = stored_evaluations(bundle)
    assert codecs.is_of(bound)
    assert not replace(codecs, jpeg=75).is_of(bound) and not replace(codecs, seed=1).is_of(bound)


def test_a_row_of_before_has_its_data_from_its_command(gates, copy_bundle):
    bundle = Bundle(copy_bundle(gates.bundle))
    old = asdict(measure(bundle, np.zeros((2, 1, 7, 6), np.uint8)))
    del old["dataset"], old["jpeg"]
    old["command"] = "pvae-zoo evaluate lsun --data rooms96.zip --split test --samples 1 --seed 0"
    (bundle.folder / EVALUATION).write_text(json.dumps({"results": [old]}))
    (stored,) = stored_evaluations(bundle)
    assert stored == old | {"kl_nats": list(old["kl_nats"]), "dataset": "rooms96.zip", "jpeg": None}
    save_evaluation(bundle, measure(bundle, np.zeros((2, 1, 7, 6), np.uint8), dataset="rooms96.zip"))
    assert [row["command"] for row in stored_evaluations(bundle)] == ["c"]


def test_results_of_other_weights_are_dropped(bundle, images):
    row = measure(bundle, images)
    save_evaluation(bundle, row)
    path = bundle.folder / CONFIG
    data = json.loads(path.read_text())
    data["graphs"]["decoder"]["sha256"] = "0" * 64
    path.write_text(json.dumps(data))
    retrained = Bundle(bundle.folder)
    assert stored_evaluations(retrained) == []
    save_evaluation(retrained, replace(row, split="valid", model_sha256=retrained.digest))
    assert [stored["split"] for stored in stored_evaluations(retrained)] == ["valid"]
    assert [stored["split"] for stored in retrained.evaluation()["results"]] == ["valid"]


@pytest.mark.parametrize(
    "spoilt",
    [
        {"nll_nats": "80"},
        {"kl_nats": 3},
        {"command": "\x1b[2J"},
        {"command": "x" * 2000},
        {"extra": 1},
        {"images": None},
        {"dataset": "\x1b[2J"},
        {"jpeg": "75"},
    ],
)
def test_what_is_no_result_is_left_out(gates, copy_bundle, spoilt):
    bundle = Bundle(copy_bundle(gates.bundle))
    row = {
        "split": "test", "images": 3, "of": 3, "samples": 1, "seed": 0, "nll_nats": 1.0, "standard_error_nats": 0.1,
        "bits_per_dim": 0.1, "reconstruction_nats": 0.5, "kl_nats": [0.5], "iwae_nll_nats": None, "provider": "CPU",
        "model_sha256": bundle.digest, "command": "pvae-zoo evaluate",
    }  # fmt: skip
    (bundle.folder / "evaluation.json").write_text(json.dumps({"results": [row, row | spoilt]}))
    assert stored_evaluations(bundle) == [row | {"dataset": "", "jpeg": None}]


def test_words_in_rows_of_every_kind_must_be_printable(bundle):
    of = {"dataset": "a.zip", "split": "test", "images": 3, "of": 3, "seed": 0, "command": "c",
          "model_sha256": bundle.digest}  # fmt: skip
    save_evaluation(bundle, CodecSizes(codecs={"\x1b[2J": 5.0}, jpeg=None, **of))
    save_evaluation(bundle, Thumbnails(sizes=("\x1b[2J",), r2=(0.5,), rms=(0.1,), **of))
    assert stored_codecs(bundle) == [] and stored_thumbnails(bundle) == []
