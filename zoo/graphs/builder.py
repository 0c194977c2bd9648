"""Building ONNX graphs by hand: few, fat, portable nodes with names that say what they are.

Opset 13, IR 8 and default-domain operators only: what every runtime that was measured gets right. There is no Loop, no
If, no random operator and no external data; the loop over pixels and all noise belong to the host.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from pvae_zoo import __version__
from pvae_zoo.contract.config import TensorSpec

OPSET = 13
IR_VERSION = 8
HALF_FROM = 1024
"""Elements from which a weight is worth a Cast."""
CONSTANTS = ("ints_", "scalar_", "doubling", "classes", "cumulate.")
"""How the names of constants begin that are no weights of a network."""
_TYPES = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64, "uint8": TensorProto.UINT8}


class GraphBuilder:
    """Collects nodes and weights; every method returns the name of a tensor."""

    def __init__(self, name: str, doc: str) -> None:
        self.name, self.doc = name, doc
        self._nodes: list[onnx.NodeProto] = []
        self._weights: dict[str, onnx.TensorProto] = {}
        self.inputs: list[TensorSpec] = []
        self.outputs: list[TensorSpec] = []
        self._count = 0

    def input(self, name: str, dtype: str, shape: Sequence[int | str]) -> str:
        self.inputs.append(TensorSpec(name=name, dtype=dtype, shape=tuple(shape)))
        return name

    def output(self, tensor: str, name: str, dtype: str, shape: Sequence[int | str]) -> None:
        """Publish ``tensor`` under ``name``, by renaming the output of the node that makes it."""
        for node in self._nodes:
            if tensor in node.output:
                node.output[list(node.output).index(tensor)] = name
            for index, used in enumerate(node.input):
                if used == tensor:
                    node.input[index] = name
        self.outputs.append(TensorSpec(name=name, dtype=dtype, shape=tuple(shape)))

    def weight(self, name: str, value: NDArray[Any]) -> str:
        """A constant; float64 becomes float32. The same name twice is an error.

        Large weights that float16 holds exactly are stored so, with a Cast that runtimes fold when they load: half the
        file, the same numbers.
        """
        if name in self._weights:
            raise ValueError(f"the graph {self.name} has two weights called {name}")
        array = np.ascontiguousarray(value, np.float32) if value.dtype.kind == "f" else np.ascontiguousarray(value)
        half = as_half(array)
        self._weights[name] = numpy_helper.from_array(array if half is None else half, name)
        return name if half is None else self.op("Cast", name, to=TensorProto.FLOAT)

    def shared(self, name: str, value: NDArray[Any]) -> str:
        """A small constant under a name that says its value, made at its first use."""
        return name if name in self._weights else self.weight(name, value)

    def ints(self, *values: int) -> str:
        """An int64 vector, shared between its uses."""
        return self.shared("ints_" + "_".join(str(v).replace("-", "m") for v in values), np.array(values, np.int64))

    def scalar(self, value: float) -> str:
        """A float32 scalar, shared between its uses."""
        return self.shared(f"scalar_{value!r}", np.array(value, np.float32))

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """One node with one output."""
        return self.ops(kind, *inputs, outputs=1, **attributes)[0]

    def ops(self, kind: str, *inputs: str, outputs: int, **attributes: Any) -> list[str]:
        """One node with several outputs."""
        self._count += 1
        stem = f"{kind.lower()}_{self._count}"
        names = [stem] if outputs == 1 else [f"{stem}_{index}" for index in range(outputs)]
        self._nodes.append(helper.make_node(kind, list(inputs), names, name=stem, **attributes))
        return names

    def split(self, tensor: str, sizes: Sequence[int], axis: int = 1) -> list[str]:
        if len(sizes) == 1:
            return [tensor]
        return self.ops("Split", tensor, self.ints(*sizes), outputs=len(sizes), axis=axis)

    def concat(self, tensors: Sequence[str], axis: int = 1) -> str:
        return tensors[0] if len(tensors) == 1 else self.op("Concat", *tensors, axis=axis)

    def reduce_max(self, tensor: str, axis: int, keepdims: int = 1) -> str:
        """The largest along an axis, which stays as one of size 1 unless ``keepdims`` is 0."""
        return self.op("ReduceMax", tensor, axes=[axis], keepdims=keepdims)

    def reduce_sum(self, tensor: str, axis: int, keepdims: int = 1) -> str:
        """The sum along an axis, which stays as one of size 1 unless ``keepdims`` is 0."""
        return self.op("ReduceSum", tensor, self.ints(axis), keepdims=keepdims)

    def elu(self, tensor: str) -> str:
        return self.op("Elu", tensor)

    def tanh(self, tensor: str) -> str:
        """tanh(x), which is 1 or -1 to the last bit from 10 on: OpenCV gives no number at 50 when left alone."""
        return self.op("Tanh", self.op("Clip", tensor, self.scalar(-20.0), self.scalar(20.0)))

    def softplus(self, tensor: str) -> str:
        """log(1 + exp(x)), which is x to the last bit from 30 on: tract and OpenCV overflow at 89 when left alone."""
        limited = self.op("Softplus", self.op("Min", tensor, self.scalar(30.0)))
        return self.op("Max", tensor, limited)

    def linear(self, tensor: str, name: str, weight: NDArray[Any], addend: NDArray[Any] | str) -> str:
        """``tensor @ weight + addend`` with ``weight`` ``(in, out)`` and a bias ``(out,)`` or a tensor ``(M, out)``."""
        if not isinstance(addend, str):
            addend = self.weight(f"{name}.bias", addend)
        return self.op("Gemm", tensor, self.weight(f"{name}.weight", weight), addend)

    def scaled(self, values: str, levels: int) -> str:
        """Integers ``0 .. levels - 1`` to floats in -1..1."""
        floats = self.op("Cast", values, to=TensorProto.FLOAT)
        return self.op("Sub", self.op("Mul", floats, self.scalar(2.0 / (levels - 1))), self.scalar(1.0))

    def build(
        self, metadata: Mapping[str, str], words: Mapping[str, str] | None = None, version: int = 0
    ) -> onnx.ModelProto:
        """The checked model.

        Args:
            metadata: goes into its ``metadata_props``.
            words: what each input and output is, by name, for its ``doc_string``; None for a graph that nobody keeps.
            version: of the weights; those that were trained for longer have a larger one.

        Raises:
            ValueError: if there are words, but none for some input or output.
        """
        graph = helper.make_graph(
            self._nodes,
            self.name,
            [self._described(spec, words) for spec in self.inputs],
            [self._described(spec, words) for spec in self.outputs],
            list(self._weights.values()),
            doc_string=self.doc,
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="pvae-zoo",
            producer_version=__version__,
            model_version=version,
            doc_string=self.doc,
        )
        helper.set_model_props(model, dict(metadata))
        onnx.checker.check_model(model, full_check=True)
        return model

    def _described(self, spec: TensorSpec, words: Mapping[str, str] | None) -> onnx.ValueInfoProto:
        try:
            doc = "" if words is None else words[spec.name]
        except KeyError:
            raise ValueError(f"nothing says what {spec.name} of the graph {self.name} is") from None
        return helper.make_tensor_value_info(spec.name, _TYPES[spec.dtype], spec.shape, doc_string=doc)


def as_half(array: NDArray[Any]) -> NDArray[np.float16] | None:
    """The array as float16, if it is large and nothing is lost: so it is stored."""
    if array.dtype != np.float32 or array.size < HALF_FROM:
        return None
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    return half if np.array_equal(half.astype(np.float32), array) else None
