"""The graph that scores on a GPU computes what the graphs one by one do; its batches change nothing. All on the CPU."""

import warnings
from functools import partial

import numpy as np
import onnx
import pytest

from pvae_zoo.base.errors import PvaeZooWarning
from pvae_zoo.graphs.joined import scoring_graph, scoring_roles
from pvae_zoo.graphs.memory import bytes_a_row
from pvae_zoo.runtime import bounds, device_scoring, latents
from pvae_zoo.runtime.device_scoring import DeviceScorer
from pvae_zoo.runtime.failures import DeviceMemoryError
from pvae_zoo.runtime.networks import Networks
from pvae_zoo.runtime.sessions import CudaOptions, Placement, import_onnxruntime, open_session

FIELDS = ("reconstruction_nats", "kl_nats", "iwae_nll_nats", "log_prob", "kl_places")


def some_images(bundle, count, seed=0):
    image = bundle.config.image
    return np.random.default_rng(seed).integers(0, image.levels, (count, *image.chw), np.uint8)


def scorer_of(bundle, memory_bytes=None):
    return DeviceScorer(bundle.read_graph, bundle.config, "cpu", CudaOptions(memory_bytes=memory_bytes))


def scored(bundle, evaluate, images, samples, rows=64, workers=2):
    networks = Networks(bundle, "cpu", 1)
    return bounds.score_pieces(networks, images, evaluate, rows, samples=samples, seed=3, workers=workers)


def assert_alike(found, expected, atol=1e-4):
    for name in FIELDS:
        one, other = getattr(found, name), getattr(expected, name)
        assert (one is None) == (other is None), name
        if one is not None:
            np.testing.assert_allclose(one, other, atol=atol, rtol=0, err_msg=name)
    for one, other in zip(found.posteriors, expected.posteriors, strict=True):
        np.testing.assert_allclose(one.mean, other.mean, atol=1e-5)


class Small:
    """A session on a GPU whose memory does not hold more than so many draws; notes the shapes of its runs."""

    def __init__(self, session, most, runs):
        self._session, self._most, self._runs = session, most, runs

    def run(self, names, feed, options):
        self._runs.append((len(feed["image"]), len(feed["rows"])))
        if len(feed["rows"]) > self._most:
            raise import_onnxruntime().capi.onnxruntime_pybind11_state.RuntimeException(
                "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running Conv node. "
                "bfc_arena.cc:376 AllocateRawInternal Failed to allocate memory for requested buffer of size 4096"
            )
        return self._session.run(names, feed, options)


@pytest.fixture
def gpu(monkeypatch):
    """A function that pretends a GPU that holds so many draws; the runs on it as (images, draws), and its sessions."""
    runs, opened = [], []

    def pretend(most, batch=16):
        def open_small(*args):
            opened.append(args)
            return Small(open_session(*args), most, runs)

        monkeypatch.setattr(device_scoring, "open_session", open_small)
        monkeypatch.setattr(device_scoring, "placement", lambda session: Placement("cuda"))
        monkeypatch.setattr(device_scoring, "device_of", lambda session: "cuda")
        monkeypatch.setattr(device_scoring, "free_bytes", lambda number: None)
        monkeypatch.setattr(device_scoring, "DRAWS_AT_ONCE", batch)
        monkeypatch.setattr(device_scoring, "SMALL_DRAWS_AT_ONCE", batch)
        return runs, opened

    return pretend


def one_by_one(bundle):
    return partial(bounds.graph_by_graph, Networks(bundle, "cpu", 1))


@pytest.mark.parametrize("samples", [1, 3])
def test_one_graph_gives_the_figures_of_the_graphs_one_by_one(tiny, samples):
    images, scorer = some_images(tiny.bundle, 5), scorer_of(tiny.bundle)
    expected = scored(tiny.bundle, one_by_one(tiny.bundle), images, samples)
    assert_alike(scored(tiny.bundle, scorer.evaluate, images, samples), expected)


def test_float16_is_near(levels):
    images = some_images(levels.bundle, 5)
    half = Networks(levels.bundle, "cpu", 1, precision="float16")
    expected = scored(levels.bundle, one_by_one(levels.bundle), images, 2)
    found = scored(levels.bundle, half.device_scorer.evaluate, images, 2)
    assert_alike(found, scored(levels.bundle, partial(bounds.graph_by_graph, half), images, 2), atol=5e-3)
    assert 1e-6 < np.abs(found.nll_nats - expected.nll_nats).max() < 0.5


@pytest.mark.parametrize(("samples", "shapes"), [(1, {(8, 8)}), (3, {(2, 6)}), (20, {(1, 7)})])
def test_draws_are_the_same_in_any_batch_and_its_runs_have_one_shape(levels, gpu, samples, shapes):
    runs, opened = gpu(most=8, batch=8)
    images = some_images(levels.bundle, 11)
    networks = Networks(levels.bundle, "cpu", 1)
    noise = latents.posterior_noise(networks, 0, range(11), samples)
    found = scorer_of(levels.bundle).evaluate(images, noise, samples)
    expected = bounds.graph_by_graph(networks, images, noise, samples, lambda: None)
    for one, other in zip(found.z, expected.z, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    np.testing.assert_allclose(found.log_prob, expected.log_prob, atol=1e-4)
    np.testing.assert_allclose(found.priors[0].mean, expected.priors[0].mean, atol=1e-5)
    assert set(runs) == shapes and len(opened) == 1


def test_many_images_are_cut_so_that_two_threads_take_turns(gates, gpu):
    gpu(most=1024, batch=1024)
    scorer = scorer_of(gates.bundle)
    scorer.evaluate(some_images(gates.bundle, 1), [np.zeros((1, 3), np.float32)], 1)
    device_scoring.DRAWS_AT_ONCE = 256  # put back by the fixture
    found = [scorer.images_at_once(count, samples) for count, samples in [(100, 1), (1400, 1), (9000, 1), (100, 3)]]
    assert found == [256, 512, 1024, 64]
    assert scorer.images_at_once(9000, 3) == 256 and scorer.images_at_once(9, 5000) == 1


def test_few_images_are_not_filled_up_to_a_whole_batch(gates, gpu):
    runs, _ = gpu(most=64, batch=64)
    scorer = scorer_of(gates.bundle)
    for count in (64, 20, 3, 5, 1):
        scored(gates.bundle, scorer.evaluate, some_images(gates.bundle, count), 1)
    assert [images for images, _ in runs] == [64, 64, 4, 8, 4]


@pytest.mark.parametrize("samples", [1, 5])
def test_no_memory_left_halves_the_batch_and_is_said_once(levels, gpu, samples):
    images = some_images(levels.bundle, 9)
    expected = scored(levels.bundle, one_by_one(levels.bundle), images, samples)
    _, opened = gpu(most=2)
    scorer = scorer_of(levels.bundle)
    with pytest.warns(PvaeZooWarning) as said:
        found = scored(levels.bundle, scorer.evaluate, images, samples)
    text = f"no memory left on the GPU for {16 if samples == 1 else 10} draws at once: going on with smaller batches"
    assert [str(warning.message) for warning in said] == [text]
    assert_alike(found, expected)
    assert scorer.batch == 2 and len(opened) >= 3  # each time all memory is given back
    with warnings.catch_warnings(action="error"):
        assert_alike(scored(levels.bundle, scorer.evaluate, images, samples), expected)


def test_no_memory_for_a_single_draw_is_an_error_with_the_remedy(gates, gpu):
    gpu(most=0, batch=2)
    with (
        pytest.warns(PvaeZooWarning),
        pytest.raises(DeviceMemoryError, match="--device cuda: no memory left on the GPU"),
    ):
        scored(gates.bundle, scorer_of(gates.bundle).evaluate, some_images(gates.bundle, 3), 1)


def test_the_batch_is_what_the_memory_holds(levels, monkeypatch):
    parts = {role: onnx.load_from_string(levels.bundle.read_graph(role)) for role in scoring_roles(2)}
    a_row = bytes_a_row(scoring_graph(parts, 2))
    image = levels.bundle.config.image
    assert a_row > 4 * image.dimensions * image.logits_per_value
    assert scorer_of(levels.bundle, memory_bytes=2 * 40 * a_row).batch == 32
    assert scorer_of(levels.bundle, memory_bytes=1).batch == 1
    assert scorer_of(levels.bundle).batch == device_scoring.SMALL_DRAWS_AT_ONCE
    monkeypatch.setattr(device_scoring, "placement", lambda session: Placement("cuda"))
    monkeypatch.setattr(device_scoring, "free_bytes", lambda number: 2 * 70 * a_row)
    assert scorer_of(levels.bundle).batch == 64
    monkeypatch.setattr(device_scoring, "VALUES_AT_ONCE", 300 * image.dimensions)
    monkeypatch.setattr(device_scoring, "free_bytes", lambda number: 1 << 40)
    assert scorer_of(levels.bundle).batch == 256
