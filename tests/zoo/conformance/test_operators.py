import pytest

from pvae_zoo.conformance.operators import operator_of

OPENCV = "OpenCV(5.0.0) /io/modules/dnn/src/layers/conv2_layer.cpp:385: error: residual added after convolution"
REFERENCE = 'File "onnx/reference/ops/op_gather.py", line 12, in _run'
ONNXRUNTIME = "Non-zero status code returned while running a node. Name:'{}' Status Message: out of bounds"


@pytest.mark.parametrize(
    ("text", "operator"),
    [
        (OPENCV, "Conv"),
        (REFERENCE, "Gather"),
        ("Unsupported operator Softplus", "Softplus"),
        ("Not supported: add nodes where less is equal", None),
        ("Not Where Add Less Equal", None),
        ("out of memory", None),
    ],
)
def test_an_error_speaks_of_an_operator(tiny, text, operator):
    import onnx

    path = tiny.bundle.folder / "decoder.onnx"
    kinds = {node.op_type for node in onnx.load(path).graph.node}
    assert operator_of(text, path) == (operator if operator in kinds else None)


def test_a_node_is_known_by_its_name(gates):
    import onnx

    path = gates.bundle.folder / "decoder_step.onnx"
    for node in onnx.load(path).graph.node:
        assert operator_of(ONNXRUNTIME.format(node.name), path) == node.op_type
