"""Single-step graphs: the positions of a grid to compute now, given finished neighbours.

What was drawn lives in one canvas and the features of all layers, side by side, in another, one row a padded position
(see `pvae_zoo.contract.config.Geometry`). A step gathers the neighbours of its positions, computes the new features,
draws the values and writes both back. With one position an image it is the raster sampler, with a wavefront the fast
one; the graph is the same.

What the neighbours contribute is known before the step begins, for all image channels at once: one Gather and one Gemm
a layer. What remains for each channel in turn (R, then G given R, then B given R and G) are small products of the
centre tap. A step never reads a position that it writes, so a canvas may be bound as input and output at once.

With one image a step is hundreds of tiny operators, each of which costs more to start than to compute. So constants are
moved about until as few as possible are left:

- tanh(a) is 2 sigmoid(2 a) - 1: the weights of ``a`` are doubled, which is exact, and one sigmoid serves both halves.
- Biases of the residual branches are added once, to the first features, and taken off again before features are
  written: each layer then is one product that has the features before it as its addend. What a convolution would see
  too much of is taken off its own bias.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.contract.config import CanvasSpec, ContextSpec, Geometry, StepSpec
from pvae_zoo.export.blocks import array
from pvae_zoo.graphs.builder import GraphBuilder
from pvae_zoo.models.masked_conv import MaskedConv2d
from pvae_zoo.models.masked_stack import GatedLayer, MaskedStack

FEATURES = "canvas_features"
"""The canvas of the inputs of all gated layers, side by side."""


def step_spec(stack: MaskedStack, height: int, width: int, channels: int, canvas: str, context_rows: int) -> StepSpec:
    """How the step graph of a network over a grid is driven.

    Args:
        channels: values that are drawn at a position.
        canvas: name of the canvas that holds what is seen of a position.
        context_rows: 1, or one for each position.
    """
    config = stack.config
    top, reach = max(config.input_rows, config.rows), config.reach
    stride = width + reach
    features = config.channels * len(stack.layers)
    canvases = [CanvasSpec(name=canvas, channels=stack.in_channels)]
    canvases += [CanvasSpec(name=FEATURES, channels=features)] if features else []
    return StepSpec(
        height=height,
        width=width,
        channels=channels,
        context=ContextSpec(rows=context_rows, channels=stack.context_channels),
        # Margins just wide enough for the windows. The last row's right margin is nobody's: no position has a row above
        # it that is the last.
        geometry=Geometry(
            top=top, left=reach, stride=stride, rows_per_image=(top + height) * stride, slope=reach + 1
        ),
        canvases=tuple(canvases),
        macs=stack.macs,
    )  # fmt: skip


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
        return cls(neighbours, weight[:, :, rows, reach].T, array(conv.total_bias))

    def block(self, group: int, groups: int, *, own: bool = True) -> NDArray[Any]:
        """The centre tap from the groups before this one and, with mask B, its ``own``: ``(seen, out / groups)``."""
        seen = self.centre.shape[0] // groups * (group + own)
        return self.centre[:seen, self._columns(group, groups)]

    def group_bias(self, group: int, groups: int) -> NDArray[Any]:
        return self.bias[self._columns(group, groups)]

    def doubled(self, where: NDArray[Any] | int) -> _Taps:
        """Twice the outputs ``where`` it is 1: exact, in float16 too."""
        factor = np.float32(1.0) + np.asarray(where, np.float32)
        return _Taps(self.neighbours * factor, self.centre * factor, self.bias * factor)

    def _columns(self, group: int, groups: int) -> slice:
        width = self.centre.shape[1] // groups
        return slice(group * width, (group + 1) * width)


class StepGraph(ABC):
    """Builds the step graph of a `MaskedStack`; what is drawn from its parameters is a subclass's.

    Args:
        stack: the network.
        spec: grid and canvases: what is seen of a position, and the features.
        builder: an empty graph.
    """

    def __init__(self, stack: MaskedStack, spec: StepSpec, builder: GraphBuilder) -> None:
        self.stack, self.spec, self.b = stack, spec, builder
        self.groups, self.depth = stack.groups, len(stack.layers)
        self.share = stack.config.channels // stack.groups
        self.layers = [layer for layer in stack.layers if isinstance(layer, GatedLayer)]
        self.convs = [_Taps.of(layer.conv).doubled(self._is_tanh()) for layer in self.layers]
        self.outputs = [_Taps.of(layer.output) for layer in self.layers]
        biases = [np.zeros(stack.config.channels), *(taps.bias for taps in reversed(self.outputs))]
        self.excess = np.cumsum(biases, axis=0, dtype=np.float64)[::-1]  # of each layer's input, then of the head's

    @abstractmethod
    def declare(self) -> None:
        """Declare the inputs that a draw needs."""

    @abstractmethod
    def draw(self, group: int, parameters: str) -> list[str]:
        """Draw one group's values from ``(M, parameters)``; what later groups and positions see of them."""

    @abstractmethod
    def publish(self) -> None:
        """Publish what was drawn as outputs."""

    def build(self) -> GraphBuilder:
        b = self.b
        position = b.op("Unsqueeze", b.input("positions", "int64", ["M"]), b.ints(1))
        rows = b.input("context_rows", "int64", ["M"])
        context = b.input("context", "float32", ["T", self.stack.context_channels])
        self.declare()
        for canvas in self.spec.canvases:
            b.input(canvas.name, "float32", ["P", canvas.channels])

        parts = self._context(context, rows)
        from_seen, *from_layers = self._neighbours(position)
        taps = _Taps.of(self.stack.input)
        first = b.linear(from_seen, "input.neighbours", taps.neighbours, parts[0])
        self.inputs = b.split(first, [self.share] * self.groups)
        self.gates = [self._gates(index, rows, parts[1:]) for index, rows in enumerate(from_layers)]

        features: list[list[str]] = [[] for _ in self.stack.layers]  # h of each layer, one entry a group
        self.gated: list[list[str]] = [[] for _ in self.stack.layers]
        self.heads: tuple[list[str], list[str]] = ([], [])
        seen: list[str] = []
        for group in range(self.groups):
            seen += self.draw(group, self._parameters(group, seen, features))
        written = [b.concat(seen)]
        if self.depth:
            excess = self._row("features.excess", [*self.excess[:-1]])
            written.append(b.op("Sub", b.concat([h for groups in features for h in groups]), excess))
        new = [
            b.op("ScatterND", canvas.name, position, rows)
            for canvas, rows in zip(self.spec.canvases, written, strict=True)
        ]  # fmt: skip
        self.publish()
        for canvas, tensor in zip(self.spec.canvases, new, strict=True):
            b.output(tensor, f"{canvas.name}_next", "float32", ["P", canvas.channels])
        return b

    def _context(self, context: str, rows: str) -> list[str]:
        """What the positions have of the context, biases included: for the input layer, then for each conditioned gate.

        Where every position of an image has the same row, rows are made ready before they are handed out.
        """
        b, stack = self.b, self.stack
        biases = [_Taps.of(stack.input).bias + self.excess[0]]
        if not stack.condition_gates:
            return [b.op("Add", b.op("Gather", context, rows, axis=0), self._row("input.bias", biases))]
        biases += [self._gate_bias(index) for index in range(self.depth)]
        scale = [np.ones(stack.config.channels), *([1.0 + self._is_tanh()] * self.depth)]
        scaled = b.op("Mul", context, self._row("context.scale", scale))
        ready = b.op("Add", scaled, self._row("context.bias", biases))
        return b.split(b.op("Gather", ready, rows, axis=0), stack.context_split)

    def _row(self, name: str, parts: list[NDArray[Any]]) -> str:
        return self.b.weight(name, np.concatenate(parts)[None].astype(np.float32))

    def _neighbours(self, position: str) -> list[str]:
        """What is seen of the neighbours, then each layer's input there: a row a position, ``(M, taps * channels)``.

        The features' canvas is read as one with a row for each layer of a position.
        """
        b, depth, channels, stride = self.b, self.depth, self.stack.config.channels, self.spec.geometry.stride
        seen, *features = self.spec.canvases
        sources = [(seen.name, seen.channels, self.stack.input.window)]
        if features:
            by_layer = b.op("Reshape", features[0].name, b.ints(-1, channels))
            sources += [(by_layer, channels, layer.conv.window) for layer in self.layers]
        offsets = [[dy * stride + dx for dy, dx in window.neighbours] for _, _, window in sources]
        scale = [1 if index == 0 else depth for index, of in enumerate(offsets) for _ in of]
        shift = [*offsets[0], *(depth * offset + layer for layer in range(depth) for offset in offsets[1 + layer])]
        rows = b.op("Mul", position, b.shared("ints_scale", np.array(scale)))
        rows = b.op("Add", rows, b.shared("ints_shift", np.array(shift)))
        parts = b.split(rows, [len(of) for of in offsets])
        return [
            b.op("Reshape", b.op("Gather", canvas, chosen, axis=0), b.ints(-1, len(of) * width))
            for (canvas, width, _), of, chosen in zip(sources, offsets, parts, strict=True)
        ]

    def _gates(self, index: int, neighbours: str, context: list[str]) -> list[str]:
        """A layer's gates' input without the centre tap, for each group; where there is context it has the biases."""
        b, taps = self.b, self.convs[index]
        addend: NDArray[Any] | str = context[index] if context else self._gate_bias(index)
        y = b.linear(neighbours, f"layer{index}.conv.neighbours", taps.neighbours, addend)
        return b.split(y, [2 * self.share] * self.groups)

    def _gate_bias(self, index: int) -> NDArray[Any]:
        """A gate's bias, less what the excess of its input adds by way of the centre tap."""
        bias: NDArray[Any] = self.convs[index].bias - self.excess[index] @ self.convs[index].centre.astype(np.float64)
        return bias

    def _is_tanh(self) -> NDArray[Any]:
        """1 for a gate's channels that go through tanh, 0 for those through the sigmoid: ``(2 * channels,)``."""
        return np.tile(np.repeat([1, 0], self.share), self.groups)

    def _centre(self, group: int, tensors: list[str], name: str, taps: _Taps, rest: str | None = None) -> str:
        """A convolution's centre tap for one group, from its own and earlier groups, with the ``rest`` or the bias."""
        suffix = f".group{group}" if self.groups > 1 else ""
        addend = taps.group_bias(group, self.groups) if rest is None else rest
        return self.b.linear(
            self.b.concat(tensors), f"{name}.centre{suffix}", taps.block(group, self.groups), addend
        )  # fmt: skip

    def _parameters(self, group: int, seen: list[str], features: list[list[str]]) -> str:
        """The parameters of one group, ``(M, out_channels / groups)``; ``seen`` are the values of those before it."""
        b = self.b
        x = self.inputs[group]
        if group:  # mask A: of its own position a group sees those before it
            block = _Taps.of(self.stack.input).block(group, self.groups, own=False)
            x = b.linear(b.concat(seen), f"input.centre.group{group}", block, x)
        for index in range(self.depth):
            features[index].append(x)
            y = self._centre(group, features[index], f"layer{index}.conv", self.convs[index], self.gates[index][group])
            doubled, sigmoid = b.split(b.op("Sigmoid", y), [self.share, self.share])
            self.gated[index].append(b.op("Mul", b.op("Sub", doubled, b.scalar(0.5)), sigmoid))  # half the gate
            x = self._centre(group, self.gated[index], f"layer{index}.output", self.outputs[index].doubled(1), x)
        self.heads[0].append(b.elu(x))
        self.heads[1].append(b.elu(self._centre(group, self.heads[0], "head", _Taps.of(self.stack.head))))
        return self._centre(group, self.heads[1], "output", _Taps.of(self.stack.output))
