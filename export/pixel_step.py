"""The single-step decoder: draws (or scores) the pixels at any set of positions, R, G and B in one run."""

from __future__ import annotations

import math

import numpy as np
from onnx import TensorProto

from pvae_zoo.bundle import StepSpec
from pvae_zoo.export.blocks import array
from pvae_zoo.export.graph import GraphBuilder
from pvae_zoo.export.step import StepGraph, step_spec
from pvae_zoo.export.whole_image import binary_log_prob, softmax_log_prob
from pvae_zoo.models.decoder import GateContext
from pvae_zoo.models.pixelvae import PixelVAE


def pixel_step_spec(model: PixelVAE) -> StepSpec:
    """The grid of pixels."""
    image, stack = model.architecture.image, model.decoder.pixelcnn
    rows = 1 if isinstance(model.decoder.context, GateContext) else image.height * image.width
    return step_spec(stack, image.height, image.width, image.channels, "canvas_pixels", rows)


def pixel_step_graph(model: PixelVAE) -> GraphBuilder:
    """The single-step decoder of a model."""
    return _PixelStep(model).build()


class _PixelStep(StepGraph):
    def __init__(self, model: PixelVAE) -> None:
        self.image, self.embedding = model.architecture.image, model.decoder.pixelcnn.embedding
        self.values: list[str] = []
        self.log_probs: list[str] = []
        doc = "One step of p(x|z1): draw (or score given) pixels at canvas positions, update the canvases"
        super().__init__(model.decoder.pixelcnn, pixel_step_spec(model), GraphBuilder("decoder_step", doc))

    def declare(self) -> None:
        b, c = self.b, self.image.channels
        self.uniforms = b.split(b.input("uniforms", "float32", ["M", c]), [1] * c)
        self.given = b.split(b.input("given", "int64", ["M", c]), [1] * c)
        self.temperature = b.input("temperature", "float32", [1])
        if self.image.levels > 2:
            levels, block = self.image.levels, _block(self.image.levels)
            # Cumulative probabilities by two small products in place of a large one: within each block of classes, and
            # of whole blocks before it.
            self.block = block
            self.within = b.weight("cumulate.within_block", np.triu(np.ones((block, block), np.float32)))
            before = np.arange(levels)[:, None] // block < np.arange(levels // block)[None, :]
            self.before = b.weight("cumulate.blocks_before", before.astype(np.float32))
            self.classes = b.weight("classes", np.arange(levels, dtype=np.int64)[None, :])

    def draw(self, group: int, parameters: str) -> list[str]:
        value, log_prob = (self._binary if self.image.levels == 2 else self._softmax)(group, parameters)
        self.values.append(value)
        self.log_probs.append(log_prob)
        return self._embed(group, value)

    def publish(self) -> None:
        b, c = self.b, self.image.channels
        pixels = b.concat(self.values) if c > 1 else b.op("Identity", self.values[0])
        b.output(pixels, "pixels", "int64", ["M", c])
        b.output(b.concat(self.log_probs), "log_prob", "float32", ["M", c])

    def _binary(self, group: int, logits: str) -> tuple[str, str]:
        """The value (drawn where none is given) and its log-probability, both ``(M, 1)``."""
        b = self.b
        probability = b.op("Sigmoid", b.op("Div", logits, self.temperature))
        value = self._given_or(group, b.op("Less", self.uniforms[group], probability))
        return value, binary_log_prob(b, logits, b.op("Cast", value, to=TensorProto.FLOAT))

    def _softmax(self, group: int, logits: str) -> tuple[str, str]:
        """The value (drawn where none is given) and its log-probability, both ``(M, 1)``."""
        b = self.b
        tempered = b.op("Div", logits, self.temperature)
        cumulative = self._cumulative(b.op("Softmax", tempered, axis=1))
        # Inverse CDF: the first class whose cumulative probability is above the uniform; the last where rounding leaves
        # none. Counted in floats: sums of integers are not vectorised.
        above = b.op("Cast", b.op("Less", self.uniforms[group], cumulative), to=TensorProto.FLOAT)
        count = b.op("ReduceSum", above, b.ints(1), keepdims=1)
        levels = self.image.levels
        drawn = b.op("Min", b.op("Sub", b.scalar(float(levels)), count), b.scalar(float(levels - 1)))
        value = self._given_or(group, drawn)
        one_hot = b.op("Cast", b.op("Equal", value, self.classes), to=TensorProto.FLOAT)
        return value, softmax_log_prob(b, logits, one_hot, axis=1, keepdims=1)

    def _cumulative(self, probabilities: str) -> str:
        """Cumulative sums of ``(M, levels)``."""
        b, block, levels = self.b, self.block, self.image.levels
        within = b.op("MatMul", b.op("Reshape", probabilities, b.ints(-1, block)), self.within)
        before = b.op("Unsqueeze", b.op("MatMul", probabilities, self.before), b.ints(2))
        total = b.op("Add", b.op("Reshape", within, b.ints(-1, levels // block, block)), before)
        return b.op("Reshape", total, b.ints(-1, levels))

    def _given_or(self, group: int, drawn: str) -> str:
        b, given = self.b, self.given[group]
        return b.op("Where", b.op("Less", given, b.ints(0)), b.op("Cast", drawn, to=TensorProto.INT64), given)

    def _embed(self, group: int, value: str) -> list[str]:
        """What later pixels and channels see of a value: scaled, and its embedding."""
        b, table = self.b, self.embedding.table
        scaled = b.scaled(value, self.image.levels)
        if table is None:
            return [scaled]
        index = b.op("Squeeze", value, b.ints(1))
        embedding = b.op("Gather", b.weight(f"embedding{group}", array(table[group])), index, axis=0)
        return [scaled, embedding]


def _block(levels: int) -> int:
    """The largest divisor up to the square root: classes are cut into blocks of that many."""
    return max(size for size in range(1, math.isqrt(levels) + 1) if levels % size == 0)
