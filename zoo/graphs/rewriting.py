"""What every conversion does with a graph: find its weights, put other nodes in place of some, check what came of it.

The exporter calls the weights of a network ``LAYER.….weight``; a graph's other constants are called otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from pvae_zoo.base.errors import PvaeZooError

LARGE = 1024
"""Elements from which a weight is worth other numbers."""
_PRODUCTS = ("Conv", "Gemm", "MatMul")
_WEIGHT = ".weight"


def parsed(data: bytes, where: str) -> onnx.ModelProto:
    """A graph from its bytes.

    Raises:
        PvaeZooError: if they are none.
    """
    try:
        return onnx.load_from_string(data)
    except DecodeError as error:
        raise PvaeZooError(f"{where} is no graph: pull or export the bundle again") from error


def widened(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose float16 constants are float32, without the Casts behind them: the same numbers."""
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    graph = wide.graph
    halves = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT16}
    cast = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Cast" and node.input[0] in halves}
    kept = [node for node in graph.node if node.output[0] not in cast]
    for node in kept:
        for index, name in enumerate(node.input):
            node.input[index] = cast.get(name, name)
    for tensor in halves.values():
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    return with_nodes(wide, kept)


def products(model: onnx.ModelProto) -> Iterator[tuple[onnx.NodeProto, onnx.TensorProto]]:
    """The nodes that multiply by a weight of a network, each with the weight."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer if tensor.name.endswith(_WEIGHT)}
    for node in model.graph.node:
        if node.op_type in _PRODUCTS and node.input[1] in weights:
            yield node, weights[node.input[1]]


def with_nodes(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> onnx.ModelProto:
    """The same model with other nodes; constants that none of them uses are gone."""
    graph = model.graph
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]  # some are the graph's own
    used = {name for node in copies for name in node.input}
    tensors = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.node[:]
    graph.node.extend(copies)
    tensors = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in tensors]
    del graph.initializer[:]
    graph.initializer.extend(tensors)
    return model


class Rewriting:
    """New nodes and constants of a graph whose nodes are gone through in their order.

    Args:
        model: constants are added to it as they are needed.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.nodes: list[onnx.NodeProto] = []
        self.opset = model.opset_import[0].version
        self._constants = {tensor.name for tensor in model.graph.initializer}

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """A constant of this name, made at its first use."""
        if name not in self._constants:
            self._constants.add(name)
            self.model.graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def op(self, kind: str, inputs: list[str], output: str, called: str | None = None, **attributes: Any) -> str:
        """A node with one output, called like it if not otherwise."""
        self.nodes.append(helper.make_node(kind, inputs, [output], name=called or output, **attributes))
        return output

    def largest(self, kind: str, tensor: str, output: str) -> str:
        """ReduceMax or ReduceMin over the last axis, which stays; its axes were an attribute before opset 18."""
        if self.opset < 18:
            return self.op(kind, [tensor], output, axes=[-1], keepdims=1)
        return self.op(kind, [tensor, self.constant("last_axis", np.array([-1], np.int64))], output, keepdims=1)

    def finished(self) -> onnx.ModelProto:
        """The model with the new nodes."""
        return with_nodes(self.model, self.nodes)


def checked(model: onnx.ModelProto, where: str) -> bytes:
    """The bytes of a graph that holds, in the one form that bundles have.

    Raises:
        PvaeZooError: if it does not, which a graph of ours does.
    """
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        line = (str(error).splitlines() or ["it does not hold"])[0]
        raise PvaeZooError(f"{where} is not as pvae-zoo exports graphs, and cannot be converted: {line}") from error
    data: bytes = model.SerializeToString(deterministic=True)
    return data
