"""Drawing all pixels at once until none changes gives the images of the wavefront, in any batch, of any precision."""

import logging
from itertools import pairwise

import numpy as np
import onnx
import pytest

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.folder import Bundle
from pvae_zoo.conversion.convert import convert
from pvae_zoo.export.bundle import halved, write_bundle
from pvae_zoo.graphs import fixed_point as graphs
from pvae_zoo.graphs.builder import GraphBuilder
from pvae_zoo.runtime import fixed_point, latents, noise
from pvae_zoo.runtime.fixed_point import FixedPointSampler
from pvae_zoo.runtime.model import Model
from pvae_zoo.runtime.networks import ROWS, Networks
from pvae_zoo.runtime.sampler import PixelDraw
from pvae_zoo.runtime.sessions import open_session
from pvae_zoo.sources.registry import model_names, open_bundle


def what_to_draw(networks, count, given=None, temperature=1.0):
    """z1 and the arguments of a draw for images 0, 1, ... of seed 0."""
    image = networks.config.image
    z1 = networks.draw_z1(latents.prior_noise(networks, 0, range(count)))
    u = noise.uniforms(0, range(count), noise.PIXELS, image.dimensions).reshape(count, *image.chw)
    return z1, u, np.full(u.shape, -1, np.int64) if given is None else given, temperature


def settled(networks, z1, uniforms, given, temperature):
    """What the sampler gives, passes included."""
    context = networks._context("decoder_context", "z1", z1)
    return networks.fixed_point_sampler.draw(PixelDraw(context, uniforms, given, temperature))


@pytest.mark.parametrize("temperature", [0.0, 1.0, 2.0])
def test_a_fixed_point_is_the_image_of_the_wavefront(tiny, temperature):
    networks = Networks(tiny.bundle, "cpu", 1)
    what = what_to_draw(networks, 6, temperature=temperature)
    found = settled(networks, *what)
    assert found.images.dtype == np.uint8 and found.images.any()
    assert np.array_equal(found.images, networks.draw_pixels(*what).images)
    assert 1 < max(found.passes) <= tiny.bundle.config.image.dimensions + 1


def test_given_values_are_kept_and_the_others_drawn_around_them(tiny):
    networks, image = Networks(tiny.bundle, "cpu", 1), tiny.bundle.config.image
    random = np.random.default_rng(0)
    wanted = random.integers(image.levels, size=(6, *image.chw))
    keep = random.random(wanted.shape) < 0.4
    what = what_to_draw(networks, 6, given=np.where(keep, wanted, -1))
    found = settled(networks, *what)
    assert np.array_equal(found.images[keep], wanted[keep])
    assert np.array_equal(found.images, networks.draw_pixels(*what).images)
    assert max(found.passes) <= (~keep).reshape(6, -1).sum(axis=1).max() + 1
    assert settled(networks, *what_to_draw(networks, 6, given=wanted)).passes == (1,)


def test_neither_batch_nor_workers_change_a_pixel(make_tiny, monkeypatch):
    """8 x 8 images are whole registers, and their batches shrink; 7 x 6 ones are filled up."""
    for image in [(1, 8, 8, 2), (3, 7, 6, 5)]:
        model = Model(make_tiny(image=image, latents=3).bundle, "cpu", threads=1)
        expected = model.sample(21, seed=4, order="fixed-point")
        assert np.array_equal(expected, model.sample(21, seed=4))
        monkeypatch.setattr(fixed_point, "AT_ONCE", {"cpu": 16 * 384})
        other = Model(model.bundle, "cpu", threads=2)
        assert other.networks.fixed_point_sampler.images_at_once < 21
        assert np.array_equal(other.sample(21, seed=4, order="fixed-point"), expected)
        cut = other.sample(16, seed=4, first=5, batch_size=3, order="fixed-point")
        assert np.array_equal(cut, expected[5:])
        monkeypatch.undo()


def test_images_that_have_settled_are_left_out(make_tiny, monkeypatch):
    sizes, passes = [], fixed_point._Passes

    class Recorder(passes):
        def __init__(self, session, rows, *others):
            sizes.append(rows)
            super().__init__(session, rows, *others)

    monkeypatch.setattr(fixed_point, "_Passes", Recorder)
    model = Model(make_tiny(image=(1, 8, 8, 2), latents=3).bundle, "cpu", threads=1)
    model.sample(21, order="fixed-point")
    assert sizes[0] == 21 and len(sizes) > 1
    assert all(after <= before // 2 for before, after in pairwise(sizes))
    sizes.clear()
    Model(make_tiny(image=(3, 7, 6, 5), latents=3).bundle, "cpu", threads=1).sample(37, order="fixed-point")
    assert sizes[0] == 48 and not any(rows % ROWS for rows in sizes)


def test_two_levels_report_every_step_and_value_never_going_back(levels, caplog):
    model, seen = Model(levels.bundle, "cpu", threads=2), []
    with caplog.at_level(logging.INFO, "pvae_zoo"):
        drawn = model.sample(5, order="fixed-point", batch_size=3, progress=lambda *at: seen.append(at))
    assert np.array_equal(drawn, model.sample(5))
    total = 5 * model.image.dimensions + sum(model.networks.prior_steps(count) for count in (3, 2))
    assert seen[-1] == (total, total) and seen == sorted(seen)
    assert caplog.messages[0].startswith("fixed point: 3 images in ") and "passes" in caplog.messages[0]


class Stop(BaseException):
    """As Ctrl-C: no `Exception`."""


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupt_ends_it_between_passes_and_it_can_draw_again(gates, workers):
    model, calls = Model(gates.bundle, "cpu", threads=workers), []

    def interrupt(done, total):
        calls.append(done)
        raise Stop

    with pytest.raises(Stop):
        model.sample(40, order="fixed-point", progress=interrupt)
    assert len(calls) <= workers
    assert np.array_equal(model.sample(4, order="fixed-point"), model.sample(4))


CONVERSIONS = [("float16", False), ("int8", True)]


@pytest.fixture(scope="module", params=[(3, 4, 4, 16), (1, 6, 8, 2)], ids=["colour", "binary"])
def wide(request, make_tiny, tmp_path_factory):
    """Weights that are large enough for every conversion, stored as float16."""
    tiny = make_tiny(image=request.param, channels=48, head=48, stem=16, reach=2)
    folder = tmp_path_factory.mktemp("wide")
    write_bundle(halved(tiny.checkpoint), folder)
    return Bundle(folder)


@pytest.mark.parametrize(("precision", "float_images"), CONVERSIONS)
def test_a_converted_bundle_draws_what_its_own_teacher_forced_graph_implies(wide, precision, float_images, tmp_path):
    bundle = convert(wide, precision, tmp_path / precision, float_images=float_images).bundle
    networks = Networks(bundle, "cpu", 1)
    assert networks.pixel_order("auto", 1) == "wavefront"
    z1, uniforms, given, _ = what_to_draw(networks, 8)
    images = settled(networks, z1, uniforms, given, 1.0).images
    assert len(np.unique(images)) > 1
    expected, certain = implied(bundle, images, networks._context("decoder_context", "z1", z1), uniforms)
    assert certain.mean() > 0.99
    assert np.array_equal(images[certain], expected[certain])


def implied(bundle, images, context, uniforms):
    """What the uniforms pick by the logits before ``log_prob``, and where no rounding decides it."""
    model, image = onnx.load_from_string(bundle.read_graph("decoder")), bundle.config.image
    (last,) = (
        node.output[0] for node in model.graph.node if any(name.startswith("output.w") for name in node.input[1:])
    )
    model.graph.output.append(onnx.helper.make_tensor_value_info(last, onnx.TensorProto.FLOAT, None))
    feed = {"image": images.astype(bundle.config.image_type), "context": context}
    (logits,) = open_session(model.SerializeToString(), "cpu").run([last], feed)
    if image.levels == 2:
        threshold = 1 / (1 + np.exp(-np.float64(logits)))
        return (uniforms < threshold).astype(np.uint8), abs(uniforms - threshold) > 1e-5
    logits = np.float64(logits).reshape(len(images), image.channels, image.levels, image.height, image.width)
    weights = np.exp(logits - logits.max(axis=2, keepdims=True))
    cumulative = np.cumsum(weights / weights.sum(axis=2, keepdims=True), axis=2)[:, :, :-1]
    apart = abs(uniforms[:, :, None] - cumulative).min(axis=2)
    return (uniforms[:, :, None] >= cumulative).sum(axis=2).astype(np.uint8), apart > 1e-5


@pytest.mark.parametrize("name", model_names())
def test_the_graphs_of_the_zoo_are_grown_whole_and_without_what_only_scores(name):
    bundle = open_bundle(name)
    grown = onnx.load_from_string(graphs.fixed_point_graph(bundle.read_graph("decoder"), bundle.config.image, name))
    onnx.checker.check_model(grown, full_check=True)
    assert [tensor.name for tensor in grown.graph.output] == ["next_image", "changed"]
    assert not {"Log", "Softplus", "ReduceMax"} & {node.op_type for node in grown.graph.node}
    used = {tensor for node in grown.graph.node for tensor in node.input}
    assert {tensor.name for tensor in [*grown.graph.initializer, *grown.graph.input]} <= used


def test_a_graph_whose_logits_cannot_be_found_is_refused(gates, colour):
    for tiny, other in [(gates, colour), (colour, gates)]:
        with pytest.raises(PvaeZooError, match=r"odd: the logits cannot be found in decoder\.onnx.*--order wavefront"):
            graphs.fixed_point_graph(tiny.bundle.read_graph("decoder"), other.bundle.config.image, "odd")


def test_a_graph_that_is_not_causal_is_no_endless_loop(gates, monkeypatch):
    image = gates.bundle.config.image

    def toggling(*_):
        b, shape = GraphBuilder("toggling", ""), ["N", *image.chw]
        for name, dtype, sizes in [
            ("image", "uint8", shape),
            ("context", "float32", ["N", "R", "K"]),
            ("uniforms", "float32", shape),
            ("given", "int64", shape),
            ("temperature", "float32", [1]),
        ]:
            b.input(name, dtype, sizes)
        was_zero = b.op("Equal", b.op("Cast", "image", to=onnx.TensorProto.FLOAT), b.scalar(0.0))
        b.output(b.op("Cast", was_zero, to=onnx.TensorProto.UINT8), "next_image", "uint8", shape)
        ones = b.op("ReduceSum", b.op("Min", b.op("Abs", "given"), b.ints(1)), b.ints(1, 2, 3), keepdims=0)
        b.output(ones, "changed", "int64", ["N"])
        return b.build({}).SerializeToString()

    monkeypatch.setattr(graphs, "fixed_point_graph", toggling)
    networks = Networks(gates.bundle, "cpu", 1)
    networks.fixed_point_sampler = FixedPointSampler(gates.bundle)
    with pytest.raises(PvaeZooError, match=r"do not settle.*--order wavefront"):
        settled(networks, *what_to_draw(networks, 2))
