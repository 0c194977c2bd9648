import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from pvae_zoo.graphs.memory import bytes_a_row


def chain(nodes, constants=()):
    """A graph from x to y, both float32 (N, 100)."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 100]) for name in "xy")
    graph = helper.make_graph([helper.make_node(*node) for node in nodes], "chain", [x], [y], list(constants))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])


def test_a_tensor_counts_until_its_last_reader_is_done():
    steps = [("Neg", [a], [b]) for a, b in zip("xabcd", "abcdy", strict=True)]
    assert bytes_a_row(chain(steps)) == 4 * 400  # x and y all the time, and two of those between
    wide = numpy_helper.from_array(np.zeros((100, 1000), np.float32), "w")
    held = [("MatMul", ["x", "w"], ["a"]), ("Neg", ["x"], ["b"]), ("Neg", ["b"], ["c"]), ("Neg", ["c"], ["y"])]
    assert bytes_a_row(chain(held, [wide])) == 2 * 400 + 4000  # nobody reads a, and w is no row's
    read_late = [*held[:3], ("ReduceMax", ["a"], ["d"]), ("Add", ["c", "d"], ["y"])]
    assert bytes_a_row(chain(read_late, [wide])) == 4 * 400 + 4000


def test_a_shape_that_depends_on_values_is_none():
    shape = helper.make_tensor_value_info("shape", TensorProto.INT64, [2])
    model = chain([("Reshape", ["x", "shape"], ["a"]), ("Neg", ["a"], ["y"])])
    model.graph.input.append(shape)
    with pytest.raises(ValueError, match="shape of"):
        bytes_a_row(model)
