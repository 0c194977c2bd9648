"""Scoring on CUDA: the figures of the CPU, in any batch and with any number of draws. These need a GPU."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from pvae_zoo.base.errors import PvaeZooWarning
from pvae_zoo.base.nvidia import free_bytes
from pvae_zoo.runtime.model import Model
from pvae_zoo.runtime.sessions import CudaOptions
from pvae_zoo.sources.registry import open_bundle

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module", params=["mnist", "lsun"])
def bundle(request):
    return open_bundle(request.param)


@pytest.fixture(scope="module")
def images(bundle):
    return Model(bundle, "cpu").sample(9, seed=5)


@pytest.mark.parametrize("samples", [1, 3])
def test_the_graph_that_scores_gives_the_figures_of_the_cpu(bundle, images, samples):
    on_cpu, on_cuda = (Model(bundle, device).nll(images, samples=samples, seed=2) for device in ("cpu", "cuda"))
    for name in ("nll_nats", "kl_nats", "iwae_nll_nats"):
        expected, found = getattr(on_cpu, name), getattr(on_cuda, name)
        assert (expected is None) == (found is None)
        if expected is not None:
            np.testing.assert_allclose(found, expected, atol=5e-3, rtol=1e-6, err_msg=name)


def test_figures_do_not_depend_on_the_batch_beyond_rounding(bundle, images):
    model = Model(bundle, "cuda")
    whole = model.nll(images, samples=40).nll_nats  # of lsun in several runs
    one = [model.nll(images[i : i + 1], samples=40).nll_nats[0] for i in range(3)]
    np.testing.assert_allclose(one, whole[:3], atol=5e-3, rtol=1e-6)


def test_the_memory_that_is_free_is_known():
    assert 1 << 28 < free_bytes(0) <= torch.cuda.get_device_properties(0).total_memory


@pytest.mark.parametrize("search", ["HEURISTIC", "EXHAUSTIVE"])
def test_little_memory_makes_the_batch_smaller_and_changes_no_figure(bundle, images, search):
    expected = Model(bundle, "cuda").nll(images).nll_nats
    model = Model(bundle, "cuda", cuda=CudaOptions(memory_bytes=1 << 30, search=search))
    np.testing.assert_allclose(model.nll(images).nll_nats, expected, atol=5e-3, rtol=1e-6)


def test_no_memory_left_halves_the_batch_is_said_once_and_loses_nothing(images, bundle):
    if bundle.name != "lsun":
        pytest.skip("digits take too little")
    expected = Model(bundle, "cuda").nll(images, samples=20).nll_nats
    model = Model(bundle, "cuda", cuda=CudaOptions(memory_bytes=1 << 30))
    scorer = model.networks.device_scorer
    assert scorer.batch < 64
    scorer._batch = 256  # as if the shapes had promised it: no GiB holds that many
    with pytest.warns(PvaeZooWarning, match="no memory left on the GPU for") as said:
        found = model.nll(images, samples=20).nll_nats
    assert len(said) == 1 and scorer.batch < 256
    np.testing.assert_allclose(found, expected, atol=5e-3, rtol=1e-6)
    with warnings.catch_warnings(action="error"):
        model.nll(images[:2], samples=20)


@pytest.mark.parametrize("precision", ["tf32", "float16"])
def test_another_precision_is_near_and_is_not_the_same(bundle, images, precision):
    model = Model(bundle, "cuda")
    usual, other = (model.nll(images, precision=name).bits_per_dim for name in ("float32", precision))
    assert 0 < np.abs(other - usual).max() < 0.02
    assert model.networks.cuda == replace(CudaOptions(), tf32=False)  # it is of that precision alone
