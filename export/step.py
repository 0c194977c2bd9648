"""The single-step decoder: the pixels at any set of positions, given finished neighbours.

Every layer's features live in a canvas, one row a padded pixel (see `pvae_zoo.bundle.Geometry`). A step gathers the
neighbours of its positions, computes the new features, draws the values and writes both back. With one position an
image it is the raster sampler, with a wavefront the fast one; the graph is the same.

What the neighbours contribute is known before the step begins, for all image channels at once: one Gather and one Gemm
a layer. What remains for each channel in turn (R, then G given R, then B given R and G) are small products of the
centre tap. A step never reads a position that it writes, so a canvas may be bound as input and output at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from pvae_zoo.bundle import CanvasSpec, Geometry
from pvae_zoo.export.graph import GraphBuilder
from pvae_zoo.export.whole_image import array, binary_log_prob, context_split
from pvae_zoo.models.masked_conv import MaskedConv2d
from pvae_zoo.models.pixelvae import PixelVAE

PIXEL_CANVAS = "canvas_pixels"


def geometry_of(model: PixelVAE) -> Geometry:
    """Margins just wide enough for the network's windows."""
    config, image = model.architecture.decoder.pixelcnn, model.architecture.image
    top, reach = max(config.input_rows, config.rows), config.reach
    stride = image.width + reach
    # The last row's right margin is nobody's: no pixel has a row above it that is the last.
    return Geometry(
        top=top, left=reach, stride=stride, rows_per_image=(top + image.height) * stride, slope=reach + 1
    )  # fmt: skip


def canvases_of(model: PixelVAE) -> tuple[CanvasSpec, ...]:
    """The embedded pixels, then the input of every gated layer."""
    pixelcnn, image = model.decoder.pixelcnn, model.architecture.image
    pixels = CanvasSpec(name=PIXEL_CANVAS, channels=image.channels * pixelcnn.embedding.width)
    channels = pixelcnn.config.channels
    return pixels, *(CanvasSpec(name=f"canvas_{i}", channels=channels) for i in range(len(pixelcnn.layers)))


def macs_per_pixel(model: PixelVAE) -> int:
    """Multiply-adds that a step spends on one pixel, those of the seen taps only."""
    convolutions = [m for m in model.decoder.pixelcnn.modules() if isinstance(m, MaskedConv2d)]
    return int(sum(conv.mask.sum().item() for conv in convolutions))


@dataclass(frozen=True)
class _Taps:
    """A masked convolution cut into what the neighbours give and what each group gets from the centre."""

    neighbours: NDArray[Any]  # (taps * in_channels, out_channels)
    centre: NDArray[Any]  # (in_channels, out_channels)
    bias: NDArray[Any]  # (out_channels,)

    @classmethod
    def of(cls, conv: MaskedConv2d) -> _Taps:
        weight = array(conv.masked_weight)
        rows, reach = conv.window.rows, conv.window.reach
        taps = [weight[:, :, rows + dy, reach + dx].T for dy, dx in conv.window.neighbours]
        neighbours = np.concatenate(taps) if taps else np.zeros((0, weight.shape[0]), np.float32)
        return cls(neighbours, weight[:, :, rows, reach].T, array(conv.bias))

    def block(self, group: int, groups: int, *, own: bool = True) -> NDArray[Any]:
        """The centre tap from the groups before this one and, with mask B, its ``own``: ``(seen, out / groups)``."""
        seen = self.centre.shape[0] // groups * (group + own)
        return self.centre[:seen, self._columns(group, groups)]

    def group_bias(self, group: int, groups: int) -> NDArray[Any]:
        return self.bias[self._columns(group, groups)]

    def _columns(self, group: int, groups: int) -> slice:
        width = self.centre.shape[1] // groups
        return slice(group * width, (group + 1) * width)


class StepGraph:
    """Builds ``decoder_step.onnx`` of a model."""

    def __init__(self, model: PixelVAE) -> None:
        self.model = model
        self.pixelcnn = model.decoder.pixelcnn
        self.image = model.architecture.image
        self.groups = self.image.channels
        self.geometry = geometry_of(model)
        self.b = GraphBuilder(
            "decoder_step", "One step of p(x|z): draw (or score given) pixels at canvas positions, update the canvases"
        )

    def build(self) -> GraphBuilder:
        b, c = self.b, self.image.channels
        position = b.op("Unsqueeze", b.input("positions", "int64", ["M"]), b.ints(1))
        rows = b.input("context_rows", "int64", ["M"])
        context = b.input("context", "float32", ["T", self.pixelcnn.context_channels])
        self.uniforms = b.split(b.input("uniforms", "float32", ["M", c]), [1] * c)
        self.given = b.split(b.input("given", "int64", ["M", c]), [1] * c)
        self.temperature = b.input("temperature", "float32", [1])
        for canvas in canvases_of(self.model):
            b.input(canvas.name, "float32", ["P", canvas.channels])

        parts = b.split(b.op("Gather", context, rows, axis=0), context_split(self.model))
        first = b.op("Add", self._neighbours(position, PIXEL_CANVAS, "input", self.pixelcnn.input), parts[0])
        self.inputs = b.split(first, [self.pixelcnn.config.channels // c] * c)
        self.gates = self._gates(position, parts[1:])

        features: list[list[str]] = [[] for _ in self.pixelcnn.layers]  # h of each layer, one entry a group
        self.gated: list[list[str]] = [[] for _ in self.pixelcnn.layers]
        self.heads: tuple[list[str], list[str]] = ([], [])
        embedded: list[str] = []
        values, log_probs = [], []
        for group in range(c):
            logits = self._logits(group, embedded, features)
            value, log_prob = self._draw(group, logits)
            embedded += self._embed(group, value)
            values.append(value)
            log_probs.append(log_prob)
        self._publish(position, embedded, features, values, log_probs)
        return b

    def _neighbours(self, position: str, canvas: str, name: str, conv: MaskedConv2d) -> str:
        """What the neighbours in a canvas, and the bias, contribute to a convolution: ``(M, out_channels)``."""
        b, taps = self.b, _Taps.of(conv)
        offsets = [dy * self.geometry.stride + dx for dy, dx in conv.window.neighbours]
        gathered = b.op("Gather", canvas, b.op("Add", position, b.ints(*offsets)), axis=0)
        flat = b.op("Reshape", gathered, b.ints(-1, len(taps.neighbours)))
        return b.linear(flat, f"{name}.neighbours", taps.neighbours, taps.bias)

    def _gates(self, position: str, context: list[str]) -> list[list[str]]:
        """For each layer and group, the gates' input without the centre tap."""
        b, channels = self.b, self.pixelcnn.config.channels
        result = []
        for index, layer in enumerate(self.pixelcnn.layers):
            y = self._neighbours(position, f"canvas_{index}", f"layer{index}.conv", layer.conv)  # type: ignore[arg-type]
            y = b.op("Add", y, context[index]) if context else y
            result.append(b.split(y, [2 * channels // self.groups] * self.groups))
        return result

    def _centre(self, group: int, tensors: list[str], name: str, conv: MaskedConv2d, *, bias: bool) -> str:
        """A convolution's centre tap for one group, from its own and earlier groups."""
        taps, suffix = _Taps.of(conv), f".group{group}" if self.groups > 1 else ""
        own_bias = taps.group_bias(group, self.groups) if bias else None
        return self.b.linear(
            self.b.concat(tensors), f"{name}.centre{suffix}", taps.block(group, self.groups), own_bias
        )  # fmt: skip

    def _logits(self, group: int, embedded: list[str], features: list[list[str]]) -> str:
        """The logits of one image channel, ``(M, logits_per_value)``."""
        b = self.b
        x = self.inputs[group]
        if group:  # mask A: of its own pixel a channel sees those before it
            block = _Taps.of(self.pixelcnn.input).block(group, self.groups, own=False)
            x = b.op("Add", x, b.linear(b.concat(embedded), f"input.centre.group{group}", block))
        for index, layer in enumerate(self.pixelcnn.layers):
            features[index].append(x)
            centre = self._centre(group, features[index], f"layer{index}.conv", layer.conv, bias=False)  # type: ignore[arg-type]
            y = b.op("Add", centre, self.gates[index][group])
            half = self.pixelcnn.config.channels // self.groups
            tanh, sigmoid = b.split(y, [half, half])
            self.gated[index].append(b.op("Mul", b.op("Tanh", tanh), b.op("Sigmoid", sigmoid)))
            out = self._centre(group, self.gated[index], f"layer{index}.output", layer.output, bias=True)  # type: ignore[arg-type]
            x = b.op("Add", x, out)
        self.heads[0].append(b.elu(x))
        self.heads[1].append(b.elu(self._centre(group, self.heads[0], "head", self.pixelcnn.head, bias=True)))
        return self._centre(group, self.heads[1], "logits", self.pixelcnn.logits, bias=True)

    def _draw(self, group: int, logits: str) -> tuple[str, str]:
        """The value (drawn where none is given) and its log-probability, both ``(M, 1)``."""
        b = self.b
        given, uniform = self.given[group], self.uniforms[group]
        tempered = b.op("Div", logits, self.temperature)
        if self.image.levels == 2:
            drawn = b.op("Cast", b.op("Less", uniform, b.op("Sigmoid", tempered)), to=TensorProto.INT64)
            value = self._given_or(given, drawn)
            return value, binary_log_prob(b, logits, b.op("Cast", value, to=TensorProto.FLOAT))
        levels = self.image.levels
        # Inverse CDF: the number of classes whose cumulative probability is not above the uniform. The last class is
        # left out of the count, so that rounding can never step past it.
        triangle = np.triu(np.ones((levels, levels), np.float32))[:, : levels - 1]
        name = "cumulate"
        matrix = name if group else b.weight(name, triangle)
        cumulative = b.op("MatMul", b.op("Softmax", tempered, axis=1), matrix)
        passed = b.op("Cast", b.op("Not", b.op("Less", uniform, cumulative)), to=TensorProto.INT64)
        drawn = b.op("ReduceSum", passed, b.ints(1), keepdims=1)
        value = self._given_or(given, drawn)
        classes = "classes" if group else b.weight("classes", np.arange(levels, dtype=np.int64)[None, :])
        one_hot = b.op("Cast", b.op("Equal", value, classes), to=TensorProto.FLOAT)
        chosen = b.op("Mul", b.op("LogSoftmax", logits, axis=1), one_hot)
        return value, b.op("ReduceSum", chosen, b.ints(1), keepdims=1)

    def _given_or(self, given: str, drawn: str) -> str:
        return self.b.op("Where", self.b.op("Less", given, self.b.ints(0)), drawn, given)

    def _embed(self, group: int, value: str) -> list[str]:
        """What later pixels and channels see of a value: scaled, and its embedding."""
        b, table = self.b, self.pixelcnn.embedding.table
        scaled = b.scaled(value, self.image.levels)
        if table is None:
            return [scaled]
        index = b.op("Squeeze", value, b.ints(1))
        embedding = b.op("Gather", b.weight(f"embedding{group}", array(table[group])), index, axis=0)
        return [scaled, embedding]

    def _publish(
        self, position: str, embedded: list[str], features: list[list[str]], values: list[str], log_probs: list[str]
    ) -> None:
        b, c = self.b, self.image.channels
        new = [b.concat(embedded), *(b.concat(groups) for groups in features)]
        written = [
            b.op("ScatterND", canvas.name, position, rows)
            for canvas, rows in zip(canvases_of(self.model), new, strict=True)
        ]
        b.output(b.concat(values) if c > 1 else b.op("Identity", values[0]), "pixels", "int64", ["M", c])
        b.output(b.concat(log_probs) if c > 1 else log_probs[0], "log_prob", "float32", ["M", c])
        for canvas, tensor in zip(canvases_of(self.model), written, strict=True):
            b.output(tensor, f"{canvas.name}_next", "float32", ["P", canvas.channels])


def step_graph(model: PixelVAE) -> GraphBuilder:
    """The single-step decoder of a model."""
    return StepGraph(model).build()
