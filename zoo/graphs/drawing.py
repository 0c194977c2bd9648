"""Drawing values in a graph: each from its logits and a uniform, those that are given as they are."""

from __future__ import annotations

from onnx import TensorProto

from pvae_zoo.graphs.builder import GraphBuilder
from pvae_zoo.graphs.categorical import Categorical, usable

COLDEST = 1e-30
"""Stands for a temperature of 0: of logits that float32 can tell apart, only the largest then counts."""


class Drawing:
    """Draws the values ``0 .. levels - 1`` of C channels at M positions.

    Args:
        b: gets the nodes.
        levels: 2, drawn from one logit, or more, drawn from as many.
        channels: C, each drawn by a call of its own.
        uniforms: ``(M, C)`` float32 in [0, 1).
        given: values to keep, -1 where to draw, ``(M, C)`` int64.
        temperature: divides the logits, ``(1,)`` float32, at least 0.
    """

    def __init__(
        self, b: GraphBuilder, levels: int, channels: int, uniforms: str, given: str, temperature: str
    ) -> None:
        self.b, self.levels = b, levels
        self.temperature = b.op("Max", temperature, b.scalar(COLDEST))
        self.uniforms = b.split(usable(b, uniforms), [1] * channels)
        self.given = b.split(b.op("Min", given, b.ints(levels - 1)), [1] * channels)
        self.draws = b.split(b.op("Less", given, b.ints(0)), [1] * channels)
        if levels > 2:
            self.categorical = Categorical(b, levels)

    def value(self, channel: int, logits: str) -> str:
        """The values of a channel, int64 ``(M, 1)``, from logits ``(M, 1)`` or ``(M, levels)``."""
        b = self.b
        scaled = b.op("Div", logits, self.temperature)
        if self.levels == 2:
            drawn = b.op("Less", self.uniforms[channel], b.op("Sigmoid", scaled))
            drawn = b.op("Cast", drawn, to=TensorProto.INT64)
        else:
            drawn = self.categorical.draw(scaled, self.uniforms[channel])
        return b.op("Where", self.draws[channel], drawn, self.given[channel])
