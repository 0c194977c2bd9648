"""Steps that a device takes by itself, on the CPU: tables and a cursor in the place of inputs for each step."""

import math

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvae_zoo.contract.config import CanvasSpec, ContextSpec, Geometry, StepSpec
from pvae_zoo.graphs.step_tables import CURSOR, next_of, table_of, with_tables
from pvae_zoo.runtime import captures, device_steps, networks, noise
from pvae_zoo.runtime.device_steps import SIZES
from pvae_zoo.runtime.grid import GridDraw, GridSampler, uncaptured
from pvae_zoo.runtime.latents import prior_noise
from pvae_zoo.runtime.networks import Networks
from pvae_zoo.runtime.plan import Plan
from pvae_zoo.runtime.sampler import PixelDraw, StepSampler
from pvae_zoo.runtime.sessions import CUDA, open_session
from pvae_zoo.runtime.wavefront import canvas_rows
from pvae_zoo.sources.registry import open_bundle


def pixel_draw(bundle, count, first=0, temperature=1.0):
    """What to draw for images of a seed, a third of their values given."""
    graphs, image = Networks(bundle, "cpu", 1), bundle.config.image
    shape, indices = graphs.latent_shape(1), range(first, first + count)
    z1 = noise.normals(0, indices, 1, math.prod(shape)).reshape(count, *shape)
    u = noise.uniforms(0, indices, noise.PIXELS, image.dimensions).reshape(count, *image.chw)
    given = np.where(u * 7 % 1 < 1 / 3, (u * 31 % 1 * image.levels).astype(np.int64), -1)
    return PixelDraw(graphs._context("decoder_context", "z1", z1), u, given, temperature)


def z1_draw(bundle, count, fixed=False):
    graphs = Networks(bundle, "cpu", 1)
    eps = [
        noise.normals(0, range(count), level + 1, math.prod(shape)).reshape(count, *shape)
        for level, shape in enumerate(map(graphs.latent_shape, (1, 2)))
    ]
    known = np.where(np.abs(eps[0]) < 0.4, np.float32(1.5), np.float32(np.nan)) if fixed else None
    return GridDraw(graphs._context("prior_context", "z2", eps[1]), {"noise": eps[0]}, {}, known)


def test_contexts_are_computed_where_steps_read_them(tiny, monkeypatch):
    plain, on_device = Networks(tiny.bundle, "cpu", 1), Networks(tiny.bundle, "cpu", 1)
    on_device.provider = CUDA  # what follows is the CPU's, by the way of a GPU
    monkeypatch.setitem(networks.SCORE_BATCH, CUDA, 2)  # three runs, each at a place of its own
    on_device.pixel_sampler = StepSampler(tiny.bundle, strategy="tables")
    if plain.levels > 1:
        on_device.prior_sampler = GridSampler(tiny.bundle, "prior_step", strategy="tables")
    for first in (0, 5):  # the memory of the first draw is used again
        what = pixel_draw(tiny.bundle, 5, first)
        eps = prior_noise(plain, 0, range(first, first + 5))
        z1, drawn = plain.draw_z1(eps), on_device.draw_z1(eps)
        np.testing.assert_allclose(drawn, z1, atol=1e-5)
        expected, drawn = (of.draw_pixels(z1, what.uniforms, what.given, 1.0) for of in (plain, on_device))
        assert np.array_equal(drawn.images, expected.images)


def test_tables_draw_what_bound_steps_draw_for_any_number_of_images_one_after_the_other(tiny):
    by_tables, bound = StepSampler(tiny.bundle, strategy="tables"), StepSampler(tiny.bundle)
    draws = [(1, "wavefront", 0), (5, "wavefront", 0), (5, "wavefront", 9), (3, "raster", 0), (3, "wavefront", 2)]
    for count, order, first in draws:
        what, steps = pixel_draw(tiny.bundle, count, first, temperature=0.8), []
        context = what.context.copy()
        expected = bound.draw(what, order=order)
        drawn = by_tables.draw(what, order=order, progress=lambda *at, steps=steps: steps.append(at))
        by_tables.draw(pixel_draw(tiny.bundle, count, 50), order=order)
        assert np.array_equal(what.context, context)  # the memory of a draw is not its caller's
        total = by_tables.steps(count, order)
        assert steps == [(done, total) for done in range(1, total + 1)]
        assert np.array_equal(drawn.images, expected.images)
        # The last bit of a logarithm depends on how many rows there are (`test_sampler.py`), and filler is rows.
        np.testing.assert_allclose(drawn.log_prob, expected.log_prob, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("order", ["wavefront", "raster"])
def test_tables_draw_the_z1_of_bound_steps_around_values_that_are_known(levels, fixed, order):
    by_tables, bound = (GridSampler(levels.bundle, "prior_step", strategy=how) for how in ("tables", "bound"))
    free = bound.draw(z1_draw(levels.bundle, 3), order=order)["z1"]
    for count in (3, 1):
        what = z1_draw(levels.bundle, count, fixed)
        expected, drawn = bound.draw(what, order=order)["z1"], by_tables.draw(what, order=order)["z1"]
        np.testing.assert_allclose(drawn, expected, rtol=1e-5, atol=1e-6)
        if fixed:
            known = ~np.isnan(what.fixed)
            assert np.array_equal(drawn[known], what.fixed[known])
            assert not np.allclose(drawn[~known], free[:count][~known], atol=1e-3)


def test_real_models_draw_the_same_bits():
    """All widths of theirs are multiples of 8, so that filler changes no bit of what is drawn."""
    mnist, lsun = open_bundle("mnist"), open_bundle("lsun")
    what = pixel_draw(mnist, 3)
    drawn, expected = (StepSampler(mnist, strategy=how).draw(what) for how in ("tables", "bound"))
    assert np.array_equal(drawn.images, expected.images)
    np.testing.assert_allclose(drawn.log_prob, expected.log_prob, rtol=3e-7, atol=3e-7)
    what = z1_draw(lsun, 3, fixed=True)
    by_tables, bound = (GridSampler(lsun, "prior_step", strategy=how).draw(what) for how in ("tables", "bound"))
    assert np.array_equal(by_tables["z1"], bound["z1"])


class Capturing:
    """A session that does what onnxruntime does when it captures: the first run under a number is three."""

    def __init__(self, session):
        self.session, self.numbers, self.interrupts_at = session, {}, None

    def __getattr__(self, name):
        return getattr(self.session, name)

    def run_with_iobinding(self, binding, options):
        number = options.get_run_config_entry("gpu_graph_id")
        runs = 1 if number in self.numbers else 3
        assert self.numbers.setdefault(number, binding) is binding  # replays write where the first run wrote
        if len(self.numbers) == self.interrupts_at:
            self.interrupts_at = None
            raise KeyboardInterrupt
        for _ in range(runs):
            self.session.run_with_iobinding(binding, options)


@pytest.fixture
def capturing(monkeypatch):
    """Sessions as on a GPU that captures; those that were opened."""
    opened = []

    def opening(model, device):
        opened.append(Capturing(open_session(model, device)))
        return opened[-1], None

    monkeypatch.setattr(device_steps, "open_capturing", opening)
    return opened


def test_capturing_changes_no_pixel(tiny, capturing):
    by_tables, bound = StepSampler(tiny.bundle, strategy="tables"), StepSampler(tiny.bundle)
    for count, first in ((3, 0), (3, 4), (1, 0), (3, 0)):
        what = pixel_draw(tiny.bundle, count, first)
        assert np.array_equal(by_tables.draw(what).images, bound.draw(what).images)
    (session,) = capturing
    sizes = {step.stop - step.start for step in Plan(by_tables.grid.spec, 1, sizes=SIZES).steps}
    assert len(session.numbers) == 3 * len(sizes)  # the second draw replays what the first one captured


def test_a_session_that_captured_much_is_opened_anew(gates, capturing, monkeypatch):
    monkeypatch.setattr(device_steps, "CAPTURES", 2 * SIZES)
    by_tables, bound = StepSampler(gates.bundle, strategy="tables"), StepSampler(gates.bundle)
    for count in (1, 2, 3, 1, 2):
        what = pixel_draw(gates.bundle, count)
        assert np.array_equal(by_tables.draw(what).images, bound.draw(what).images)
    assert len(capturing) == 3


def test_a_step_that_does_not_advance_may_be_repeated(tiny):
    grid = GridSampler(tiny.bundle, "decoder_step", strategy="tables")
    pixels = pixel_draw(tiny.bundle, 2)
    values, constants = {"uniforms": pixels.uniforms, "given": pixels.given}, {"temperature": np.ones(1, np.float32)}
    steps, what = grid._open_tables(False), GridDraw(pixels.context, values, constants)
    draw = steps._prepared(what, "wavefront")
    middle = len(draw.plan.steps) // 2
    seen = []
    for step in draw.plan.steps[: middle + 1]:
        size = draw.sizes[step.stop - step.start]
        if step is draw.plan.steps[middle]:
            size.advance.update_inplace(np.zeros(1, np.int64))
            for _ in range(3):
                draw.session.run_with_iobinding(size.binding)
                seen.append({name: draw.values[name].numpy().tobytes() for name in draw.written})
        else:
            draw.session.run_with_iobinding(size.binding)
    assert seen[0] == seen[1] == seen[2]
    assert draw.values[CURSOR].numpy()[0] == draw.plan.steps[middle].start


def test_an_interrupted_draw_leaves_the_next_one_right(gates):
    by_tables, what, calls = StepSampler(gates.bundle, strategy="tables"), pixel_draw(gates.bundle, 4), []

    def interrupt(done, total):
        calls.append((done, total))
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        by_tables.draw(what, progress=interrupt)
    assert calls == [(done, by_tables.steps(4)) for done in range(1, 6)]
    assert np.array_equal(by_tables.draw(what).images, StepSampler(gates.bundle).draw(what).images)


def test_an_interrupted_capture_leaves_the_next_draw_right(gates, capturing):
    by_tables, what = StepSampler(gates.bundle, strategy="tables"), pixel_draw(gates.bundle, 2)
    (session,) = capturing
    session.interrupts_at = 2
    with pytest.raises(KeyboardInterrupt):
        by_tables.draw(what)
    assert np.array_equal(by_tables.draw(what).images, StepSampler(gates.bundle).draw(what).images)


def test_what_a_step_writes_no_later_node_reads(tiny):
    """By its place in the graph: the cursor is read before it is written, and what is drawn is only written."""
    graph = onnx.load_model_from_string(with_tables(tiny.bundle.read_graph("decoder_step"))).graph
    readers = {name: [node for node in graph.node if name in node.input] for name in (CURSOR, "pixels", "log_prob")}
    (read,) = readers[CURSOR]
    needed, queue = set(), [next_of(CURSOR)]
    while queue:
        name = queue.pop()
        for node in (node for node in graph.node if name in node.output):
            needed.add(node.output[0])
            queue += node.input
    assert read.output[0] in needed
    for drawn in ("pixels", "log_prob"):
        (written,) = [node for node in graph.node if table_of(drawn) in node.input]
        assert written.op_type == "ScatterND" and written.output[0] == next_of(table_of(drawn))


sizes = st.integers(1, 11)


@given(height=sizes, width=sizes, reach=st.integers(1, 4), count=st.integers(1, 3), most=st.integers(1, 4))
@settings(deadline=None, max_examples=40)
def test_filler_stands_behind_the_positions_of_a_step_at_the_spare_row(height, width, reach, count, most):
    stride = width + reach
    geometry = Geometry(top=1, left=reach, stride=stride, rows_per_image=(1 + height) * stride, slope=reach + 1)
    spec = StepSpec(
        height=height, width=width, channels=2, context=ContextSpec(rows=height * width, channels=1),
        geometry=geometry, canvases=(CanvasSpec(name="canvas", channels=2),), macs=1,
    )  # fmt: skip
    plain, filled = Plan(spec, count), Plan(spec, count, sizes=most)
    lengths = {step.stop - step.start for step in filled.steps}
    assert len(lengths) <= most and max(lengths) == max(step.stop - step.start for step in plain.steps)
    values = np.random.default_rng(0).random((count, 2, height, width)) + 1
    taken = filled.taken(values)
    for few, many in zip(plain.steps, filled.steps, strict=True):
        real = few.stop - few.start
        for name in ("positions", "context_rows"):
            assert np.array_equal(filled.rows[name][many][:real], plain.rows[name][few])
        assert (filled.rows["positions"][many][real:] == canvas_rows(geometry, count) - 1).all()
        assert not filled.rows["context_rows"][many][real:].any() and not taken[many][real:].any()
    assert np.array_equal(filled.placed(taken), values)


@pytest.mark.parametrize(("name", "role", "share"), [
    ("mnist", "decoder_step", 0.05), ("lsun", "decoder_step", 0.11), ("lsun", "prior_step", 0.09)
])  # fmt: skip
def test_as_few_rows_are_filler_as_is_said(name, role, share):
    spec = open_bundle(name).config.steps[role]
    rows = Plan(spec, 1, sizes=SIZES).steps[-1].stop
    assert round(1 - spec.height * spec.width / rows, 2) == share


class _OnCuda:
    def get_providers(self):
        return [CUDA]


def test_a_session_that_cannot_capture_is_opened_without_and_says_why(gates, monkeypatch):
    refusal = "This session cannot use the graph capture feature as requested by the user as the model has control flow"

    def refusing(model, device, cuda=None):
        if cuda is not None:
            raise RuntimeError(f"[ONNXRuntimeError] : 1 : FAIL : {refusal}")
        return _OnCuda()

    monkeypatch.setattr(captures, "certain_provider", lambda device: None)
    monkeypatch.setattr(captures, "open_session", refusing)
    model = gates.bundle.read_graph("decoder_step")
    assert captures.open_capturing(model, "cuda")[1] == refusal
    monkeypatch.setattr(captures, "CAPTURES_FROM", (99, 0))
    assert "is older than 99.0" in captures.open_capturing(model, "cuda")[1]


def test_the_cpu_captures_nothing(levels):
    assert uncaptured(levels.bundle, "cpu") in {"decoder_step: the CPU has none", "prior_step: the CPU has none"}
