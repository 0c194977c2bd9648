"""Weights stored otherwise, arithmetic in float32: as float32, or as float16 behind a Cast as the exporter does it."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.graphs.rewriting import LARGE, Rewriting, widened


def as_float32(model: onnx.ModelProto) -> onnx.ModelProto:
    """Every constant as float32, none behind a Cast: the same outputs to the last bit."""
    return widened(model)


def as_float16_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Large constants rounded to float16, each with a Cast to float32 that runtimes fold when they load.

    The weights of the logits are left alone if rounding would change them: they are made of cosines
    (``export/logits.py``).

    Raises:
        PvaeZooError: if a weight is too large for float16, which ends at 65,504.
    """
    return with_halves(widened(model))


def with_halves(wide: onnx.ModelProto) -> onnx.ModelProto:
    """The large float32 constants of a graph as float16 behind a Cast; what is float16 already stays so."""
    new = Rewriting(wide)
    casts = {}
    for tensor in list(wide.graph.initializer):
        value = numpy_helper.to_array(tensor)
        if value.dtype != np.float32 or value.size < LARGE:
            continue
        with np.errstate(over="ignore"):
            half = value.astype(np.float16)
        if not np.isfinite(half).all():
            raise PvaeZooError(f"the weight {tensor.name} of {wide.graph.name} is beyond what float16 holds")
        if tensor.name.startswith("output.") and not np.array_equal(half.astype(np.float32), value):
            continue
        tensor.CopyFrom(numpy_helper.from_array(half, tensor.name))
        casts[tensor.name] = new.op("Cast", [tensor.name], f"{tensor.name}.float32", to=TensorProto.FLOAT)
    for node in wide.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = casts.get(name, name)
        new.nodes.append(node)
    return new.finished()
