"""Graphs in other numbers: what must stay the same does, what changes is bounded, and all of it may be loaded."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.folder import Bundle
from pvae_zoo.export.bundle import halved, write_bundle
from pvae_zoo.graphs.half import as_float16
from pvae_zoo.graphs.image_input import with_float_images
from pvae_zoo.graphs.quantised import as_int8, rounded
from pvae_zoo.graphs.rewriting import checked, parsed
from pvae_zoo.graphs.stored import as_float16_weights, as_float32
from pvae_zoo.runtime.sessions import open_session
from pvae_zoo.trust.screening import screen_graph

REWRITES = {
    "float32": lambda model, role: as_float32(model),
    "float16-weights": lambda model, role: as_float16_weights(model),
    "float16": lambda model, role: as_float16(model),
    "int8": as_int8,
}


@pytest.fixture(scope="module")
def wide(make_tiny, tmp_path_factory):
    """Two levels, colours, weights that are large enough for every conversion, stored as float16."""
    tiny = make_tiny(image=(3, 4, 4, 16), top=4, channels=48, head=24, stem=16, embedding=7, reach=2)
    folder = tmp_path_factory.mktemp("wide")
    write_bundle(halved(tiny.checkpoint), folder)
    return Bundle(folder)


def rewritten(bundle, role, precision):
    return REWRITES[precision](parsed(bundle.read_graph(role), role), role)


def feed(bundle, role, rows=3):
    """Random inputs of a graph: positions and values within their bounds, everything else mostly below zero."""
    rng, step = np.random.default_rng(0), bundle.config.steps.get(role)
    canvas = 1 if step is None else rows * step.geometry.rows_per_image + 1
    sizes = {"N": rows, "M": rows, "T": 256, "P": canvas}
    integers = {"image": (16, np.uint8), "positions": (canvas - 1, np.int64), "context_rows": (rows, np.int64)}
    values = {}
    for spec in bundle.config.graphs[role].inputs:
        shape = [sizes.get(size, size) for size in spec.shape]
        if spec.name in integers:
            most, kind = integers[spec.name]
            values[spec.name] = rng.integers(0, most, shape).astype(kind)
        elif spec.name == "given":
            values[spec.name] = np.zeros(shape, np.int64)
        elif spec.name in ("uniforms", "temperature"):
            values[spec.name] = np.full(shape, 0.5 if spec.name == "uniforms" else 1.0, np.float32)
        else:
            values[spec.name] = rng.standard_normal(shape).astype(np.float32) * 0.5 - 0.5
    if "positions" in values:  # rows that two write at once would be either's
        values["positions"] = (
            np.arange(rows) * step.geometry.rows_per_image + step.geometry.top * step.geometry.stride + 3
        )
    return values


def outputs(bundle, role, model):
    return open_session(checked(model, role), "cpu").run(None, feed(bundle, role))


def test_float32_computes_the_same_bits_with_no_weight_behind_a_cast(wide):
    for role in wide.config.roles:
        model = rewritten(wide, role, "float32")
        constants = {tensor.name for tensor in model.graph.initializer}
        assert {tensor.data_type for tensor in model.graph.initializer} <= {TensorProto.FLOAT, TensorProto.INT64}
        assert not [node for node in model.graph.node if node.op_type == "Cast" and node.input[0] in constants]
        before = outputs(wide, role, parsed(wide.read_graph(role), role))
        for a, b in zip(before, outputs(wide, role, model), strict=True):
            np.testing.assert_array_equal(a, b, err_msg=role)


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_images_as_floats_change_no_bit_and_leave_no_uint8(wide, precision):
    for role in ("encoder", "decoder"):
        model, spec = with_float_images(parsed(wide.read_graph(role), role), wide.config.graphs[role])
        changed = REWRITES[precision](model, role)
        data = checked(changed, role)
        assert screen_graph(data, spec, role) == []
        values = feed(wide, role)
        floats = values | {"image": values["image"].astype(np.float32)}
        before = open_session(checked(rewritten(wide, role, precision), role), "cpu").run(None, values)
        for a, b in zip(before, open_session(data, "cpu").run(None, floats), strict=True):
            np.testing.assert_array_equal(a, b, err_msg=role)


def test_weights_in_float16_and_back_are_what_they_were(wide):
    for role in wide.config.roles:
        again = as_float16_weights(rewritten(wide, role, "float32"))
        stored = {t.name: t.SerializeToString() for t in parsed(wide.read_graph(role), role).graph.initializer}
        assert {t.name: t.SerializeToString() for t in again.graph.initializer} == stored, role


@pytest.mark.parametrize(("precision", "bound"), [("float16", 0.01), ("int8", 0.03)])
def test_coarse_numbers_stay_near(wide, precision, bound):
    for role in wide.config.roles:
        before = outputs(wide, role, rewritten(wide, role, "float32"))
        gaps = [
            float((np.abs(a - b) / np.maximum(1, np.abs(a))).max())
            for a, b in zip(before, outputs(wide, role, rewritten(wide, role, precision)), strict=True)
        ]
        assert max(gaps) < bound, (role, gaps)


def kinds(bundle, role, precision):
    return [node.op_type for node in rewritten(bundle, role, precision).graph.node]


def test_steps_multiply_in_integers_and_whole_images_do_not(wide):
    found = {role for role in wide.config.roles if "MatMulInteger" in kinds(wide, role, "int8")}
    assert found == {"decoder_step"}  # the prior's products are small ones


def test_in_float16_the_last_product_and_all_behind_it_stay_float32(wide):
    model = onnx.shape_inference.infer_shapes(rewritten(wide, "decoder_step", "float16"))
    types = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
    types |= {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    weights = [node.input[1] for node in model.graph.node if node.op_type == "Gemm" and ".weight" in node.input[1]]
    assert any(name.startswith("output.") for name in weights)
    for name in weights:
        assert types[name] == (TensorProto.FLOAT if name.startswith("output.") else TensorProto.FLOAT16), name
    assert not [
        n.name for n in model.graph.node if n.op_type in ("Exp", "Log") and types[n.output[0]] != TensorProto.FLOAT
    ]


@pytest.mark.parametrize("precision", REWRITES)
def test_what_is_converted_passes_the_screening(wide, precision):
    for role in wide.config.roles:
        data = checked(rewritten(wide, role, precision), role)
        assert screen_graph(data, wide.config.graphs[role], role) == []


def test_a_weight_is_rounded_by_output_and_zeros_stay_zeros():
    weight = np.array([[0.0, 127.0, -1.0], [0.0, -64.4, 0.25]], np.float32)
    quantised, scale = rounded(weight, (-2,))
    assert quantised.tolist() == [[0, 127, -127], [0, -64, 32]] and scale.shape == (1, 3)


def test_a_weight_beyond_float16_is_refused_in_one_line(gates):
    model = parsed(gates.bundle.read_graph("decoder"), "decoder")
    large = next(t for t in model.graph.initializer if t.name.endswith("conv.weight"))
    large.CopyFrom(onnx.numpy_helper.from_array(np.full(tuple(large.dims), 1e6, np.float32), large.name))
    with pytest.raises(PvaeZooError, match=f"{large.name}.* beyond what float16 holds"):
        as_float16(model)
