"""P-values keep what they promise, whatever the scores are worth."""

import numpy as np
import pytest

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.screening.conformal import (
    Discoveries,
    check_rate,
    fitted_of,
    images_needed,
    p_values,
    ranked_of,
    ranks_needed,
)
from pvae_zoo.screening.evidence import measure
from pvae_zoo.screening.reference import fit_reference
from pvae_zoo.screening.screen import split

RATE, SPLITS, CALIBRATION = 0.1, 200, 120


def test_a_p_value_is_the_rank_among_the_calibration():
    ranked = np.array([1.0, 2.0, 2.0, 5.0])
    found = p_values(ranked, np.array([0.0, 1.0, 2.0, 3.0, 5.0, 9.0, np.nan]))
    assert found.tolist() == [1.0, 1.0, 0.8, 0.4, 0.4, 0.2, 0.2]


def test_of_images_that_belong_the_share_asked_for_is_flagged(levels):
    """Over 200 random splits: inside the beta-binomial band in each (of 1 in 1,000), and right on average."""
    from pvae_zoo.runtime.model import Model

    model = Model(levels.bundle, "cpu", 1)
    evidence = measure(model, model.sample(400, seed=3))
    names = ("reconstruction_nats", "kl_nats", "codec_nats", "surprise_nats", "place_nats")

    def part(indices):
        chosen = {name: getattr(evidence, name)[indices] for name in names}
        return type(evidence)(**chosen, pooled=tuple(level[indices] for level in evidence.pooled))

    ranks, new = ranked_of(CALIBRATION), 400 - CALIBRATION
    draws = np.random.default_rng(0)
    # The share of m new images below the k-th of n ranked ones: Beta(k, n + 1 - k) drawn, then a binomial.
    k = int(RATE * (ranks + 1))
    band = np.quantile(draws.binomial(new, draws.beta(k, ranks + 1 - k, 200_000)), [0.0005, 0.9995]) / new
    shares = []
    for seed in range(SPLITS):
        order = np.random.default_rng(seed).permutation(400)
        parts = split(CALIBRATION, seed)
        reference = fit_reference(part(order[:CALIBRATION][parts.fitted]))

        def strange(indices, reference=reference):
            return reference.strangeness(reference.deviations(reference.scores(part(indices))))

        ranked = np.sort(strange(order[:CALIBRATION][parts.ranked]))
        shares.append(float((p_values(ranked, strange(order[CALIBRATION:])) <= RATE).mean()))
    inside = sum(band[0] <= share <= band[1] for share in shares)
    assert inside >= SPLITS - 2, (inside, np.mean(shares), band, sorted(shares)[:5], sorted(shares)[-5:])
    assert np.mean(shares) == pytest.approx(k / (ranks + 1), abs=0.01)


@pytest.mark.parametrize("rate", [0.5, 0.1, 0.05, 0.01, 0.001, 0.0333])
def test_how_many_images_a_rate_needs_is_just_enough(rate):
    ranks, images = ranks_needed(rate), images_needed(rate)
    assert 1 / (ranks + 1) <= rate * (1 + 1e-9) and 1 / ranks > rate
    assert ranked_of(images) >= ranks > ranked_of(images - 1) and fitted_of(images) + ranked_of(images) == images
    check_rate(ranks, rate)
    with pytest.raises(PvaeZooError, match=f"needs a calibration of {images} images, {ranks} of them ranked"):
        check_rate(ranks - 1, rate)


@pytest.mark.parametrize("seed", range(20))
def test_discoveries_are_those_of_benjamini_and_hochberg(seed):
    draws, ranked = np.random.default_rng(seed), 40
    p = np.concatenate([draws.integers(1, 42, 60), draws.integers(1, 3, 12)]) / (ranked + 1)
    seen = Discoveries(ranked)
    for value in p:
        seen.add(float(value))
    for rate in (0.05, 0.2, 0.5):
        inorder = np.sort(p)
        kept = [value for i, value in enumerate(inorder, start=1) if value <= rate * i / len(p) * (1 + 1e-12)]
        assert seen.threshold(rate) == (pytest.approx(kept[-1]) if kept else 0.0)


def test_how_many_must_be_as_strange_as_can_be_for_a_discovery():
    for count in range(1, 12):
        seen = Discoveries(99)
        for _ in range(count):
            seen.add(0.01)
        for _ in range(100 - count):
            seen.add(0.9)
        assert (seen.threshold(0.1) > 0) == (count >= seen.least(0.1) == 10)
