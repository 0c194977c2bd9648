"""A single-step graph grown so that a device can go from step to step by itself.

The published graph takes the inputs of one step. Grown, it takes those of all steps, each a table ``(R, ...)`` in the
order of a `pvae_zoo.runtime.plan.Plan`, and a cursor: the row at which the next step begins.

    rows of this step = cursor + lanes      lanes are 0, 1, 2 ..., as many as the step has rows
    positions, uniforms ... = their tables at these rows
    ... the published graph ...
    tables of what was drawn = the same, with what was drawn at these rows
    cursor_next = the first of these rows + advance

Cursor, canvases and the tables of what was drawn are inputs and outputs, to be bound to the same memory: a step writes
them in place. Nothing that is written may be read by another node of the run afterwards. The next cursor is made from
the rows, so it is written after the only node that reads the cursor. No node reads the tables of what was drawn. And of
the canvases no step reads a position that it writes (`pvae_zoo.runtime.wavefront`).

So a step with an advance of 0 may be repeated: it reads what it read before and writes what it wrote before. Capturing
a CUDA graph needs that, for onnxruntime runs a graph several times when it captures it.

Every node that is added has a kernel on CUDA at opset 13, for the types that it has here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto, ValueInfoProto

CURSOR, LANES, ADVANCE, WANTED = "cursor", "lanes", "advance", "wanted"
_ROWS, _COLUMN, _FIRST, _ZERO, _ONE = "table.rows", "table.column", "table.first", "table.zero", "table.one"


def table_of(name: str) -> str:
    """The table of a step's input or output."""
    return f"{name}_table"


def next_of(name: str) -> str:
    """The output that is written to the memory of an input."""
    return f"{name}_next"


def with_tables(model: bytes, wanted: bool = False) -> bytes:
    """A step graph with tables.

    Args:
        model: a published step graph; its inputs and outputs of shape ``(M, ...)`` become tables.
        wanted: whether there is one more table: of what stands where the step would draw its first output, NaN where it
            draws. The prior's step has that: its z1 goes to the canvas as it is.

    Returns:
        The grown graph, with the metadata of the published one.
    """
    import onnx

    grown = onnx.load_model_from_string(model)
    graph = grown.graph
    if wanted:
        _want(graph)
    inputs = [value for value in graph.input if _each_position(value)]
    outputs = [value for value in graph.output if _each_position(value)]
    published = list(graph.node)
    del graph.node[:]
    graph.node.extend([*_reading(inputs), *published, *_writing(outputs)])
    for name, constant in ((_ZERO, 0), (_ONE, 1)):
        graph.initializer.append(onnx.numpy_helper.from_array(np.array([constant], np.int64), name))
    _declare(graph, inputs, outputs)
    onnx.checker.check_model(grown)
    serialised: bytes = grown.SerializeToString()
    return serialised


def _each_position(value: ValueInfoProto) -> bool:
    shape = value.type.tensor_type.shape.dim
    return len(shape) > 0 and shape[0].dim_param == "M"


def _want(graph: GraphProto) -> None:
    """Put the wanted values in the place of the first output, for all that reads it."""
    import onnx

    name = graph.output[0].name
    index = next(index for index, node in enumerate(graph.node) if name in node.output)
    made = graph.node[index]
    made.output[list(made.output).index(name)] = f"{name}_drawn"
    free = onnx.helper.make_node("IsNaN", [WANTED], [f"{WANTED}_free"])
    chosen = onnx.helper.make_node("Where", [f"{WANTED}_free", f"{name}_drawn", WANTED], [name])
    graph.node.insert(index + 1, chosen)
    graph.node.insert(index + 1, free)
    described = graph.input.add()
    described.CopyFrom(graph.output[0])
    described.name = WANTED


def _reading(inputs: Sequence[ValueInfoProto]) -> list[NodeProto]:
    """The rows of this step, and the published inputs at them."""
    from onnx.helper import make_node

    gathers = [make_node("Gather", [table_of(value.name), _ROWS], [value.name], axis=0) for value in inputs]
    return [make_node("Add", [CURSOR, LANES], [_ROWS]), *gathers]


def _writing(outputs: Sequence[ValueInfoProto]) -> list[NodeProto]:
    """What was drawn, to its tables; and the next cursor."""
    from onnx.helper import make_node

    tables = [(table_of(value.name), value.name) for value in outputs]
    return [
        make_node("Unsqueeze", [_ROWS, _ONE], [_COLUMN]),
        *(make_node("ScatterND", [table, _COLUMN, drawn], [next_of(table)]) for table, drawn in tables),
        make_node("Gather", [_ROWS, _ZERO], [_FIRST], axis=0),
        make_node("Add", [_FIRST, ADVANCE], [next_of(CURSOR)]),
    ]


def _declare(graph: GraphProto, inputs: Sequence[ValueInfoProto], outputs: Sequence[ValueInfoProto]) -> None:
    """Tables in the place of what had a row for each position of a step, and what the cursor needs."""
    from onnx import TensorProto
    from onnx.helper import make_tensor_value_info

    def tables(values: Sequence[ValueInfoProto], name: str = "{}") -> list[ValueInfoProto]:
        described = []
        for value in values:
            tensor = value.type.tensor_type
            shape = ["R", *(size.dim_value for size in tensor.shape.dim[1:])]
            described.append(make_tensor_value_info(name.format(table_of(value.name)), tensor.elem_type, shape))
        return described

    def counts(name: str, size: int | str = 1) -> ValueInfoProto:
        return make_tensor_value_info(name, TensorProto.INT64, [size])

    kept = [value for value in graph.input if not _each_position(value)]
    carried = [value for value in graph.output if not _each_position(value)]
    new_inputs = [counts(CURSOR), counts(LANES, "M"), counts(ADVANCE), *tables(inputs), *tables(outputs)]
    new_outputs = [counts(next_of(CURSOR)), *tables(outputs, next_of("{}"))]
    del graph.input[:], graph.output[:]
    graph.input.extend([*kept, *new_inputs])
    graph.output.extend([*carried, *new_outputs])
