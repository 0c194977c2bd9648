import math

import numpy as np
import pytest

from pvae_zoo.runtime.score_files import Figures, Row, Summary


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


def test_one_draw_has_no_importance_weighted_mean():
    summary = Summary()
    summary.add(rows(1, samples=1)[1][0])
    assert summary.mean.iwae_nll_nats is None
