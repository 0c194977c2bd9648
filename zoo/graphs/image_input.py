"""Graphs that take their images as float32, for runtimes that know no bytes, as ncnn.

The values are the same whole numbers; the Cast that made floats of bytes is gone.
"""

from __future__ import annotations

from dataclasses import replace

import onnx
from onnx import TensorProto

from pvae_zoo.contract.config import GraphSpec
from pvae_zoo.graphs.rewriting import with_nodes

IMAGE = "image"


def with_float_images(model: onnx.ModelProto, spec: GraphSpec) -> tuple[onnx.ModelProto, GraphSpec]:
    """A copy of a graph whose images are float32, and what it takes and gives; one without images stays as it is."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    for tensor in graph.input:
        if tensor.name == IMAGE:
            tensor.type.tensor_type.elem_type = TensorProto.FLOAT
    cast = {node.output[0] for node in graph.node if node.op_type == "Cast" and _makes_floats(node)}
    kept = [node for node in graph.node if node.output[0] not in cast]
    for node in kept:
        for index, name in enumerate(node.input):
            node.input[index] = IMAGE if name in cast else name
    inputs = tuple(replace(tensor, dtype="float32") if tensor.name == IMAGE else tensor for tensor in spec.inputs)
    return with_nodes(changed, kept), replace(spec, inputs=inputs)


def _makes_floats(node: onnx.NodeProto) -> bool:
    return bool(node.input[0] == IMAGE and node.attribute[0].i == TensorProto.FLOAT)
