"""Single-step graphs: the positions of a grid to compute now, given finished neighbours.

Every layer's features live in a canvas, one row a padded position (see `pvae_zoo.contract.config.Geometry`). A step
gathers the neighbours of its positions, computes the new features, draws the values and writes both back. With one
position an image it is the raster sampler, with a wavefront the fast one; the graph is the same.

What the neighbours contribute is known before the step begins, for all image channels at once: one Gather and one Gemm
a layer. What remains for each channel in turn (R, then G given R, then B given R and G) are small products of the
centre tap. A step never reads a position that it writes, so a canvas may be bound as input and output at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.contract.config import CanvasSpec, ContextSpec, Geometry, StepSpec
from pvae_zoo.export.blocks import array
from pvae_zoo.export.graph import GraphBuilder
from pvae_zoo.models.masked_conv import MaskedConv2d
from pvae_zoo.models.masked_stack import MaskedStack


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
    features = (CanvasSpec(name=f"canvas_{i}", channels=config.channels) for i in range(len(stack.layers)))
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
        canvases=(CanvasSpec(name=canvas, channels=stack.in_channels), *features),
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

    def _columns(self, group: int, groups: int) -> slice:
        width = self.centre.shape[1] // groups
        return slice(group * width, (group + 1) * width)


class StepGraph(ABC):
    """Builds the step graph of a `MaskedStack`; what is drawn from its parameters is a subclass's.

    Args:
        stack: the network.
        spec: grid and canvases; the first canvas holds what is seen of a position.
        builder: an empty graph.
    """

    def __init__(self, stack: MaskedStack, spec: StepSpec, builder: GraphBuilder) -> None:
        self.stack, self.spec, self.b = stack, spec, builder
        self.groups = stack.groups

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

        parts = b.split(b.op("Gather", context, rows, axis=0), self.stack.context_split)
        first = b.op("Add", self._neighbours(position, self.spec.canvases[0], "input", self.stack.input), parts[0])
        self.inputs = b.split(first, [self.stack.config.channels // self.groups] * self.groups)
        self.gates = self._gates(position, parts[1:])

        features: list[list[str]] = [[] for _ in self.stack.layers]  # h of each layer, one entry a group
        self.gated: list[list[str]] = [[] for _ in self.stack.layers]
        self.heads: tuple[list[str], list[str]] = ([], [])
        seen: list[str] = []
        for group in range(self.groups):
            seen += self.draw(group, self._parameters(group, seen, features))
        new = [b.concat(seen), *(b.concat(groups) for groups in features)]
        written = [
            b.op("ScatterND", canvas.name, position, rows)
            for canvas, rows in zip(self.spec.canvases, new, strict=True)
        ]  # fmt: skip
        self.publish()
        for canvas, tensor in zip(self.spec.canvases, written, strict=True):
            b.output(tensor, f"{canvas.name}_next", "float32", ["P", canvas.channels])
        return b

    def _neighbours(self, position: str, canvas: CanvasSpec, name: str, conv: MaskedConv2d) -> str:
        """What the neighbours in a canvas, and the bias, contribute to a convolution: ``(M, out_channels)``."""
        b, taps = self.b, _Taps.of(conv)
        offsets = [dy * self.spec.geometry.stride + dx for dy, dx in conv.window.neighbours]
        gathered = b.op("Gather", canvas.name, b.op("Add", position, b.ints(*offsets)), axis=0)
        flat = b.op("Reshape", gathered, b.ints(-1, len(taps.neighbours)))
        return b.linear(flat, f"{name}.neighbours", taps.neighbours, taps.bias)

    def _gates(self, position: str, context: list[str]) -> list[list[str]]:
        """For each layer and group, the gates' input without the centre tap."""
        b, channels = self.b, self.stack.config.channels
        result = []
        for index, (layer, canvas) in enumerate(zip(self.stack.layers, self.spec.canvases[1:], strict=True)):
            y = self._neighbours(position, canvas, f"layer{index}.conv", layer.conv)  # type: ignore[arg-type]
            y = b.op("Add", y, context[index]) if context else y
            result.append(b.split(y, [2 * channels // self.groups] * self.groups))
        return result

    def _centre(self, group: int, tensors: list[str], name: str, conv: MaskedConv2d, rest: str | None = None) -> str:
        """A convolution's centre tap for one group, from its own and earlier groups, with the ``rest`` or the bias."""
        taps, suffix = _Taps.of(conv), f".group{group}" if self.groups > 1 else ""
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
        for index, layer in enumerate(self.stack.layers):
            features[index].append(x)
            y = self._centre(group, features[index], f"layer{index}.conv", layer.conv, self.gates[index][group])  # type: ignore[arg-type]
            half = self.stack.config.channels // self.groups
            tanh, sigmoid = b.split(y, [half, half])
            self.gated[index].append(b.op("Mul", b.tanh(tanh), b.op("Sigmoid", sigmoid)))
            out = self._centre(group, self.gated[index], f"layer{index}.output", layer.output)  # type: ignore[arg-type]
            x = b.op("Add", x, out)
        self.heads[0].append(b.elu(x))
        self.heads[1].append(b.elu(self._centre(group, self.heads[0], "head", self.stack.head)))
        return self._centre(group, self.heads[1], "output", self.stack.output)
