"""The single-step decoder: draws (or scores) the pixels at any set of positions, R, G and B in one run."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from pvae_zoo.contract.config import StepSpec
from pvae_zoo.export.blocks import array
from pvae_zoo.export.step import StepGraph, step_spec
from pvae_zoo.export.whole_image import binary_log_prob
from pvae_zoo.graphs.builder import GraphBuilder
from pvae_zoo.graphs.drawing import Drawing
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
        self.logits: list[str] = []
        doc = "One step of p(x|z1): draw (or score given) pixels at canvas positions, update the canvases"
        super().__init__(model.decoder.pixelcnn, pixel_step_spec(model), GraphBuilder("decoder_step", doc))

    def declare(self) -> None:
        b, c = self.b, self.image.channels
        uniforms, given = b.input("uniforms", "float32", ["M", c]), b.input("given", "int64", ["M", c])
        temperature = b.input("temperature", "float32", [1])
        self.drawing = Drawing(b, self.image.levels, c, uniforms, given, temperature)

    def draw(self, group: int, parameters: str) -> list[str]:
        self.logits.append(parameters)
        value = self.drawing.value(group, parameters)
        self.values.append(value)
        return self._embed(group, value)

    def publish(self) -> None:
        b, c = self.b, self.image.channels
        pixels, logits = b.concat(self.values), b.concat(self.logits)
        log_prob = self._binary(logits, pixels) if self.image.levels == 2 else self._softmax(logits, pixels)
        b.output(pixels, "pixels", "int64", ["M", c])
        b.output(log_prob, "log_prob", "float32", ["M", c])

    def _binary(self, logits: str, values: str) -> str:
        b = self.b
        return binary_log_prob(b, logits, b.op("Cast", values, to=TensorProto.FLOAT))

    def _softmax(self, logits: str, values: str) -> str:
        """The log-probability of every channel's value, ``(M, C)``: its logit less the log-sum-exp of all.

        That sum is the largest logit less the logarithm of its probability, which is never small.
        """
        b, image = self.b, self.image
        by_channel = b.op("Reshape", logits, b.ints(-1, image.channels, image.levels))
        chosen = b.op("GatherND", by_channel, b.op("Unsqueeze", values, b.ints(2)), batch_dims=2)
        likeliest = b.op("Log", b.reduce_max(b.op("Softmax", by_channel, axis=2), 2, keepdims=0))
        return b.op("Add", b.op("Sub", chosen, b.reduce_max(by_channel, 2, keepdims=0)), likeliest)

    def _embed(self, group: int, value: str) -> list[str]:
        """What later pixels and channels see of a value: scaled, and its embedding."""
        b, table = self.b, self.embedding.table
        if table is None:
            return [b.scaled(value, self.image.levels)]
        scale = np.float32(2.0 / (self.image.levels - 1))
        scaled = np.arange(self.image.levels, dtype=np.float32)[:, None] * scale - np.float32(1.0)
        seen = b.weight(f"seen{group}", np.concatenate([scaled, array(table[group])], axis=1))
        return [b.op("GatherND", seen, value)]
