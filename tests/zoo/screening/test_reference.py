"""What calibration images are like, on numbers that can be seen through."""

from dataclasses import replace

import numpy as np
import pytest

from pvae_zoo.screening.evidence import Evidence
from pvae_zoo.screening.neighbours import NEAREST, fit_neighbours
from pvae_zoo.screening.reference import CODEC, DISTANCE, RATIO, STRANGEST, Reference, fit_reference, score_names
from pvae_zoo.screening.regions import window_means, window_side, worst_means, worst_regions
from pvae_zoo.screening.robust import shrunk_covariance


def evidence(count, seed=0):
    draws = np.random.default_rng(seed)
    return Evidence(
        reconstruction_nats=draws.gamma(50, 2, count),
        kl_nats=draws.gamma(20, 0.5, (count, 2)),
        codec_nats=draws.gamma(80, 2, count),
        surprise_nats=draws.gamma(1, 1, (count, 12, 9)).astype(np.float32),
        place_nats=draws.gamma(1, 1, (count, 6, 5)),
        pooled=(draws.normal(size=(count, 3)), draws.normal(size=(count, 5))),
    )


def test_the_covariance_is_that_of_ledoit_and_wolf():
    covariance = pytest.importorskip("sklearn.covariance")
    x = np.random.default_rng(0).normal(size=(40, 12)) @ np.random.default_rng(1).normal(size=(12, 12))
    wanted, _ = covariance.ledoit_wolf(x - x.mean(axis=0), assume_centered=True)
    np.testing.assert_allclose(shrunk_covariance(x - x.mean(axis=0)), wanted, rtol=1e-9)


def test_a_level_that_says_nothing_has_distances_all_the_same():
    assert np.isfinite(fit_neighbours(np.zeros((30, 4))).distances(np.zeros((2, 4)))).all()


def test_the_distance_is_to_the_nearest_of_several_heaps():
    draws = np.random.default_rng(0)
    heaps = np.concatenate([draws.normal(size=(60, 2)) * 0.1 + centre for centre in ([-3, 1], [3, 1], [0, -2])])
    known = fit_neighbours(heaps)
    near, between = known.distances(np.array([[-3.0, 1.0], [0.0, 0.0]]))
    assert between > 30 * near
    gap = known.points[:, np.newaxis] - known.points
    squared = np.sort(np.einsum("nmi,ij,nmj->nm", gap, known.precision, gap), axis=1)
    found = known.distances(known.points, themselves=True)
    np.testing.assert_allclose(found, squared[:, 1 : 1 + NEAREST].mean(axis=1), rtol=1e-6, atol=1e-12)


def test_the_worst_region_is_the_window_with_the_largest_mean():
    values = np.random.default_rng(0).random((3, 12, 9))
    values[1, 4:7, 5:8] += 5
    side = window_side(12, 9)
    by_hand = [[values[1, y : y + side, x : x + side].mean() for x in range(10 - side)] for y in range(13 - side)]
    np.testing.assert_allclose(window_means(values, side)[1], by_hand)
    assert worst_means(values)[1] == pytest.approx(np.max(by_hand))
    worst = worst_regions(values, np.zeros((3, 0, 0)))[1]
    assert (worst.top, worst.left, worst.side) == (4, 5, 3) and worst.mean == pytest.approx(np.max(by_hand))
    places = np.ones((3, 4, 3))
    places[:, 3, 0] = 1e9  # rows 9 to 11, columns 0 to 2
    found = worst_regions(np.ones((3, 12, 9)), places)
    assert [(region.top, region.left) for region in found] == [(9, 0)] * 3


def test_the_framed_region_stands_out_from_what_is_around_it():
    cost = np.random.default_rng(0).random((1, 32, 32))
    cost[0, :, 16:] *= 8  # grass
    cost[0, 5:9, 3:7] = 9  # a scratch on the wall: its window costs less than one of grass
    region = worst_regions(cost, np.zeros((1, 0, 0)))[0]
    assert abs(region.top + region.side / 2 - 7) < 4 and abs(region.left + region.side / 2 - 5) < 4


def test_three_voices_are_added_up():
    known = evidence(200)
    reference = fit_reference(known)
    names = score_names(2)
    assert reference.names == names and reference.scores(known).shape == (200, len(names))
    deviations = np.ones((1, len(names)))
    shares = dict(zip(names, reference.shares(deviations)[0], strict=True))
    assert (shares[DISTANCE], shares[RATIO]) == (1, 0.5) and sum(shares.values()) == pytest.approx(2)
    without = dict(zip(names, reference.shares(deviations, codec=False)[0], strict=True))
    assert without[RATIO] == without[CODEC] == 0 and sum(without.values()) == pytest.approx(1.5)
    assert reference.shares(-deviations)[0].sum() == pytest.approx(2 - 1 - shares["distance z2"])  # near is not strange


def test_both_sides_are_strange_and_so_is_what_is_no_number():
    known = evidence(200)
    reference = fit_reference(known)
    scores = np.exp(np.tile(reference.middle, (4, 1)))
    column = reference.names.index("reconstruction")
    scores[1, column] *= 30
    scores[2, column] /= 30
    scores[3, column] = np.nan
    found = reference.strangeness(reference.deviations(scores))
    assert found[0] == pytest.approx(0, abs=1e-9) and found[1] == pytest.approx(found[2]) and found[1] > 2
    assert found[3] == STRANGEST


def test_a_few_odd_calibration_images_do_not_move_the_middle():
    known = evidence(200)
    odd = replace(known, reconstruction_nats=known.reconstruction_nats.copy())
    odd.reconstruction_nats[:10] = 1e6
    clean, soiled = fit_reference(known), fit_reference(odd)
    assert isinstance(clean, Reference)
    np.testing.assert_allclose(soiled.middle, clean.middle, atol=0.05)
    np.testing.assert_allclose(soiled.width, clean.width, rtol=0.2)
