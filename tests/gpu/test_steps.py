"""Steps that a GPU takes by itself, as CUDA graphs and without. These need a GPU."""

import numpy as np
import pytest

import pvae_zoo
from pvae_zoo.graphs.step_tables import next_of
from pvae_zoo.runtime import device_steps
from pvae_zoo.runtime.device_steps import SIZES
from pvae_zoo.runtime.grid import uncaptured
from pvae_zoo.runtime.sampler import PixelDraw, StepSampler
from pvae_zoo.runtime.sessions import CUDA, active_provider, open_session
from pvae_zoo.sources.registry import model_names, open_bundle

pytestmark = pytest.mark.gpu


@pytest.fixture
def uncapturing(monkeypatch):
    """Sessions on CUDA that capture nothing."""
    monkeypatch.setattr(
        device_steps, "open_capturing", lambda model, device: (open_session(model, device), "of this test")
    )


def mnist_draw(count, first=0):
    """Context, uniforms and what is given of so many digits, from the CPU."""
    model, random = pvae_zoo.load("mnist", device="cpu"), np.random.default_rng(first)
    z1 = random.normal(size=(count, *model.networks.latent_shape(1))).astype(np.float32)
    uniforms = random.random((count, 1, 28, 28), np.float32)
    given = np.where(random.random(uniforms.shape) < 0.2, 0, -1)
    return PixelDraw(model.networks._context("decoder_context", "z1", z1), uniforms, given)


@pytest.mark.parametrize("name", model_names())
def test_the_steps_of_shipped_models_are_captured(name):
    assert uncaptured(open_bundle(name), "cuda") is None


def test_graphs_draw_what_their_steps_draw_for_one_number_of_images_after_another(uncapturing, monkeypatch):
    bundle = open_bundle("mnist")
    plain = StepSampler(bundle, "cuda")
    assert plain.grid.uncaptured == "of this test"
    monkeypatch.undo()
    graphs = StepSampler(bundle, "cuda")
    assert graphs.grid.uncaptured is None
    draws = [
        (16, "wavefront"),
        (16, "wavefront"),
        (1, "wavefront"),
        (5, "raster"),
        (64, "wavefront"),
        (16, "wavefront"),
    ]
    for first, (count, order) in enumerate(draws):
        what = mnist_draw(count, first)
        expected, drawn = plain.draw(what, order=order), graphs.draw(what, order=order)
        assert np.array_equal(drawn.images, expected.images)
        np.testing.assert_allclose(drawn.log_prob, expected.log_prob, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["mnist", "lsun"])
def test_graphs_draw_the_images_of_the_cpu(name):
    """Where a uniform stands within rounding of a threshold, a pixel falls to the other side, and the rest follows."""
    on_cpu, on_cuda = pvae_zoo.load(name, device="cpu"), pvae_zoo.load(name, device="cuda")
    count = 32 if name == "mnist" else 4
    images, drawn = on_cpu.sample(count, seed=2), on_cuda.sample(count, seed=2)
    assert (drawn[:, :, :4] == images[:, :, :4]).mean() > 0.9
    if name == "mnist":
        assert (drawn == images).all(axis=(1, 2, 3)).mean() > 0.85
    assert np.array_equal(on_cuda.sample(count, seed=2), drawn)


def test_sessions_that_captured_much_are_opened_anew(monkeypatch):
    monkeypatch.setattr(device_steps, "CAPTURES", 2 * SIZES)
    sampler = StepSampler(open_bundle("mnist"), "cuda")
    first, seen = sampler.grid._open_tables(False).session, {}
    for count in (1, 2, 3, 1, 2, 3):
        drawn = sampler.draw(mnist_draw(count)).images
        assert np.array_equal(seen.setdefault(count, drawn), drawn)
    assert sampler.grid._open_tables(False).session is not first


def test_all_of_a_step_lies_on_the_device_and_is_written_in_place():
    sampler = StepSampler(open_bundle("mnist"), "cuda")
    sampler.draw(mnist_draw(2))
    steps = sampler.grid._open_tables(False)
    _, draw = steps._kept
    assert active_provider(steps.session) == CUDA
    names = [output.name for output in steps.session.get_outputs()]
    for size in draw.sizes.values():
        outputs = dict(zip(names, size.binding.get_outputs(), strict=False))
        bound = {value.data_ptr() for value in outputs.values()}
        assert bound == {draw.values[name].data_ptr() for name in draw.written}
        assert {value.device_name() for value in outputs.values()} == {"cuda"}
    assert {next_of(name) for name in draw.written} == set(names)
    before = {name: value.data_ptr() for name, value in draw.values.items()}
    sampler.draw(mnist_draw(2, 1))
    assert {name: value.data_ptr() for name, value in steps._kept[1].values.items()} == before


def test_an_interrupted_draw_leaves_the_next_one_right():
    sampler, what = StepSampler(open_bundle("mnist"), "cuda"), mnist_draw(8)
    expected = sampler.draw(what).images

    def interrupt(done, total):
        if done == 21:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sampler.draw(what, progress=interrupt)
    assert np.array_equal(sampler.draw(what).images, expected)
