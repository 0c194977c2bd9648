"""Drawing one of many classes with a given uniform: the inverse of the cumulative distribution.

The classes are cut into blocks of about the square root of their number. First the block is found, then the class in
it, so that all that is computed for every class are the exponentials and the sums of the blocks.
"""

from __future__ import annotations

import math

import numpy as np
from onnx import TensorProto

from pvae_zoo.export.graph import GraphBuilder

_BELOW_ONE = 1 - 2**-23
_ABOVE_ZERO = 1e-30
"""More than the classes that `weights` holds at exp(-80) add to any sum, less than any that a uniform can tell."""


def weights(b: GraphBuilder, shifted: str) -> str:
    """exp of logits that are at most 0; below -80, which no sum with a 1 can tell from less, it is exp(-80).

    Smaller numbers are soon subnormal, and with those many processors compute ten and more times slower.
    """
    return b.op("Exp", b.op("Max", shifted, b.scalar(-80.0)))


class Categorical:
    """Draws classes ``0 .. levels - 1`` in a graph."""

    def __init__(self, b: GraphBuilder, levels: int) -> None:
        self.b, self.levels = b, levels
        self.block = max(size for size in range(1, math.isqrt(levels) + 1) if levels % size == 0)
        self.blocks = levels // self.block
        through = np.arange(levels)[:, None] // self.block <= np.arange(self.blocks)[None, :]
        self.through = b.weight("cumulate.blocks", through.astype(np.float32))
        self.within = b.weight("cumulate.within_block", np.triu(np.ones((self.block, self.block), np.float32)))

    def draw(self, logits: str, uniform: str) -> str:
        """The first class whose cumulative probability is above the uniform, as float32 ``(M, 1)``.

        Args:
            logits: ``(M, levels)``, the largest of a row 0.
            uniform: in [0, 1), ``(M, 1)``.
        """
        b = self.b
        weight = weights(b, logits)
        reached = b.op("MatMul", weight, self.through)  # (M, blocks): sums up to the end of each block
        target = b.op("Max", b.op("Mul", uniform, self._share_below(reached)), b.scalar(_ABOVE_ZERO))
        above = b.op("Less", target, reached)
        block = self._first(above, self.blocks)
        before = b.op("ReduceMax", b.op("Where", above, b.scalar(0.0), reached), b.ints(1), keepdims=1)
        by_block = b.op("Reshape", weight, b.ints(-1, self.blocks, self.block))
        inside = b.op("GatherND", by_block, b.op("Cast", block, to=TensorProto.INT64), batch_dims=1)  # (M, block)
        reached = b.op("MatMul", inside, self.within)
        # The two sums are rounded differently: what is left for the block must stay within the block's own sum.
        left = b.op("Min", b.op("Sub", target, before), self._share_below(reached))
        left = b.op("Max", left, b.scalar(_ABOVE_ZERO))
        place = self._first(b.op("Less", left, reached), self.block)
        return b.op("Add", b.op("Mul", block, b.scalar(float(self.block))), place)

    def _share_below(self, reached: str) -> str:
        """The last of cumulative sums, less a hair: then a class is found, and never one that adds nothing."""
        b = self.b
        return b.op("Mul", b.op("ReduceMax", reached, b.ints(1), keepdims=1), b.scalar(_BELOW_ONE))

    def _first(self, above: str, count: int) -> str:
        """The first true of ``(M, count)`` where all after it are true: counted in floats, sums of which are fast."""
        b = self.b
        trues = b.op("ReduceSum", b.op("Cast", above, to=TensorProto.FLOAT), b.ints(1), keepdims=1)
        return b.op("Sub", b.scalar(float(count)), trues)
