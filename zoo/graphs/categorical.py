"""Drawing one of many classes with a given uniform: the inverse of the cumulative distribution.

The classes are cut into blocks of about the square root of their number. A product with a triangle sums within each
block, another adds what the blocks before it have in all: a few multiplications for each class, where one triangle for
all classes would cost as much as the network.
"""

from __future__ import annotations

import math

import numpy as np

from pvae_zoo.graphs.builder import GraphBuilder

_ABOVE_ZERO = 1e-30
"""More than classes that add nothing add together, less than any that a uniform can tell."""
_BELOW_ONE = 1 - 2**-22
_LOWEST = -80.0


def weights(b: GraphBuilder, shifted: str) -> str:
    """exp of logits that are at most 0; below -80, which no sum with a 1 can tell from less, it is exp(-80).

    Smaller numbers are soon subnormal, and with those many processors compute ten and more times slower.
    """
    return b.op("Exp", b.op("Max", shifted, b.scalar(_LOWEST)))


def usable(b: GraphBuilder, uniforms: str) -> str:
    """Uniforms moved by a hair from 0 and 1, where a class that adds nothing might be drawn."""
    return b.op("Clip", uniforms, b.scalar(_ABOVE_ZERO), b.scalar(_BELOW_ONE))


class Categorical:
    """Draws classes ``0 .. levels - 1`` in a graph."""

    def __init__(self, b: GraphBuilder, levels: int) -> None:
        self.b, self.levels = b, levels
        self.block = max(size for size in range(1, math.isqrt(levels) + 1) if levels % size == 0)
        blocks = levels // self.block
        ones = np.ones((self.block, 1), np.float32)
        self.within = b.weight("cumulate.within", np.triu(np.ones((self.block, self.block), np.float32)))
        self.sums = b.weight("cumulate.sums", np.kron(np.eye(blocks, dtype=np.float32), ones))
        self.before = b.weight("cumulate.before", np.kron(np.triu(np.ones((blocks, blocks), np.float32), 1), ones.T))

    def draw(self, logits: str, uniform: str) -> str:
        """The first class with which the cumulative probability reaches the uniform, as int64 ``(M, 1)``.

        No sum counts for more than the uniform, so the first of the largest is the class: it adds something, and it is
        one of the classes whatever the numbers are.

        Args:
            logits: ``(M, levels)``.
            uniform: `usable`, ``(M, 1)``.
        """
        b = self.b
        probability = b.op("Softmax", logits, axis=1)
        by_block = b.op("Reshape", probability, b.ints(-1, self.levels // self.block, self.block))
        within = b.op("Reshape", b.op("MatMul", by_block, self.within), b.ints(-1, self.levels))
        reached = b.op("Gemm", b.op("MatMul", probability, self.sums), self.before, within)
        return b.op("ArgMax", b.op("Min", reached, uniform), axis=1, keepdims=1)
