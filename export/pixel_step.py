"""The single-step decoder: draws (or scores) the pixels at any set of positions, R, G and B in one run."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from pvae_zoo.contract.config import StepSpec
from pvae_zoo.export.blocks import array
from pvae_zoo.export.categorical import Categorical, weights
from pvae_zoo.export.graph import GraphBuilder
from pvae_zoo.export.step import StepGraph, step_spec
from pvae_zoo.export.whole_image import binary_log_prob
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
        uniforms, given = b.input("uniforms", "float32", ["M", c]), b.input("given", "int64", ["M", c])
        self.temperature = b.input("temperature", "float32", [1])
        self.given = b.split(given, [1] * c)
        self.draws = b.split(b.op("Less", given, b.ints(0)), [1] * c)
        self.uniforms = b.split(uniforms, [1] * c)
        if self.image.levels > 2:
            self.coldness = b.op("Div", b.scalar(1.0), self.temperature)
            self.categorical = Categorical(b, self.image.levels)

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
        shifted = b.op("Sub", logits, b.op("ReduceMax", logits, b.ints(1), keepdims=1))
        drawn = self.categorical.draw(b.op("Mul", shifted, self.coldness), self.uniforms[group])
        value = self._given_or(group, drawn)
        chosen = b.op("Unsqueeze", b.op("GatherND", shifted, value, batch_dims=1), b.ints(1))
        total = b.op("ReduceSum", weights(b, shifted), b.ints(1), keepdims=1)
        return value, b.op("Sub", chosen, b.op("Log", total))

    def _given_or(self, group: int, drawn: str) -> str:
        b = self.b
        return b.op("Where", self.draws[group], b.op("Cast", drawn, to=TensorProto.INT64), self.given[group])

    def _embed(self, group: int, value: str) -> list[str]:
        """What later pixels and channels see of a value: scaled, and its embedding."""
        b, table = self.b, self.embedding.table
        if table is None:
            return [b.scaled(value, self.image.levels)]
        scale = np.float32(2.0 / (self.image.levels - 1))
        scaled = np.arange(self.image.levels, dtype=np.float32)[:, None] * scale - np.float32(1.0)
        seen = b.weight(f"seen{group}", np.concatenate([scaled, array(table[group])], axis=1))
        return [b.op("Gather", seen, b.op("Squeeze", value, b.ints(1)), axis=0)]
