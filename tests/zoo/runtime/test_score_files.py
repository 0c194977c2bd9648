import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.data.images import ImageSource
from pvae_zoo.runtime.score_files import Figures, Row, Summary, score_files
from pvae_zoo.runtime.scoring import Scores
from pvae_zoo.runtime.sessions import CPU


def rows(count, samples=3, offset=0.0):
    values = np.random.default_rng(1).standard_normal((count, 6)) + offset
    return values, [
        Row("x", Figures(bits_per_dim=b, nll_nats=n, reconstruction_nats=r, kl_nats=(k, m),
                         iwae_nll_nats=i if samples > 1 else None))
        for b, n, r, k, m, i in values
    ]  # fmt: skip


@pytest.mark.parametrize("count", [1, 2, 3, 1000])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_the_running_mean_and_error_are_those_of_all_rows(count, offset):
    values, scored = rows(count, offset=offset)
    summary = Summary()
    for row in scored:
        summary.add(row)
        summary.add(Row("y", None, reason="is empty"))
    mean = summary.mean
    assert (summary.count, summary.failed) == (count, count)
    found = [mean.bits_per_dim, mean.nll_nats, mean.reconstruction_nats, *mean.kl_nats, mean.iwae_nll_nats]
    assert found == pytest.approx(list(values.mean(axis=0)), rel=1e-12, abs=1e-12)
    error = values[:, 1].std(ddof=1) / math.sqrt(count) if count > 1 else 0.0
    assert summary.standard_error_nats == pytest.approx(error, rel=1e-6)


def test_no_row_has_no_mean():
    summary = Summary()
    assert summary.mean is None and summary.standard_error_nats is None and summary.count == 0


def test_what_the_scores_compute_is_computed_once_a_batch(monkeypatch):
    computed, images = [], np.zeros((50, 1, 2, 2), np.uint8)
    original = Scores.nll_nats.fget
    monkeypatch.setattr(Scores, "nll_nats", property(lambda self: computed.append(len(self)) or original(self)))
    values = np.arange(50.0)
    scores = Scores(ImageShape(channels=1, height=2, width=2, levels=2), values, values[:, None], None, images)
    model = SimpleNamespace(threads=1, provider=CPU, nll=lambda images, **options: scores)
    sources = [ImageSource(str(index), Path(str(index))) for index in range(50)]
    scored = list(score_files(model, sources, lambda source: (images[0], None), batch_size=50))
    assert [row.figures.nll_nats for row in scored] == list(2 * values) and len(computed) <= 2


def test_one_draw_has_no_importance_weighted_mean():
    summary = Summary()
    summary.add(rows(1, samples=1)[1][0])
    assert summary.mean.iwae_nll_nats is None
