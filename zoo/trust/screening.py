"""Is a graph one that our export could have made? Asked of its bytes, before onnxruntime sees them.

The file must be in the one form that protobuf's deterministic writer gives it, and hold no field, operator or attribute
that `pvae_zoo.export` does not write. So there is nothing that two parsers could read differently, nothing is kept in
other files, nothing is nested, and there is neither control flow nor a function. Operators that make much out of little
(Expand, Tile, ConstantOfShape, Range) are not among ours. Of those that are, Resize, Conv by its padding, and all that
broadcast can grow a tensor: the memory limit of the trial bounds them (`pvae_zoo.trust.trial`). Whatever decides a
shape must be a constant: then what a run costs depends on the shapes of the inputs alone.

onnx parses here, and never resolves a path.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import onnx
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]

from pvae_zoo.base.printable import shown
from pvae_zoo.contract.config import GraphSpec, TensorSpec
from pvae_zoo.trust.limits import ENTRIES, GRAPH_BYTES, METADATA_BYTES, TENSOR_ELEMENTS

OPERATORS = frozenset(
    {
        "Add", "ArgMax", "Cast", "Clip", "Concat", "Conv", "Div", "Elu", "Equal", "Exp", "Flatten", "Gather",
        "GatherND", "Gemm", "Identity", "Less", "Log", "MatMul", "MatMulInteger", "Max", "Min", "Mul", "Neg",
        "QuantizeLinear", "ReduceMax", "ReduceMin", "ReduceSum", "Reshape", "Resize", "ScatterND", "Sigmoid", "Slice",
        "Softmax", "Softplus", "Split", "Squeeze", "Sub", "Tanh", "Transpose", "Unsqueeze", "Where",
    }
)  # fmt: skip
"""Of the default domain: those that the export uses, and the three that ``pvae-zoo convert --precision int8`` adds.

None of these three makes a tensor larger than what it reads but MatMulInteger, which is a MatMul in that."""

IR_VERSIONS = frozenset({8})
OPSETS = frozenset({13})

_INT, _INTS, _STRING = onnx.AttributeProto.INT, onnx.AttributeProto.INTS, onnx.AttributeProto.STRING
ATTRIBUTES = {
    "axes": _INTS,
    "axis": _INT,
    "batch_dims": _INT,
    "coordinate_transformation_mode": _STRING,
    "keepdims": _INT,
    "kernel_shape": _INTS,
    "mode": _STRING,
    "nearest_mode": _STRING,
    "pads": _INTS,
    "perm": _INTS,
    "strides": _INTS,
    "to": _INT,
}
"""Their attributes, none of which can hold a tensor or a graph."""

SHAPE_INPUTS = {
    "ReduceSum": (1,),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Unsqueeze": (1,),
}
"""Inputs whose values decide the shape of an output."""

FIXED_INPUTS = {"MatMulInteger": (1, 2, 3), "QuantizeLinear": (1, 2)}
"""Inputs that are constants in our graphs: integer weights, scales and zero points."""

_FIELDS = {
    "ModelProto": {
        "ir_version",
        "producer_name",
        "producer_version",
        "model_version",
        "doc_string",
        "graph",
        "opset_import",
        "metadata_props",
    },
    "OperatorSetIdProto": {"domain", "version"},
    "StringStringEntryProto": {"key", "value"},
    "GraphProto": {"node", "name", "initializer", "doc_string", "input", "output"},
    "NodeProto": {"input", "output", "name", "op_type", "domain", "attribute"},
    "AttributeProto": {"name", "type", "i", "ints", "s"},
    "TensorProto": {"dims", "data_type", "name", "raw_data"},
    "ValueInfoProto": {"name", "type", "doc_string"},
    "TypeProto": {"tensor_type"},
    "Tensor": {"elem_type", "shape"},
    "TensorShapeProto": {"dim"},
    "Dimension": {"dim_value", "dim_param"},
}
_CONSTANTS = {
    onnx.TensorProto.FLOAT: 4,
    onnx.TensorProto.FLOAT16: 2,
    onnx.TensorProto.INT64: 8,
    onnx.TensorProto.INT8: 1,
    onnx.TensorProto.UINT8: 1,
}
"""Bytes of an element of each type that constants have."""
_TYPES = {"float32": onnx.TensorProto.FLOAT, "int64": onnx.TensorProto.INT64, "uint8": onnx.TensorProto.UINT8}
_CASTS = {*_TYPES.values(), onnx.TensorProto.FLOAT16}
_FLATBUFFER = b"ORTM"
_TEXT = 1000
"""Characters of a line that describes something."""


def screen_graph(data: bytes, spec: GraphSpec, role: str) -> list[str]:
    """What in a graph is none of ours, a line each; empty if nothing is.

    Args:
        data: the serialised graph.
        spec: its inputs and outputs, as config.json says.
        role: which graph of the bundle; problems begin with it.

    Returns:
        Lines fit for a terminal, whatever the graph's names are.
    """
    return [f"{role}: {problem}" for problem in _problems(data, spec)]


def _problems(data: bytes, spec: GraphSpec) -> Iterator[str]:
    if len(data) > GRAPH_BYTES:
        yield f"the graph has {len(data)} bytes, more than {GRAPH_BYTES}"
        return
    if data[4:8] == _FLATBUFFER:
        # A graph as well, if that is how its producer's name begins; onnxruntime would read it as its own format.
        yield "the file is marked as onnxruntime's own format"
        return
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        yield "the file is no ONNX graph"
        return
    model.DiscardUnknownFields()
    if not data or model.SerializeToString(deterministic=True) != data:
        yield "the file holds more, or in another way, than an ONNX graph of ours"
        return
    foreign = list(_foreign(model, "the file"))
    yield from foreign
    if foreign:  # the checks below count on what they read
        return
    yield from _versions(model)
    yield from _texts(model)
    yield from _nodes(model.graph)
    yield from _constants(model.graph)
    yield from _signature("inputs", spec.inputs, model.graph.input)
    yield from _signature("outputs", spec.outputs, model.graph.output)


def _foreign(message: Message, where: str) -> Iterator[str]:
    """Fields that our export never sets, wherever they are: data in other files, nested graphs, functions."""
    kind = message.DESCRIPTOR.name
    for field, value in message.ListFields():
        if field.name not in _FIELDS.get(kind, ()):
            yield f"{where} has {kind}.{field.name}, which no graph of ours has"
        elif isinstance(value, Message):
            yield from _foreign(value, where)
        elif not isinstance(value, str | bytes | int | float):
            if len(value) > ENTRIES:
                yield f"{where} has {len(value)} entries in {kind}.{field.name}, more than {ENTRIES}"
                continue
            for item in value:
                if isinstance(item, Message):
                    yield from _foreign(item, _place(item, where))


def _place(message: Message, where: str) -> str:
    """How to call a part of the graph."""
    noun = {"NodeProto": "node", "TensorProto": "constant", "ValueInfoProto": "tensor"}.get(message.DESCRIPTOR.name)
    return where if noun is None else f"{noun} '{shown(getattr(message, 'name', ''))}'"


def _versions(model: Any) -> Iterator[str]:
    if model.ir_version not in IR_VERSIONS:
        yield f"IR version {model.ir_version}, not {_either(IR_VERSIONS)}"
    if not model.HasField("graph"):
        yield "the file has no graph"
    domains = [opset.domain for opset in model.opset_import]
    if domains != [""]:
        yield f"operators of the domains '{shown(', '.join(domains))}', not of the default one alone"
    for opset in model.opset_import:
        if opset.version not in OPSETS:
            yield f"opset {opset.version}, not {_either(OPSETS)}"
    metadata = sum(len(entry.key) + len(entry.value) for entry in model.metadata_props)
    if metadata > METADATA_BYTES:
        yield f"{metadata} characters of metadata, more than {METADATA_BYTES}"
    # A host that has ORT_LOAD_CONFIG_FROM_MODEL set would obey it; all other keys mean nothing to onnxruntime.
    if any(entry.key == "ort_config" for entry in model.metadata_props):
        yield "metadata that configures onnxruntime"


def _texts(model: Any) -> Iterator[str]:
    """Lines for people, which viewers of graphs show: printable, and not a book."""
    tensors = [*model.graph.input, *model.graph.output]
    texts = [model.producer_version, model.doc_string, model.graph.doc_string, *(t.doc_string for t in tensors)]
    for text in texts:
        if len(text) > _TEXT or not text.isprintable():
            yield f"it says '{shown(text)}', not a line of at most {_TEXT} printable characters"


def _nodes(graph: Any) -> Iterator[str]:
    constants = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        where = f"node '{shown(node.name)}'"
        if node.domain:
            yield f"{where} is an operator of the domain '{shown(node.domain)}'"
        elif node.op_type not in OPERATORS:
            yield f"{where} is the operator '{shown(node.op_type)}', which no graph of ours uses"
        for attribute in node.attribute:
            if ATTRIBUTES.get(attribute.name) != attribute.type:
                yield f"{where} has the attribute '{shown(attribute.name)}', which no graph of ours has in this way"
            elif attribute.name == "to" and attribute.i not in _CASTS:
                yield f"{where} casts to the data type {attribute.i}, which no graph of ours has"
        for position in SHAPE_INPUTS.get(node.op_type, ()):
            name = node.input[position] if position < len(node.input) else ""
            if name and name not in constants:
                yield f"{where} takes a shape from '{shown(name)}', which is no constant"
        for position in FIXED_INPUTS.get(node.op_type, ()):
            if position >= len(node.input) or node.input[position] not in constants:
                yield f"{where} has an input {position} that is no constant"


def _constants(graph: Any) -> Iterator[str]:
    inputs = {tensor.name for tensor in graph.input}
    seen: set[str] = set()
    total = 0
    for tensor in graph.initializer:
        where = f"constant '{shown(tensor.name)}'"
        if tensor.name in inputs:
            yield f"{where} stands in place of an input"
        if tensor.name in seen:
            yield f"{where} is there twice"
        seen.add(tensor.name)
        size = _CONSTANTS.get(tensor.data_type)
        dims = list(tensor.dims)
        if size is None:
            yield f"{where} has the data type {tensor.data_type}, which no graph of ours has"
        elif len(dims) > 8 or any(dim < 1 for dim in dims) or math.prod(dims) > TENSOR_ELEMENTS:
            yield f"{where} has a shape out of bounds: {shown(dims)}"
        elif math.prod(dims) * size != len(tensor.raw_data):
            yield f"{where} has {len(tensor.raw_data)} bytes, its shape {shown(dims)} needs {math.prod(dims) * size}"
        else:
            total += math.prod(dims) * max(size, 4)
    if total > GRAPH_BYTES:
        yield f"constants of {total} bytes, more than {GRAPH_BYTES}"


def _signature(kind: str, specs: tuple[TensorSpec, ...], tensors: Any) -> Iterator[str]:
    expected, actual = [spec.name for spec in specs], [tensor.name for tensor in tensors]
    if expected != actual:
        yield f"its {kind} are '{shown(', '.join(actual))}', config.json says '{shown(', '.join(expected))}'"
        return
    for spec, tensor in zip(specs, tensors, strict=True):
        stated = tensor.type.tensor_type
        shape = tuple(dim.dim_value if dim.HasField("dim_value") else dim.dim_param for dim in stated.shape.dim)
        if stated.elem_type != _TYPES.get(spec.dtype) or not stated.HasField("shape") or shape != spec.shape:
            found = f"{shown(stated.elem_type)} {shown(list(shape))}"
            yield f"{shown(spec.name)} is of type {found}, config.json says {shown(spec.dtype)} {shown(spec.shape)}"


def _either(versions: frozenset[int]) -> str:
    return " or ".join(map(str, sorted(versions)))
