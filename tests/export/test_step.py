import math

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator

from pvae_zoo.export.pixel_step import pixel_step_graph, pixel_step_spec
from pvae_zoo.models.masked_conv import MaskedConv2d
from pvae_zoo.runtime import noise
from pvae_zoo.runtime.sampler import PixelDraw, StepSampler
from pvae_zoo.runtime.sessions import open_session
from pvae_zoo.runtime.wavefront import canvas_rows, positions, steps

COUNT = 3


@pytest.fixture
def draw(tiny):
    """Images 0, 1, 2 of seed 0."""
    config = tiny.bundle.config
    shape = config.latents[0].shape
    z1 = noise.normals(0, range(COUNT), 1, math.prod(shape)).reshape(COUNT, *shape)
    u = noise.uniforms(0, range(COUNT), noise.PIXELS, config.image.dimensions).reshape(COUNT, *config.image.chw)
    session = open_session(tiny.bundle.read_graph("decoder_context"), "cpu")
    return PixelDraw(session.run(None, {"z1": z1})[0], u, np.full(u.shape, -1, np.int64))


def drive(run, config, what, *, fill=0, scratch=0.0):
    """A host of the step graph from its contract alone, out of place: pixels, log-probabilities and canvases.

    Args:
        run: from named inputs to the outputs.
        fill: positions that only fill up each step, in the spare row.
        scratch: what stands in the spare row at the start.
    """
    spec, image = config.steps["decoder_step"], config.image
    g = spec.geometry
    canvases = [np.zeros((COUNT * g.rows_per_image + 1, canvas.channels), np.float32) for canvas in spec.canvases]
    for canvas in canvases:
        canvas[-1] = scratch
    pixels = np.zeros((COUNT, *image.chw), np.uint8)
    log_prob = np.zeros((COUNT, *image.chw), np.float32)
    for step in steps(image.height, image.width, g.slope):
        pixels_now = list(zip(step.rows.tolist(), step.columns.tolist(), strict=True))
        cells = [(i, y, x) for i in range(COUNT) for y, x in pixels_now]
        rows = [i * g.rows_per_image + (y + g.top) * g.stride + g.left + x for i, y, x in cells]
        per_pixel = spec.context.rows > 1
        context_rows = [i * spec.context.rows + (y * image.width + x) * per_pixel for i, y, x in cells]
        outputs = run({
            "positions": np.array(rows + [len(canvases[0]) - 1] * fill),
            "context_rows": np.array(context_rows + [0] * fill),
            "context": what.context.reshape(-1, spec.context.channels),
            "uniforms": np.pad(np.array([what.uniforms[i, :, y, x] for i, y, x in cells]), [(0, fill), (0, 0)]),
            "given": np.pad(np.array([what.given[i, :, y, x] for i, y, x in cells]), [(0, fill), (0, 0)]),
            "temperature": np.array([what.temperature], np.float32),
            **{c.name: canvas for c, canvas in zip(spec.canvases, canvases, strict=True)},
        })  # fmt: skip
        assert len(outputs[0]) == len(cells) + fill
        for (i, y, x), values, logs in zip(cells, outputs[0], outputs[1], strict=False):
            pixels[i, :, y, x], log_prob[i, :, y, x] = values, logs
        canvases = outputs[2:]
    return pixels, log_prob, canvases


@pytest.fixture
def run(tiny):
    session = open_session(tiny.bundle.read_graph("decoder_step"), "cpu")
    return lambda feed: session.run(None, feed)


def test_writing_in_place_gives_what_a_copy_of_every_canvas_gives(tiny, draw, run):
    pixels, log_prob, _ = drive(run, tiny.bundle.config, draw)
    drawn = StepSampler(tiny.bundle).draw(draw)
    assert np.array_equal(drawn.images, pixels) and np.array_equal(drawn.log_prob, log_prob)


@pytest.mark.parametrize("scratch", [0.0, 1e3])
def test_positions_that_fill_up_a_step_change_nothing(tiny, draw, run, scratch):
    pixels, log_prob, canvases = drive(run, tiny.bundle.config, draw)
    filled = drive(run, tiny.bundle.config, draw, fill=5, scratch=scratch)
    assert np.array_equal(filled[0], pixels)
    np.testing.assert_allclose(filled[1], log_prob, rtol=1e-6, atol=1e-6)
    for canvas, other in zip(canvases, filled[2], strict=True):
        np.testing.assert_allclose(other[:-1], canvas[:-1], rtol=1e-5, atol=1e-6)


def test_onnx_itself_computes_the_same_step(tiny, draw, run):
    evaluator = ReferenceEvaluator(onnx.load_from_string(tiny.bundle.read_graph("decoder_step")))
    config = tiny.bundle.config
    expected = drive(run, config, draw)
    actual = drive(lambda feed: evaluator.run(None, feed), config, draw)
    assert np.array_equal(actual[0], expected[0])
    np.testing.assert_allclose(actual[1], expected[1], rtol=1e-5, atol=1e-5)


def test_a_canvas_holds_the_features_of_the_whole_image_network(tiny, draw, run):
    """The first canvas is the embedded image, the other the inputs of all gated layers side by side."""
    pixels, _, canvases = drive(run, tiny.bundle.config, draw)
    g, net = pixel_step_spec(tiny.model).geometry, tiny.model.decoder.pixelcnn
    expected, features = [], []
    hooks = [net.embedding.register_forward_hook(lambda module, inputs, output: expected.append(output))]
    for layer in net.layers:
        hooks.append(layer.register_forward_hook(lambda module, inputs, output: features.append(inputs[0])))
    size = (1, 1) if net.condition_gates else pixels.shape[2:]
    context = torch.from_numpy(draw.context).transpose(1, 2).unflatten(2, size)
    with torch.no_grad():
        net(torch.from_numpy(pixels), context)
    for hook in hooks:
        hook.remove()
    for canvas, values in zip(canvases, [*expected, *([torch.cat(features, dim=1)] if features else [])], strict=True):
        rows = canvas[:-1].reshape(COUNT, -1, g.stride, canvas.shape[1])[:, g.top :, g.left :]
        np.testing.assert_allclose(rows, values.permute(0, 2, 3, 1).numpy(), rtol=1e-4, atol=1e-5)


def test_a_step_neither_reads_what_it_writes_nor_what_is_unfinished(tiny):
    """The law of `pvae_zoo.runtime.wavefront`, with the windows and the geometry of the real network."""
    g, image = pixel_step_spec(tiny.model).geometry, tiny.bundle.config.image
    convolutions = [m for m in tiny.model.decoder.pixelcnn.modules() if isinstance(m, MaskedConv2d)]
    offsets = {dy * g.stride + dx for m in convolutions for dy, dx in m.window.neighbours}
    finished = np.ones(canvas_rows(g, 2), bool)
    for step in steps(image.height, image.width, g.slope):
        finished[positions(g, 2, step)] = False
    for step in steps(image.height, image.width, g.slope):
        own = positions(g, 2, step)
        read = own[:, None] + sorted(offsets)
        assert read.min() >= 0 and finished[read].all() and not np.isin(read, own).any()
        finished[own] = True
    assert finished.all()


def test_neighbours_are_where_the_geometry_puts_them(tiny):
    """A neighbour outside the image is a margin, never a pixel of the row before or of another image."""
    g, image = pixel_step_spec(tiny.model).geometry, tiny.bundle.config.image
    pixel = np.full(canvas_rows(g, 1), -1)
    for y in range(image.height):
        for x in range(image.width):
            pixel[(y + g.top) * g.stride + g.left + x] = y * image.width + x
    for module in tiny.model.decoder.pixelcnn.modules():
        if isinstance(module, MaskedConv2d):
            for y in range(image.height):
                for x in range(image.width):
                    for dy, dx in module.window.neighbours:
                        inside = y + dy >= 0 and 0 <= x + dx < image.width
                        found = pixel[(y + g.top + dy) * g.stride + g.left + x + dx]
                        assert found == ((y + dy) * image.width + x + dx if inside else -1)


def test_the_stated_cost_is_that_of_the_graphs_products(tiny):
    """Multiply-adds of a pixel: the matrices of the products, of which the zero blocks are left out."""
    graph = onnx.load_from_string(tiny.bundle.read_graph("decoder_step")).graph
    weights = {tensor.name: math.prod(tensor.dims) for tensor in graph.initializer}
    products = [node for node in graph.node if node.op_type in ("Gemm", "MatMul")]
    # Weights that float16 holds exactly come by way of a Cast.
    casts = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Cast"}
    names = [casts.get(node.input[1], node.input[1]) for node in products]
    macs = pixel_step_spec(tiny.model).macs
    assert sum(weights[name] for name in names if not name.startswith("cumulate.")) == macs


def test_the_contract_lists_the_canvases_in_the_graphs_order(tiny):
    canvases, builder = pixel_step_spec(tiny.model).canvases, pixel_step_graph(tiny.model)
    names = [canvas.name for canvas in canvases]
    assert names == ["canvas_pixels", *(["canvas_features"] if tiny.model.decoder.pixelcnn.layers else [])]
    assert [spec.name for spec in builder.inputs][-len(names) :] == names
    assert [spec.name for spec in builder.outputs] == ["pixels", "log_prob", *(f"{name}_next" for name in names)]
    assert pixel_step_spec(tiny.model) == tiny.bundle.config.steps["decoder_step"]
