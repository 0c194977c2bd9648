"""A graph that draws all values of images at once from what the images are: grown from ``decoder.onnx`` when it runs.

The teacher-forced decoder computes the logits of every value given the values before it, and its output says no more
than the log-probability of the values that it was given. What comes after its logits is cut off, and in its place every
value is drawn as the single-step graph draws it (`pvae_zoo.graphs.drawing`).
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

import onnx
from onnx import TensorProto, helper

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.graphs.builder import GraphBuilder
from pvae_zoo.graphs.drawing import Drawing
from pvae_zoo.graphs.rewriting import parsed

IMAGE, CONTEXT = "image", "context"
_AFTER_BINARY = ("Neg", "Max", "Min", "Softplus")
"""What stands between the logits times their sign and the log-probability of a binary value."""


def fixed_point_graph(decoder: bytes, image: ImageShape, name: str) -> bytes:
    """The graph of one pass.

    Inputs: ``image`` ``(N, C, H, W)`` and ``context`` as the decoder has them, ``uniforms`` float32 ``(N, C, H, W)``
    in [0, 1), ``given`` int64 ``(N, C, H, W)`` with values to keep and -1 where to draw, ``temperature`` float32
    ``(1,)``. Outputs: ``next_image``, of the type of ``image``, and ``changed``, int64 ``(N,)``: how many values of an
    image are others than before.

    Args:
        decoder: the bytes of ``decoder.onnx``, of any precision.
        image: shape and levels of its images.
        name: of the bundle, for errors.

    Raises:
        PvaeZooError: if the logits cannot be found in it.
    """
    model = parsed(decoder, f"{name}: decoder.onnx")
    logits = _logits(model, image, name)
    taken = {tensor.name: tensor for tensor in model.graph.input}
    drawing = _drawing(logits, image, taken[IMAGE].type.tensor_type.elem_type)
    nodes = [*_leading_to(model.graph.node, logits), *drawing.graph.node]
    used = {tensor for node in nodes for tensor in node.input}
    constants = [tensor for part in (model, drawing) for tensor in part.graph.initializer if tensor.name in used]
    inputs = [taken[IMAGE], taken[CONTEXT]]
    inputs += [tensor for tensor in drawing.graph.input if tensor.name not in (IMAGE, logits)]
    graph = helper.make_graph(nodes, "fixed_point", inputs, list(drawing.graph.output), constants)
    grown = helper.make_model(graph, opset_imports=list(model.opset_import), ir_version=model.ir_version)
    data: bytes = grown.SerializeToString()
    return data


def numbers_per_image(graph: bytes) -> int:
    """Numbers of the largest tensor of a graph, for one image."""
    tensors = onnx.shape_inference.infer_shapes(onnx.load_from_string(graph)).graph.value_info
    return max(prod(int(size.dim_value) for size in tensor.type.tensor_type.shape.dim[1:]) for tensor in tensors)


def _drawing(logits: str, image: ImageShape, image_type: int) -> onnx.ModelProto:
    """What is put behind the logits: its nodes and constants have names that no graph of ours has."""
    b = GraphBuilder("drawing", "Draws every value of an image from its logits")
    c, levels, size = image.channels, image.levels, (image.height, image.width)
    per_value = [levels] if levels > 2 else []
    b.input(logits, "float32", ["N", c, *per_value, *size])
    b.input(IMAGE, "float32" if image_type == TensorProto.FLOAT else "uint8", ["N", *image.chw])
    for name, kind in (("uniforms", "float32"), ("given", "int64")):
        b.input(name, kind, ["N", *image.chw])
    b.input("temperature", "float32", [1])
    by_value = b.op("Transpose", logits, perm=[0, 1, 3, 4, 2]) if levels > 2 else logits
    uniforms, given = (b.op("Reshape", tensor, b.ints(-1, 1)) for tensor in ("uniforms", "given"))
    drawing = Drawing(b, levels, 1, uniforms, given, "temperature")
    drawn = drawing.value(0, b.op("Reshape", by_value, b.ints(-1, image.logits_per_value)))
    values = b.op("Reshape", drawn, b.ints(-1, *image.chw))
    before = b.op("Cast", IMAGE, to=TensorProto.INT64)
    differs = b.op("Cast", b.op("Not", b.op("Equal", values, before)), to=TensorProto.FLOAT)  # exact up to 2^24
    count = b.op("ReduceSum", differs, b.ints(1, 2, 3), keepdims=0)
    b.output(b.op("Cast", values, to=image_type), "next_image", b.inputs[1].dtype, ["N", *image.chw])
    b.output(b.op("Cast", count, to=TensorProto.INT64), "changed", "int64", ["N"])
    return onnx.compose.add_prefix(b.build({}), "draw.", rename_inputs=False, rename_outputs=False)


def _logits(model: onnx.ModelProto, image: ImageShape, name: str) -> str:
    """The tensor of the logits, float32: ``(N, C, H, W)`` of binary images, ``(N, C, levels, H, W)`` of others.

    Raises:
        PvaeZooError: if there is none, or none that is certain.
    """
    found = _of_binary(model) if image.levels == 2 else _of_softmax(model)
    wanted = [image.channels, *([image.levels] if image.levels > 2 else []), image.height, image.width]
    if found is None or _shape(model, found) != (TensorProto.FLOAT, wanted):
        raise PvaeZooError(
            f"{name}: the logits cannot be found in decoder.onnx, so it cannot draw by a fixed point: "
            "choose --order wavefront, or export the bundle again"
        )
    return found


def _of_softmax(model: onnx.ModelProto) -> str | None:
    """What the largest is subtracted of: the input of the one ReduceMax."""
    largest = [node.input[0] for node in model.graph.node if node.op_type == "ReduceMax"]
    return str(largest[0]) if len(largest) == 1 else None


def _of_binary(model: onnx.ModelProto) -> str | None:
    """The factor of the product behind ``log_prob`` = -softplus(sign x logits) that depends on the context."""
    makers = {output: node for node in model.graph.node for output in node.output}
    seen = _depending_on(model.graph.node, CONTEXT)
    here: str = model.graph.output[0].name
    while here in makers:
        node = makers[here]
        following = [str(tensor) for tensor in node.input if tensor in seen]
        if not following or node.op_type not in (*_AFTER_BINARY, "Mul"):
            return None
        if node.op_type == "Mul":
            return following[0] if len(following) == 1 else None
        here = following[0]
    return None


def _shape(model: onnx.ModelProto, tensor: str) -> tuple[int, list[int]] | None:
    """Type and shape of a tensor, but for its first axis."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    for known in graph.value_info:
        if known.name == tensor:
            inferred = known.type.tensor_type
            return inferred.elem_type, [size.dim_value for size in inferred.shape.dim][1:]
    return None


def _leading_to(nodes: Iterable[onnx.NodeProto], tensor: str) -> list[onnx.NodeProto]:
    """The nodes that a tensor is made by, in their order."""
    wanted, kept = {tensor}, []
    for node in reversed(list(nodes)):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    return kept[::-1]


def _depending_on(nodes: Iterable[onnx.NodeProto], tensor: str) -> set[str]:
    """The names of a tensor and of all that is made of it."""
    found = {tensor}
    for node in nodes:
        if found.intersection(node.input):
            found.update(node.output)
    return found
