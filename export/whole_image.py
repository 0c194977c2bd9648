"""The graphs that see whole images: encoder, decoder context and teacher-forced decoder."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto
from torch import nn

from pvae_zoo.contract.architecture import Architecture
from pvae_zoo.export.blocks import array, as_rows, conv, from_rows, limited_log_std, masked_stack, residual, upsampling
from pvae_zoo.graphs.builder import GraphBuilder
from pvae_zoo.graphs.categorical import weights
from pvae_zoo.models.decoder import GateContext, NoContext
from pvae_zoo.models.encoder import PosteriorHead, Stage
from pvae_zoo.models.pixelvae import PixelVAE


def encoder_graph(model: PixelVAE) -> GraphBuilder:
    """``image`` uint8 ``(N, C, H, W)`` to ``z<l>_mean`` and ``z<l>_log_std`` of every level."""
    a, encoder = model.architecture, model.encoder
    assert encoder is not None
    b = GraphBuilder("encoder", "q(z|x): mean and log standard deviation of every latent level of an image")
    image = b.input("image", "uint8", ["N", *a.image.chw])
    features = [conv(b, b.scaled(image, a.image.levels), "stem", encoder.stem)]
    for number, stage in enumerate(encoder.stages, start=1):
        assert isinstance(stage, Stage)
        x = conv(b, b.elu(features[-1]), f"stage{number}.down", stage.down)
        for r, block in enumerate(stage.blocks):
            x = residual(b, x, f"stage{number}.block{r}", block)
        features.append(x)
    for number, (level, head) in enumerate(zip(a.latents, encoder.heads, strict=True), start=1):
        parameters = _posterior(b, features[level.stage], f"z{number}", head)  # type: ignore[arg-type]
        mean, s = b.split(parameters, [level.channels, level.channels])
        shape: list[int | str] = ["N", *a.latent_shapes[number - 1]]
        b.output(mean, f"z{number}_mean", "float32", shape)
        b.output(limited_log_std(b, s), f"z{number}_log_std", "float32", shape)
    return b


def decoder_context_graph(model: PixelVAE) -> GraphBuilder:
    """``z1`` to ``context`` ``(N, rows, channels)``: one row for all pixels, or one for each in raster order."""
    a, context = model.architecture, model.decoder.context
    b = GraphBuilder("decoder_context", "What p(x|z1) keeps of z1: computed once an image, read at every pixel")
    z = b.input("z1", "float32", ["N", *a.latent_shapes[0]])
    channels = model.decoder.pixelcnn.context_channels
    assert not isinstance(context, NoContext)
    if isinstance(context, GateContext):
        row = b.linear(z, "linear", array(context.linear.weight).T, array(context.linear.bias))
        result, rows = b.op("Unsqueeze", row, b.ints(1)), 1
    else:
        result, rows = as_rows(b, upsampling(b, z, context), channels), a.image.height * a.image.width
    b.output(result, "context", "float32", ["N", rows, channels])
    return b


def decoder_graph(model: PixelVAE) -> GraphBuilder:
    """``image`` uint8 and ``context`` to ``log_prob`` ``(N, C, H, W)``: log p of every value given those before it."""
    a, pixelcnn = model.architecture, model.decoder.pixelcnn
    b = GraphBuilder(
        "decoder", "log p(x|z1) of every value of an image in nats, teacher-forced: one pass for all pixels"
    )
    image = b.input("image", "uint8", ["N", *a.image.chw])
    size = (1, 1) if isinstance(model.decoder.context, GateContext) else (a.image.height, a.image.width)
    context = b.input("context", "float32", ["N", size[0] * size[1], pixelcnn.context_channels])
    by_channel = from_rows(b, context, pixelcnn.context_channels, size)
    logits = masked_stack(b, _embedded(b, image, model), by_channel, pixelcnn)
    b.output(_log_prob(b, logits, image, a), "log_prob", "float32", ["N", *a.image.chw])
    return b


def binary_log_prob(b: GraphBuilder, logits: str, values: str) -> str:
    """Bernoulli: -softplus((1 - 2 v) logit) for values 0 and 1, as floats."""
    sign = b.op("Sub", b.scalar(1.0), b.op("Mul", values, b.scalar(2.0)))
    return b.op("Neg", b.softplus(b.op("Mul", sign, logits)))


def _posterior(b: GraphBuilder, features: str, name: str, head: PosteriorHead) -> str:
    features = b.elu(features)
    if isinstance(head.output, nn.Linear):
        flat = b.op("Flatten", features, axis=1)
        return b.linear(flat, name, array(head.output.weight).T, array(head.output.bias))
    return conv(b, features, name, head.output)


def _embedded(b: GraphBuilder, image: str, model: PixelVAE) -> str:
    """The scaled image, each channel followed by its embedding where there is one: group-major."""
    shape, table = model.architecture.image, model.decoder.pixelcnn.embedding.table
    scaled = b.scaled(image, shape.levels)
    if table is None:
        return scaled
    indices = b.op("Cast", image, to=TensorProto.INT64)
    planes = b.split(scaled, [1] * shape.channels)
    codes = b.split(indices, [1] * shape.channels)
    parts = []
    for c in range(shape.channels):
        flat = b.op("Squeeze", codes[c], b.ints(1))  # (N, H, W)
        embedded = b.op("Gather", b.weight(f"embedding{c}", array(table[c])), flat, axis=0)
        parts += [planes[c], b.op("Transpose", embedded, perm=[0, 3, 1, 2])]
    return b.concat(parts)


def _log_prob(b: GraphBuilder, logits: str, image: str, a: Architecture) -> str:
    if a.image.levels == 2:
        return binary_log_prob(b, logits, b.op("Cast", image, to=TensorProto.FLOAT))
    c, levels, h, w = a.image.channels, a.image.levels, a.image.height, a.image.width
    value = b.op("Unsqueeze", b.op("Cast", image, to=TensorProto.INT64), b.ints(2))
    # One-hot times log-probability: a gather over 256 classes is more than onnx's own evaluator can do.
    classes = b.weight("classes", np.arange(levels, dtype=np.int64).reshape(1, 1, levels, 1, 1))
    one_hot = b.op("Cast", b.op("Equal", value, classes), to=TensorProto.FLOAT)
    return _softmax_log_prob(b, b.op("Reshape", logits, b.ints(-1, c, levels, h, w)), one_hot)


def _softmax_log_prob(b: GraphBuilder, logits: str, one_hot: str) -> str:
    """Log-probability ``(N, C, H, W)`` of the chosen class: its logit less the log-sum-exp of all, each step finite.

    Logits and the one-hot vectors are ``(N, C, levels, H, W)``.

    Not LogSoftmax: where a class has a probability of zero in float32, some runtimes make its logarithm minus infinity,
    and times a zero of the one-hot vector that is not a number.
    """
    shifted = b.op("Sub", logits, b.reduce_max(logits, 2))
    total = b.reduce_sum(weights(b, shifted), 2, keepdims=0)
    return b.op("Sub", b.reduce_sum(b.op("Mul", shifted, one_hot), 2, keepdims=0), b.op("Log", total))
