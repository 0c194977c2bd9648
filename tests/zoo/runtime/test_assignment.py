"""Every node has its provider: none of the graphs that are shipped has a node that CUDA has no kernel for."""

import warnings

import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from pvae_zoo.runtime.assignment import (
    CpuNodesWarning,
    Node,
    lists_nodes,
    nodes_by_provider,
    nodes_elsewhere,
    record_nodes,
    warn_of_nodes_elsewhere,
)
from pvae_zoo.runtime.sessions import CPU, CUDA
from pvae_zoo.sources.registry import model_names, open_bundle

FLOATS = "double float float16"
FLOATS_AND_BF16 = f"bfloat16 {FLOATS}"
NUMBERS = f"{FLOATS} int32 int64 uint32 uint64"
ALL = f"{FLOATS_AND_BF16} bool int16 int32 int64 int8 uint16 uint32 uint64 uint8"

KERNELS = {
    "Add": (13, 13, {"T": f"bfloat16 {NUMBERS}"}),
    "ArgMax": (13, None, {"T": FLOATS}),
    "Cast": (13, 18, {"T1": ALL, "T2": f"{ALL} float4e2m1"}),
    "Clip": (13, None, {"T": f"{FLOATS} int64 int8 uint64 uint8"}),
    "Concat": (13, None, {"T": ALL}),
    "Conv": (11, 21, {"T": FLOATS}),
    "Div": (13, 13, {"T": f"bfloat16 {NUMBERS}"}),
    "Elu": (6, None, {"T": FLOATS}),
    "Equal": (13, None, {"T": f"bool {NUMBERS}", "T1": "bool"}),
    "Exp": (13, None, {"T": FLOATS_AND_BF16}),
    "Flatten": (13, None, {"T": ALL}),
    "Gather": (13, None, {"T": ALL, "Tind": "int32 int64"}),
    "GatherND": (13, None, {"T": f"{FLOATS_AND_BF16} bool int64"}),
    "Gemm": (13, None, {"T": FLOATS_AND_BF16}),
    "Identity": (13, 13, {"T": ALL}),
    "Less": (13, None, {"T": NUMBERS, "T1": "bool"}),
    "Log": (13, None, {"T": FLOATS}),
    "MatMul": (13, None, {"T": FLOATS_AND_BF16}),
    "Max": (13, None, {"T": f"bfloat16 {NUMBERS}"}),
    "Min": (13, None, {"T": f"bfloat16 {NUMBERS}"}),
    "Mul": (13, 13, {"T": f"bfloat16 {NUMBERS}"}),
    "Neg": (13, None, {"T": f"{FLOATS_AND_BF16} int16 int32 int64 int8"}),
    "ReduceMax": (1, 17, {"T": f"{FLOATS} int32 int64"}),
    "ReduceSum": (13, None, {"T": f"{FLOATS_AND_BF16} int32 int64"}),
    "Reshape": (13, 13, {"T": ALL}),
    "Resize": (13, 17, {"T1": f"{FLOATS} int32 uint8"}),
    "ScatterND": (13, 15, {"T": ALL}),
    "Sigmoid": (13, None, {"T": FLOATS_AND_BF16}),
    "Slice": (13, None, {"T": ALL, "Tind": "int32 int64"}),
    "Softmax": (13, None, {"T": FLOATS_AND_BF16}),
    "Softplus": (1, None, {"T": FLOATS}),
    "Split": (13, 17, {"T": ALL}),
    "Squeeze": (13, 20, {"T": ALL}),
    "Sub": (13, 13, {"T": f"bfloat16 {NUMBERS}"}),
    "Tanh": (13, None, {"T": FLOATS_AND_BF16}),
    "Transpose": (13, 20, {"T": ALL}),
    "Unsqueeze": (13, 20, {"T": ALL}),
    "Where": (9, 15, {"B": "bool", "T": f"{FLOATS} int32 int64 uint8"}),
}
"""CUDA's kernels for the operators of opset 13 that the export writes: first and last version of the operator, and the
element types that each of its type parameters may have.

Source: docs/OperatorKernels.md of microsoft/onnxruntime at commit 001d12d2623fd411ce0f83d05abb5e82304a3389, section
CUDAExecutionProvider. onnxruntime-gpu 1.31.1 gave all nodes of the 24 graphs to CUDA when its provider was loaded over
a stub of the driver, with CUDA graphs enabled and without.
"""

CPU_PREFERRED = {"Shape", "Size", "ConstantOfShape", "Range", "NonZero"}
"""Operators that shapes are computed with: onnxruntime keeps them, and what follows from them, for the CPU."""


def lacking(model):
    """The nodes of a graph for which CUDA has no kernel."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    opset, graph = model.opset_import[0].version, inferred.graph
    types = {v.name: v.type.tensor_type.elem_type for v in [*graph.value_info, *graph.input, *graph.output]}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    return [f"{node.name} ({node.op_type})" for node in graph.node if not has_kernel(node, types, opset)]


def has_kernel(node, types, opset):
    schema = onnx.defs.get_schema(node.op_type, opset)
    if node.domain or node.op_type not in KERNELS:
        return False
    first, last, allowed = KERNELS[node.op_type]
    if not first <= schema.since_version <= (last or opset):
        return False
    for names, formal in ((node.input, schema.inputs), (node.output, schema.outputs)):
        for index, name in enumerate(names):
            parameter = formal[min(index, len(formal) - 1)].type_str  # the last one may be variadic
            known = allowed.get(parameter)
            element = (
                str(helper.tensor_dtype_to_string(types[name])).removeprefix("TensorProto.").lower() if name else ""
            )
            if name and known is not None and element not in known.split():
                return False
    return True


@pytest.mark.parametrize("name", model_names())
def test_cuda_has_a_kernel_for_every_node(name):
    bundle = open_bundle(name)
    for role in bundle.config.roles:
        model = onnx.load_from_string(bundle.read_graph(role))
        assert lacking(model) == [], role
        assert not CPU_PREFERRED & {node.op_type for node in model.graph.node}, role


def small_graph(operator, element, **attributes):
    node = helper.make_node(operator, ["x"], ["y"], name="one", **attributes)
    x = helper.make_tensor_value_info("x", element, [2, 2])
    graph = helper.make_graph([node], "small", [x], [helper.make_tensor_value_info("y", TensorProto.INT64, None)])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def test_the_table_refuses_what_cuda_has_not():
    assert lacking(small_graph("ArgMax", TensorProto.FLOAT)) == []
    assert lacking(small_graph("ArgMax", TensorProto.UINT8)) == ["one (ArgMax)"]  # the CPU has it
    assert lacking(small_graph("NonZero", TensorProto.FLOAT)) == ["one (NonZero)"]  # not in the table


@pytest.fixture
def session(gates):
    options = onnxruntime.SessionOptions()
    record_nodes(options)
    return onnxruntime.InferenceSession(gates.bundle.read_graph("encoder"), options, providers=[CPU])


@pytest.mark.skipif(not lists_nodes(onnxruntime), reason="onnxruntime tells since 1.24")
def test_nodes_are_listed_by_provider(session):
    found = nodes_by_provider(session)
    assert list(found) == [CPU] and {"Conv", "Elu", "Gemm"} <= {node.operator for node in found[CPU]}
    assert nodes_elsewhere(session, CPU) == () and nodes_elsewhere(session, CUDA) == found[CPU]
    assert nodes_by_provider(object()) == {}  # of an onnxruntime that does not tell


@pytest.mark.skipif(not lists_nodes(onnxruntime), reason="onnxruntime tells since 1.24")
def test_nodes_that_fall_to_the_cpu_are_named_once(session):
    nodes = nodes_elsewhere(session, CUDA)
    with pytest.warns(CpuNodesWarning) as caught:
        warn_of_nodes_elsewhere(session, CUDA)
        warn_of_nodes_elsewhere(session, CUDA)
    (line,) = (str(warning.message) for warning in caught)
    assert line.startswith(f"{len(nodes)} nodes of encoder run on the CPU") and line.endswith(f"{len(nodes) - 5} more")
    assert str(nodes[0]) in line and str(Node("argmax_3", "ArgMax")) == "argmax_3 (ArgMax)"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_nodes_elsewhere(session, CPU)
