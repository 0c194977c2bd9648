"""float16: the arithmetic of the networks in half precision, for processors that have it.

Inputs and outputs stay float32, and so do the canvases, the last products and all that comes after them: the logits of
a softmax over 256 values reach hundreds, where float16 has steps of a quarter, and uniforms near 1 would round to it.
A node computes in float16 if what it gives comes, as real numbers all the way, to a later product by a weight; what
picks or writes rows (Gather, ScatterND) and what makes numbers of integers stays as it is.

onnxruntime's ``convert_float_to_float16`` is not used: told to leave these nodes alone it puts Casts behind the nodes
that need them (onnxruntime 1.32), and the graph is none that onnx's checker accepts.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.graphs.rewriting import Rewriting, products, widened
from pvae_zoo.graphs.stored import with_halves

_STAY = ("Cast", "Gather", "GatherND", "ScatterND")


def as_float16(model: onnx.ModelProto) -> onnx.ModelProto:
    """The network in float16, a Cast wherever it begins and ends; what computes in float32 has weights of float16 too.

    Raises:
        PvaeZooError: if a weight is too large for float16, which ends at 65,504.
    """
    return with_halves(_Halving(widened(model)).run())


class _Halving:
    def __init__(self, model: onnx.ModelProto) -> None:
        self.model, self.new = model, Rewriting(model)
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.reals = _reals(model)
        self.halves: dict[str, str] = {}
        """The float16 tensor of each float32 one that has one."""

    def run(self) -> onnx.ModelProto:
        leading = _leading(self.model, self.reals)
        pending: dict[str, str] = {}  # float16 tensors whose float32 one nobody has asked for yet
        for node in list(self.model.graph.node):
            if node.output[0] not in leading or node.op_type in _STAY:
                for name in dict.fromkeys(node.input):
                    self._restore(name, pending)
                self.new.nodes.append(node)
                continue
            data = len(node.input) if node.op_type != "Resize" else 1  # its scales are float32 always
            for index in range(data):
                if node.input[index] in self.reals:
                    node.input[index] = self._half(node.input[index])
            for index, name in enumerate(node.output):
                if name in self.reals:
                    node.output[index] = pending[name] = self.halves[name] = f"{name}.float16"
            self.new.nodes.append(node)
        for output in self.model.graph.output:
            self._restore(output.name, pending)
        return self.new.finished()

    def _half(self, name: str) -> str:
        if name not in self.halves:
            if name in self.constants:
                with np.errstate(over="ignore"):
                    value = numpy_helper.to_array(self.constants[name]).astype(np.float16)
                if not np.isfinite(value).all():
                    raise PvaeZooError(f"{name} of {self.model.graph.name} is beyond what float16 holds")
                self.halves[name] = self.new.constant(f"{name}.float16", value)
            else:
                self.halves[name] = self.new.op("Cast", [name], f"{name}.float16", to=TensorProto.FLOAT16)
        return self.halves[name]

    def _restore(self, name: str, pending: dict[str, str]) -> None:
        """Make a tensor float32 again where it has become float16."""
        if name in pending:
            self.new.op("Cast", [pending.pop(name)], name, called=f"{name}.float32", to=TensorProto.FLOAT)


def _reals(model: onnx.ModelProto) -> set[str]:
    """Names of all float32 tensors of a graph."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    tensors = [*graph.value_info, *graph.input, *graph.output]
    found = {tensor.name for tensor in tensors if tensor.type.tensor_type.elem_type == TensorProto.FLOAT}
    return found | {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}


def _leading(model: onnx.ModelProto, reals: set[str]) -> set[str]:
    """First outputs of the nodes from which real numbers lead to a product by a weight."""
    multiplying = {node.output[0] for node, _ in products(model)}
    wanted: set[str] = set()
    leading: set[str] = set()
    for node in reversed(model.graph.node):
        leads = any(name in wanted for name in node.output)
        if leads:
            leading.add(node.output[0])
        if leads or node.output[0] in multiplying:
            wanted.update(name for name in node.input if name in reals)
    return leading
