import json
import math
import threading
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.folder import Bundle
from pvae_zoo.export.reference import naive_sample
from pvae_zoo.models.likelihood import pixel_log_prob
from pvae_zoo.runtime import grid, noise
from pvae_zoo.runtime.sampler import PixelDraw, StepSampler
from pvae_zoo.runtime.sessions import open_session
from pvae_zoo.runtime.wavefront import step_count
from pvae_zoo.training.recipe import load_recipe, recipe_names


def run(tiny, role, *outputs, **inputs):
    return open_session(tiny.bundle.read_graph(role), "cpu").run(list(outputs), inputs)


def make_draw(tiny, count, *, seed=0, given=None, temperature=1.0):
    """Latents and what to draw for images 0, 1, ... of a seed."""
    config = tiny.bundle.config
    shape = config.latents[0].shape
    z1 = noise.normals(seed, range(count), 1, math.prod(shape)).reshape(count, *shape)
    u = noise.uniforms(seed, range(count), noise.PIXELS, config.image.dimensions).reshape(count, *config.image.chw)
    given = np.full(u.shape, -1, np.int64) if given is None else given
    return z1, PixelDraw(run(tiny, "decoder_context", "context", z1=z1)[0], u, given, temperature)


def same(drawn, other):
    """The same pixels; the logarithms of a binary model's probabilities may differ in their last bit."""
    np.testing.assert_allclose(drawn.log_prob, other.log_prob, rtol=1e-5, atol=1e-6)
    return np.array_equal(drawn.images, other.images)


@torch.no_grad()
def teacher_forced(tiny, images, z1):
    x = torch.from_numpy(images)
    return pixel_log_prob(tiny.model.decoder(x, torch.from_numpy(z1)), x, tiny.bundle.config.image).numpy()


def test_wavefront_raster_and_naive_sampling_draw_the_same_pixels(tiny):
    z1, what = make_draw(tiny, 6)
    steps = StepSampler(tiny.bundle)
    wavefront, raster = steps.draw(what), steps.draw(what, order="raster")
    naive = naive_sample(tiny.model, torch.from_numpy(z1), what.uniforms).numpy()
    assert wavefront.images.dtype == np.uint8 and len(np.unique(naive)) > 1
    assert np.array_equal(wavefront.images, raster.images)
    assert np.array_equal(wavefront.images, naive)
    np.testing.assert_allclose(wavefront.log_prob, raster.log_prob, rtol=1e-5, atol=1e-5)


def test_of_256_classes_the_one_that_the_uniform_falls_on_is_drawn(make_tiny):
    """Cumulative sums come in blocks of 16 classes; the ends of blocks are drawn as any other class."""
    tiny = make_tiny(image=(1, 4, 6, 256))
    z1, what = make_draw(tiny, 24)
    naive = naive_sample(tiny.model, torch.from_numpy(z1), what.uniforms).numpy()
    assert np.array_equal(StepSampler(tiny.bundle).draw(what).images, naive)
    assert {0, 15} <= set(naive.ravel() % 16)


def test_log_probabilities_of_a_draw_are_those_of_the_teacher_forced_graph_and_of_torch(tiny):
    z1, what = make_draw(tiny, 6)
    drawn = StepSampler(tiny.bundle).draw(what)
    whole = run(tiny, "decoder", "log_prob", image=drawn.images, context=what.context)[0]
    assert drawn.log_prob.std() > 0.2
    np.testing.assert_allclose(drawn.log_prob, whole, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(drawn.log_prob, teacher_forced(tiny, drawn.images, z1), rtol=1e-5, atol=1e-5)


def test_given_values_are_kept_and_the_others_drawn_around_them(tiny):
    random = np.random.default_rng(0)
    shape = (6, *tiny.bundle.config.image.chw)
    wanted = random.integers(tiny.bundle.config.image.levels, size=shape)
    keep = random.random(shape) < 0.4
    z1, what = make_draw(tiny, 6, given=np.where(keep, wanted, -1))
    drawn = StepSampler(tiny.bundle).draw(what)
    assert np.array_equal(drawn.images[keep], wanted[keep])
    free = ~keep
    assert not np.array_equal(drawn.images[free], StepSampler(tiny.bundle).draw(make_draw(tiny, 6)[1]).images[free])
    np.testing.assert_allclose(drawn.log_prob, teacher_forced(tiny, drawn.images, z1), rtol=1e-5, atol=1e-5)
    expected = inverse_cdf(tiny, drawn.images, z1, what.uniforms)
    assert np.array_equal(drawn.images[free], expected[free])


@torch.no_grad()
def inverse_cdf(tiny, images, z1, uniforms):
    """What the uniforms pick at every position, all other values being those of the image."""
    image = tiny.bundle.config.image
    logits = tiny.model.decoder(torch.from_numpy(images), torch.from_numpy(z1)).double()
    if image.levels == 2:
        return (uniforms < logits.sigmoid().numpy()).astype(np.uint8)
    cumulative = logits.unflatten(1, (image.channels, image.levels)).softmax(2).cumsum(2).numpy()[:, :, :-1]
    return (uniforms[:, :, None] >= cumulative).sum(2).astype(np.uint8)


def test_where_all_is_given_nothing_is_drawn(tiny):
    wanted = np.random.default_rng(1).integers(tiny.bundle.config.image.levels, size=(4, *tiny.bundle.config.image.chw))
    _, what = make_draw(tiny, 4, given=wanted)
    steps = StepSampler(tiny.bundle)
    scored = steps.draw(what)
    assert np.array_equal(scored.images, wanted)
    whole = run(tiny, "decoder", "log_prob", image=wanted.astype(np.uint8), context=what.context)[0]
    np.testing.assert_allclose(scored.log_prob, whole, rtol=1e-5, atol=1e-5)
    assert same(scored, steps.draw(PixelDraw(what.context, 1 - what.uniforms, what.given, 0.3)))


def test_rounding_never_draws_a_value_past_the_last(tiny):
    """The cumulative probability of the last value may round to less than the largest uniform."""
    z1, what = make_draw(tiny, 40)
    largest = np.full_like(what.uniforms, 1 - 2**-24)
    drawn = StepSampler(tiny.bundle).draw(PixelDraw(what.context, largest, what.given))
    assert drawn.images.max() < tiny.bundle.config.image.levels
    np.testing.assert_allclose(drawn.log_prob, teacher_forced(tiny, drawn.images, z1), rtol=1e-5, atol=1e-5)


def chi_square_limit(freedom):
    """The value that chi-square exceeds once in 10,000 (Wilson and Hilferty's approximation)."""
    return freedom * (1 - 2 / (9 * freedom) + 3.72 * math.sqrt(2 / (9 * freedom))) ** 3


@pytest.mark.parametrize("image", [(1, 2, 2, 2), (3, 1, 1, 4), (1, 1, 3, 3)], ids=["binary", "colour", "grey"])
def test_samples_have_the_probabilities_that_the_density_states(image, make_tiny):
    tiny, count = make_tiny(image=image, latents=1), 20_000
    channels, height, width, levels = image
    every = np.array(list(product(range(levels), repeat=channels * height * width)), np.uint8)
    z1 = np.full((1, 1), 0.7, np.float32)
    context = run(tiny, "decoder_context", "context", z1=z1)[0]
    log_prob = run(
        tiny, "decoder", "log_prob", image=every.reshape(-1, *image[:3]), context=np.repeat(context, len(every), 0)
    )[0]
    expected = count * np.exp(log_prob.reshape(len(every), -1).sum(1, dtype=np.float64))
    assert expected.sum() == pytest.approx(count, rel=1e-5)
    _, what = make_draw(tiny, count, seed=5)
    what = PixelDraw(np.repeat(context, count, 0), what.uniforms, what.given)
    drawn = StepSampler(tiny.bundle).draw(what).images.reshape(count, -1)
    index = drawn.astype(int) @ levels ** np.arange(drawn.shape[1])[::-1]
    observed = np.bincount(index, minlength=len(every))
    rare = expected < 5
    cells = [(observed[~rare], expected[~rare]), (observed[rare].sum(keepdims=True), expected[rare].sum(keepdims=True))]
    chi_square = sum(float(((o - e) ** 2 / np.maximum(e, 1e-9)).sum()) for o, e in cells if e.sum() > 5)
    assert (~rare).sum() > 5
    assert chi_square < chi_square_limit((~rare).sum() - 1 + (expected[rare].sum() > 5))


@pytest.mark.parametrize("temperature", [0.5, 1.7])
def test_a_temperature_divides_the_logits_but_not_those_of_the_score(tiny, temperature):
    z1, what = make_draw(tiny, 6, seed=3, temperature=temperature)
    drawn = StepSampler(tiny.bundle).draw(what)
    np.testing.assert_allclose(drawn.log_prob, teacher_forced(tiny, drawn.images, z1), rtol=1e-5, atol=1e-5)
    layer = tiny.model.decoder.pixelcnn.output
    state = {name: value.clone() for name, value in layer.state_dict().items()}
    try:
        with torch.no_grad():
            layer.weight.div_(temperature)
            layer.bias.div_(temperature)
        naive = naive_sample(tiny.model, torch.from_numpy(z1), what.uniforms).numpy()
    finally:
        layer.load_state_dict(state)
    assert np.array_equal(drawn.images, naive)
    assert not np.array_equal(drawn.images, StepSampler(tiny.bundle).draw(make_draw(tiny, 6)[1]).images)


@pytest.mark.parametrize(("temperature", "gap"), [(0.0, 1e-5), (1e-4, 0.01)])
@torch.no_grad()
def test_a_low_temperature_picks_the_likeliest_value(tiny, temperature, gap):
    """At 0 wherever float32 tells the two likeliest apart."""
    image = tiny.bundle.config.image
    z1, what = make_draw(tiny, 6, temperature=temperature)
    drawn = StepSampler(tiny.bundle).draw(what).images
    logits = tiny.model.decoder(torch.from_numpy(drawn), torch.from_numpy(z1))
    if image.levels == 2:
        logits = torch.stack([torch.zeros_like(logits), logits], 2)
    else:
        logits = logits.unflatten(1, (image.channels, image.levels))
    best = logits.topk(2, dim=2)
    clear = (best.values[:, :, 0] - best.values[:, :, 1]).numpy() > gap
    assert clear.mean() > 0.9
    assert np.array_equal(drawn[clear], best.indices[:, :, 0].numpy()[clear])


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 8, 64])
def test_neither_workers_nor_slices_change_a_pixel(tiny, monkeypatch, workers, size):
    _, what = make_draw(tiny, 11)
    expected = StepSampler(tiny.bundle).draw(what)
    monkeypatch.setattr(grid, "POSITIONS", size)
    assert same(StepSampler(tiny.bundle, workers=workers).draw(what), expected)


@pytest.mark.parametrize("levels", [2, 5])
def test_the_batch_changes_no_bit_of_a_step_where_widths_are_multiples_of_eight(make_tiny, levels):
    """onnxruntime computes Elu eight values at a time and the rest of a tensor by another formula."""
    groups = 1 if levels == 2 else 3
    tiny = make_tiny(image=(groups, 4, 4, levels), channels=8 * groups, head=8 * groups, embedding=1)
    config, random = tiny.bundle.config, np.random.default_rng(0)
    session = open_session(tiny.bundle.read_graph("decoder_step"), "cpu")
    feed = {
        "positions": random.permutation(np.arange(30, 170))[:21],
        "context_rows": random.integers(4, size=21),
        "uniforms": random.random((21, groups), np.float32),
        "given": np.full((21, groups), -1, np.int64),
    }
    shared = {
        "context": random.normal(size=(4, config.steps["decoder_step"].context.channels)).astype(np.float32),
        "temperature": np.ones(1, np.float32),
        **{
            spec.name: random.normal(size=(200, spec.channels)).astype(np.float32)
            for spec in config.steps["decoder_step"].canvases
        },
    }
    pixels, log_prob, *canvases = session.run(None, feed | shared)
    for start, stop in [(0, 1), (20, 21), (3, 6), (5, 12), (0, 20)]:
        part = session.run(None, {name: value[start:stop] for name, value in feed.items()} | shared)
        assert np.array_equal(part[0], pixels[start:stop])
        np.testing.assert_allclose(part[1], log_prob[start:stop], rtol=3e-7, atol=3e-7)  # exp and log
        for canvas, other in zip(canvases, part[2:], strict=True):
            rows = feed["positions"][start:stop]
            assert np.array_equal(canvas[rows], other[rows])


@pytest.mark.parametrize("name", recipe_names())
def test_the_recipes_have_widths_of_multiples_of_eight(name):
    model = load_recipe(name).model
    net, groups = model.decoder.pixelcnn, model.image.channels
    widths = [net.channels // groups, net.head // groups, *model.decoder.widths]
    widths += [model.encoder.stem, *model.encoder.widths]
    assert [width % 8 for width in widths] == [0] * len(widths)


@given(count=st.integers(1, 200), workers=st.integers(1, 5))
@settings(deadline=None)
def test_slices_share_the_batch_evenly(count, workers):
    unbound = grid.GridSampler.__new__(grid.GridSampler)
    unbound.workers, unbound.images_at_once = workers, 32
    parts = unbound.slices(count)
    sizes = [part.stop - part.start for part in parts]
    assert [i for part in parts for i in range(part.start, part.stop)] == list(range(count))
    assert max(sizes) <= 32 and max(sizes) - min(sizes) <= 1
    assert len(parts) >= min(count, workers)


def test_as_many_sessions_are_opened_as_there_are_slices(gates, monkeypatch):
    opened, open_session = [], grid.open_session
    monkeypatch.setattr(grid, "open_session", lambda *args: opened.append(1) or open_session(*args))
    steps = StepSampler(gates.bundle, workers=64)
    for count, sessions in [(1, 1), (1, 1), (3, 3), (2, 3)]:
        steps.draw(make_draw(gates, count)[1])
        assert len(opened) == sessions


@pytest.mark.parametrize("workers", [1, 3])
def test_progress_counts_every_step_of_every_slice(gates, workers, monkeypatch):
    monkeypatch.setattr(grid, "POSITIONS", 8)
    steps, seen = StepSampler(gates.bundle, workers=workers), []
    assert steps.grid.images_at_once == 4
    steps.draw(make_draw(gates, 11)[1], progress=lambda done, total: seen.append((done, total)))
    total = len(steps.grid.slices(11)) * step_count(7, 6, 3)
    assert seen == [(done, total) for done in range(1, total + 1)]


class Stop(BaseException):
    """As Ctrl-C: no `Exception`."""


@pytest.mark.parametrize("workers", [1, 3])
def test_an_interrupt_ends_the_draw_and_the_sampler_can_draw_again(gates, workers):
    steps, calls, lock = StepSampler(gates.bundle, workers=workers), [], threading.Lock()
    _, what = make_draw(gates, 60)

    def interrupt(done, total):
        with lock:
            calls.append(done)
        raise Stop

    with pytest.raises(Stop):
        steps.draw(what, progress=interrupt)
    assert len(calls) <= workers
    assert same(steps.draw(what), StepSampler(gates.bundle).draw(what))


def test_margins_and_the_spare_row_of_every_canvas_stay_zero(tiny, monkeypatch):
    bound = []

    class Recorder(grid._BoundSteps):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            bound.append(self)

    monkeypatch.setattr(grid, "_BoundSteps", Recorder)
    StepSampler(tiny.bundle).draw(make_draw(tiny, 2)[1])
    spec = tiny.bundle.config.steps["decoder_step"]
    g = spec.geometry
    canvases = bound[0].canvases
    assert len(canvases) == len(spec.canvases)
    for values in canvases:
        assert not values[-1].any()
        rows = values[:-1].reshape(2, g.top + spec.height, g.stride, -1)
        assert not rows[:, : g.top].any() and not rows[:, :, : g.left].any()
        assert rows[:, g.top :, g.left :].any(axis=-1).all()


def test_a_config_that_disagrees_with_its_graph_is_refused(gates, copy_bundle):
    folder = copy_bundle(gates.bundle)
    config = json.loads((folder / "config.json").read_text())
    config["steps"]["decoder_step"]["geometry"]["slope"] -= 1
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(PvaeZooError, match=r"config\.json and decoder_step\.onnx disagree"):
        StepSampler(Bundle(folder))
