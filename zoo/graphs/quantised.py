"""int8: large weights with a scale for each output, and the large products of the step graphs in integers.

A weight ``w[k, n]`` becomes ``q[k, n] s[n]`` with ``s[n] = max_k |w[k, n]| / 127`` and q rounded. Where networks
compute in float32 (the graphs of whole images, small products of steps) a Cast and a Mul, which runtimes fold when they
load, make it float32 again. The large products of steps are computed as

    x[m, k] w[k, n] = s[n] r[m] sum_k p[m, k] q[k, n],    r[m] = max_k |x[m, k]| / 127,    p = round(x / r)

A row of a step has a scale of its own [1]. With one for the whole tensor, as DynamicQuantizeLinear and with it
onnxruntime's ``quantize_dynamic`` have it, the pixels of an image would depend on the images that are drawn beside it.
A fixed one, from calibration, is coarser: of ``lsun`` it costs three times the bits.

Both factors of MatMulInteger are unsigned with 128 for zero: a signed one saturates in the 16 bits of the x86
processors before VNNI, and pixels would depend on the processor.

The first layer, the one before the logits and the logits themselves keep their weights: they are small, and of ``lsun``
they cost as much as all else together.

References:
    [1] LLM.int8() (Dettmers et al., 2022), arXiv 2208.07339, section 2: a scale for each row and each column
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from pvae_zoo.graphs.rewriting import LARGE, Rewriting, products, widened

KEPT = ("input", "head", "output")
"""The layers that keep their weights."""

IN_INTEGERS = 1 << 14
"""Elements of a weight from which its product in integers makes up for the rounding of the rows."""

_TOP = 127
_ZERO = 128
_LEAST = 1e-20
"""In place of the largest value of a row of zeros, whose inverse would be infinite."""


def as_int8(model: onnx.ModelProto, role: str) -> onnx.ModelProto:
    """Large weights as int8, of a step graph (``role`` ends in "_step") the large products too."""
    return _Quantising(widened(model), role.endswith("_step")).run()


class _Quantising:
    def __init__(self, model: onnx.ModelProto, steps: bool) -> None:
        self.model, self.new, self.steps = model, Rewriting(model), steps
        self.rows: dict[str, tuple[str, str]] = {}
        self.floats: dict[str, str] = {}

    def run(self) -> onnx.ModelProto:
        chosen = {node.output[0]: weight for node, weight in products(self.model) if self._is_worth_it(weight)}
        for node in list(self.model.graph.node):
            weight = chosen.get(node.output[0])
            if weight is None:
                self.new.nodes.append(node)
            elif self.steps and np.prod(weight.dims) >= IN_INTEGERS and not node.attribute:
                self._in_integers(node, weight)
            else:
                node.input[1] = self._as_float(weight, node.op_type)
                self.new.nodes.append(node)
        return self.new.finished()

    def _is_worth_it(self, weight: onnx.TensorProto) -> bool:
        return np.prod(weight.dims) >= LARGE and weight.name.split(".")[0] not in KEPT

    def _as_float(self, weight: onnx.TensorProto, kind: str) -> str:
        """The weight as float32, from int8 and a scale for each output."""
        if weight.name not in self.floats:
            quantised, scale = rounded(numpy_helper.to_array(weight), (1, 2, 3) if kind == "Conv" else (-2,))
            stored = self.new.constant(f"{weight.name}.int8", quantised)
            cast = self.new.op("Cast", [stored], f"{weight.name}.cast", to=TensorProto.FLOAT)
            scales = self.new.constant(f"{weight.name}.scale", scale)
            self.floats[weight.name] = self.new.op("Mul", [cast, scales], f"{weight.name}.float32")
        return self.floats[weight.name]

    def _in_integers(self, node: onnx.NodeProto, weight: onnx.TensorProto) -> None:
        """Gemm or MatMul as MatMulInteger, the scales of rows and outputs, and what was added."""
        new, output = self.new, node.output[0]
        quantised, scale = rounded(numpy_helper.to_array(weight), (-2,))
        row, row_scale = self._row(node.input[0])
        unsigned = new.constant(f"{weight.name}.uint8", (quantised.astype(np.int16) + _ZERO).astype(np.uint8))
        sums = new.op("MatMulInteger", [row, unsigned, self.zero, self.zero], f"{output}.integers")
        scaled = new.op(
            "Mul", [new.op("Cast", [sums], f"{output}.sums", to=TensorProto.FLOAT), row_scale], f"{output}.rows"
        )
        scales = new.constant(f"{weight.name}.scale", scale)
        added = list(node.input[2:])
        product = new.op("Mul", [scaled, scales], f"{output}.product" if added else output)
        if added:
            new.op("Add", [product, added[0]], output)

    @property
    def zero(self) -> str:
        return self.new.constant("zero_point", np.array(_ZERO, np.uint8))

    def _row(self, tensor: str) -> tuple[str, str]:
        """The rows of a tensor ``(…, K)`` as uint8 around 128, and their scales ``(…, 1)``, made once."""
        if tensor not in self.rows:
            new = self.new
            top = new.constant("top", np.array(_TOP, np.float32))
            least = new.op("Neg", [new.largest("ReduceMin", tensor, f"{tensor}.least")], f"{tensor}.below")
            most = new.largest("ReduceMax", tensor, f"{tensor}.most")
            limits = [most, least, new.constant("least_size", np.array(_LEAST, np.float32))]
            size = new.op("Max", limits, f"{tensor}.size")
            scaled = new.op("Mul", [tensor, new.op("Div", [top, size], f"{tensor}.inverse")], f"{tensor}.scaled")
            points = [
                new.constant("unit", np.array(1, np.float32)),
                new.constant("zero_point", np.array(_ZERO, np.uint8)),
            ]
            row = new.op("QuantizeLinear", [scaled, *points], f"{tensor}.uint8")
            self.rows[tensor] = row, new.op("Div", [size, top], f"{tensor}.scale")
        return self.rows[tensor]


def rounded(weight: NDArray[np.float32], axes: tuple[int, ...]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """A weight as int8 in -127..127 and its scales, one for all that lies along ``axes``: ``weight`` is about q s."""
    largest = np.abs(weight).max(axis=axes, keepdims=True)
    scale = np.where(largest > 0, largest / _TOP, 1).astype(np.float32)
    quantised: NDArray[np.int8] = np.rint(weight / scale).astype(np.int8)
    return quantised, scale
