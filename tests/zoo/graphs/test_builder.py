import numpy as np
import onnx
import pytest
from onnx import TensorProto

from pvae_zoo.conformance.engines import ENGINES
from pvae_zoo.conformance.runtimes import RUNTIMES, find
from pvae_zoo.contract.config import GraphSpec, TensorSpec
from pvae_zoo.graphs.builder import IR_VERSION, OPSET, GraphBuilder
from pvae_zoo.runtime.sessions import open_session


def run(builder, **inputs):
    return open_session(builder.build({}).SerializeToString(), "cpu").run(None, inputs)


def test_a_graph_has_the_stated_opset_inputs_outputs_and_metadata():
    b = GraphBuilder("doubler", "Doubles")
    b.output(b.op("Mul", b.input("x", "float32", ["N", 2]), b.scalar(2.0)), "y", "float32", ["N", 2])
    model = b.build({"pvae.config": "{}"})
    assert (OPSET, IR_VERSION) == (13, 8)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", OPSET)] and model.ir_version == IR_VERSION
    assert [(p.key, p.value) for p in model.metadata_props] == [("pvae.config", "{}")]
    assert b.inputs == [TensorSpec(name="x", dtype="float32", shape=("N", 2))]
    assert b.outputs == [TensorSpec(name="y", dtype="float32", shape=("N", 2))]
    assert model.graph.doc_string == "Doubles" and model.producer_name == "pvae-zoo"
    assert run(b, x=np.ones((3, 2), np.float32))[0].tolist() == [[2, 2]] * 3


def test_an_output_that_others_read_keeps_its_readers():
    b = GraphBuilder("both", "")
    first = b.op("Neg", b.input("x", "float32", ["N"]))
    second = b.op("Neg", first)
    b.output(first, "negative", "float32", ["N"])
    b.output(second, "positive", "float32", ["N"])
    negative, positive = run(b, x=np.array([1, 2], np.float32))
    assert negative.tolist() == [-1, -2] and positive.tolist() == [1, 2]


@pytest.mark.parametrize("name", ["softplus", "tanh"])
@pytest.mark.parametrize("runtime", ["onnxruntime", "reference", "tract", "openvino", "opencv"])
def test_a_function_neither_overflows_nor_rounds(runtime, name, tmp_path):
    if isinstance(find(RUNTIMES[runtime]), str):
        pytest.skip(f"needs {runtime}")
    b = GraphBuilder(name, "")
    b.output(getattr(b, name)(b.input("x", "float32", ["N"])), "y", "float32", ["N"])
    path = tmp_path / f"{name}.onnx"
    path.write_bytes(b.build({}).SerializeToString())
    x = np.concatenate([np.linspace(-120, 120, 961), [-1e4, 29.999, 30, 30.001, 89, 1e4]]).astype(np.float32)
    spec = GraphSpec(file="", size=0, sha256="", inputs=tuple(b.inputs), outputs=tuple(b.outputs))
    y = ENGINES[runtime](path, spec)({"x": x})["y"]
    exact = {"softplus": lambda x: np.logaddexp(0, x), "tanh": np.tanh}[name](x.astype(np.float64))
    np.testing.assert_allclose(y, exact, rtol=1e-5, atol=1e-5)


def test_a_weights_name_is_its_own():
    b = GraphBuilder("twice", "")
    b.weight("w", np.ones(2))
    with pytest.raises(ValueError, match="the graph twice has two weights called w"):
        b.weight("w", np.ones(2))


def test_weights_are_float32_or_int64_and_constants_are_shared():
    b = GraphBuilder("constants", "")
    x = b.input("x", "float32", ["N", 1])
    x = b.op("Mul", x, b.weight("w", np.full(1, 0.1, np.float64)))
    for _ in range(2):
        x = b.op("Squeeze", b.op("Unsqueeze", b.op("Add", x, b.scalar(0.5)), b.ints(-1)), b.ints(-1))
    b.output(x, "y", "float32", ["N", 1])
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in b.build({}).graph.initializer}
    assert {name: value.dtype.name for name, value in stored.items()} == {
        "w": "float32", "scalar_0.5": "float32", "ints_m1": "int64",
    }  # fmt: skip
    assert stored["ints_m1"].tolist() == [-1]
    assert run(b, x=np.zeros((1, 1), np.float32))[0].tolist() == [[1.0]]


def test_one_part_is_neither_split_nor_joined():
    b = GraphBuilder("parts", "")
    x = b.input("x", "float32", ["N", 3])
    assert b.split(x, [3]) == [x] and b.concat([x]) == x
    left, right = b.split(x, [1, 2])
    b.output(b.concat([right, left]), "y", "float32", ["N", 3])
    assert run(b, x=np.array([[1, 2, 3]], np.float32))[0].tolist() == [[2, 3, 1]]


def test_values_are_scaled_to_plus_minus_one():
    b = GraphBuilder("scaled", "")
    b.output(b.scaled(b.input("x", "uint8", ["N"]), 4), "y", "float32", ["N"])
    assert run(b, x=np.arange(4, dtype=np.uint8))[0].tolist() == pytest.approx([-1, -1 / 3, 1 / 3, 1])


@pytest.mark.parametrize("addend", [np.array([10.0, 20.0]), "rest"])
def test_a_linear_map_has_its_weight_as_in_by_out(addend):
    b = GraphBuilder("linear", "")
    weight = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    b.input("rest", "float32", ["N", 2])
    b.output(b.linear(b.input("x", "float32", ["N", 3]), "map", weight, addend), "y", "float32", ["N", 2])
    x = np.array([[1, 1, 0], [0, 0, 1]], np.float32)
    rest = np.array([[1, 2], [3, 4]], np.float32)
    assert np.array_equal(run(b, x=x, rest=rest)[0], x @ weight + (rest if isinstance(addend, str) else addend))


def test_a_graph_that_is_not_valid_is_not_built():
    b = GraphBuilder("wrong", "")
    product = b.op("MatMul", b.input("x", "float32", ["N", 3]), b.weight("w", np.ones((2, 2))))
    b.output(product, "y", "float32", ["N", 2])
    with pytest.raises(onnx.shape_inference.InferenceError):
        b.build({})


def test_large_weights_that_float16_holds_exactly_are_stored_so():
    exact = np.arange(2048, dtype=np.float32).reshape(2, 1024) / 8
    others = (exact + 1e-4, exact * 1e4, exact[:, :100])  # between its numbers, beyond them, too small to matter
    for value, stored in ((exact, TensorProto.FLOAT16), *((other, TensorProto.FLOAT) for other in others)):
        b = GraphBuilder("g", "d")
        x = b.input("x", "float32", ["N", 2])
        b.output(b.op("MatMul", x, b.weight("w", value)), "y", "float32", ["N", value.shape[1]])
        model = b.build({})
        (weight,) = model.graph.initializer
        assert weight.data_type == stored
        (y,) = open_session(model.SerializeToString(), "cpu").run(None, {"x": np.eye(2, dtype=np.float32)})
        assert np.array_equal(y, value)
