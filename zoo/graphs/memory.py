"""What a run of a graph takes of a device's memory, read off the shapes of its tensors."""

from __future__ import annotations

import math

import onnx
from onnx import helper


def bytes_a_row(model: onnx.ModelProto) -> int:
    """Bytes that the tensors of a run take at most at once, for one row in every input.

    A tensor is there from the node that makes it to the last one that reads it, inputs and outputs all the time;
    constants, which any number of rows share, are not counted. What a runtime adds (work space of convolutions, pieces
    of memory that fit nothing) is not in it.

    Raises:
        ValueError: if the shape of a tensor depends on more than the shapes of the inputs.
    """
    graph = _of_one_row(model).graph
    sizes = {tensor.name: _bytes(tensor) for tensor in [*graph.input, *graph.value_info, *graph.output]}
    constants = {tensor.name for tensor in graph.initializer}
    always = {tensor.name for tensor in [*graph.input, *graph.output]}
    last = {name: number for number, node in enumerate(graph.node) for name in [*node.output, *node.input]}
    there = most = sum(sizes[name] for name in always)
    for number, node in enumerate(graph.node):
        there += sum(_size(sizes, name) for name in node.output if name and name not in always)
        most = max(most, there)
        done = {name for name in [*node.input, *node.output] if name and last[name] == number}
        there -= sum(_size(sizes, name) for name in done - always - constants)
    return most


def _of_one_row(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the shapes of all its tensors, each input with one row."""
    one = onnx.ModelProto()
    one.CopyFrom(model)
    del one.graph.value_info[:]
    for tensor in one.graph.input:
        tensor.type.tensor_type.shape.dim[0].Clear()
        tensor.type.tensor_type.shape.dim[0].dim_value = 1
    for tensor in one.graph.output:
        tensor.type.tensor_type.shape.Clear()
        tensor.type.tensor_type.ClearField("shape")
    inferred: onnx.ModelProto = onnx.shape_inference.infer_shapes(one, data_prop=True)
    return inferred


def _bytes(tensor: onnx.ValueInfoProto) -> int:
    kind = tensor.type.tensor_type
    dims = [dim.dim_value if dim.HasField("dim_value") else 0 for dim in kind.shape.dim]
    if not kind.HasField("shape") or 0 in dims:
        raise ValueError(f"the shape of {tensor.name} is not known")
    return math.prod(dims) * int(helper.tensor_dtype_to_np_dtype(kind.elem_type).itemsize)


def _size(sizes: dict[str, int], name: str) -> int:
    if name not in sizes:
        raise ValueError(f"the shape of {name} is not known")
    return sizes[name]
