"""The graphs that see whole images: encoder, prior, decoder context and teacher-forced decoder."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import TensorProto
from torch import nn

from pvae_zoo.export.graph import GraphBuilder
from pvae_zoo.models.architecture import Architecture
from pvae_zoo.models.decoder import GateContext, UpsampleContext
from pvae_zoo.models.encoder import PosteriorHead, ResidualBlock, Stage
from pvae_zoo.models.masked_conv import MaskedConv2d
from pvae_zoo.models.pixelcnn import GatedLayer
from pvae_zoo.models.pixelvae import PixelVAE


def array(tensor: torch.Tensor) -> NDArray[Any]:
    """A weight as NumPy array."""
    return tensor.detach().cpu().numpy()


def conv(b: GraphBuilder, x: str, name: str, layer: nn.Conv2d) -> str:
    """A plain convolution with its own padding and stride."""
    (top, left), stride = _pair(layer.padding), list(_pair(layer.stride))
    weight = b.weight(f"{name}.weight", array(layer.weight))
    assert layer.bias is not None
    bias = b.weight(f"{name}.bias", array(layer.bias))
    kernel = list(layer.weight.shape[2:])
    return b.op("Conv", x, weight, bias, kernel_shape=kernel, pads=[top, left, top, left], strides=stride)


def masked_conv(b: GraphBuilder, x: str, name: str, layer: MaskedConv2d) -> str:
    """A causal convolution: the mask multiplied in, zeros above and to the sides, none below."""
    weight = b.weight(f"{name}.weight", array(layer.masked_weight))
    bias = b.weight(f"{name}.bias", array(layer.bias))
    rows, reach = layer.window.rows, layer.window.reach
    kernel = list(layer.weight.shape[2:])
    return b.op("Conv", x, weight, bias, kernel_shape=kernel, pads=[rows, reach, 0, reach])


def residual(b: GraphBuilder, x: str, name: str, block: ResidualBlock) -> str:
    inner = b.elu(conv(b, b.elu(x), f"{name}.first", block.first))
    return b.op("Add", x, conv(b, inner, f"{name}.second", block.second))


def encoder_graph(model: PixelVAE) -> GraphBuilder:
    """``image`` uint8 ``(N, C, H, W)`` to ``z<l>_mean`` and ``z<l>_log_std`` of every level."""
    a, encoder = model.architecture, model.encoder
    b = GraphBuilder("encoder", "q(z|x): mean and log standard deviation of every latent level of an image")
    image = b.input("image", "uint8", ["N", *a.image.chw])
    features = [conv(b, b.scaled(image, a.image.levels), "stem", encoder.stem)]
    for s, stage in enumerate(encoder.stages, start=1):
        assert isinstance(stage, Stage)
        x = conv(b, b.elu(features[-1]), f"stage{s}.down", stage.down)
        for r, block in enumerate(stage.blocks):
            x = residual(b, x, f"stage{s}.block{r}", block)
        features.append(x)
    for number, (level, head) in enumerate(zip(a.latents, encoder.heads, strict=True), start=1):
        parameters = _posterior(b, features[level.stage], f"z{number}", head)  # type: ignore[arg-type]
        mean, log_std = b.split(parameters, [level.channels, level.channels])
        shape: list[int | str] = ["N", *a.latent_shapes[number - 1]]
        b.output(mean, f"z{number}_mean", "float32", shape)
        b.output(log_std, f"z{number}_log_std", "float32", shape)
    return b


def prior_graph(model: PixelVAE) -> GraphBuilder:
    """``z1_noise`` to ``z1``: with one level p(z) = N(0, I), and standard normal noise is the draw."""
    b = GraphBuilder("prior", "p(z): latents from standard normal noise; with one level the prior is N(0, I)")
    shape: list[int | str] = ["N", *model.architecture.latent_shapes[0]]
    b.output(b.op("Identity", b.input("z1_noise", "float32", shape)), "z1", "float32", shape)
    return b


def decoder_context_graph(model: PixelVAE) -> GraphBuilder:
    """``z1`` to ``context`` ``(N, rows, channels)``: one row for all pixels, or one for each in raster order."""
    a, context = model.architecture, model.decoder.context
    b = GraphBuilder("decoder_context", "What p(x|z) keeps of z: computed once an image, read at every pixel")
    z = b.input("z1", "float32", ["N", *a.latent_shapes[0]])
    channels = model.decoder.pixelcnn.context_channels
    if isinstance(context, GateContext):
        row = b.linear(z, "linear", array(context.linear.weight).T, array(context.linear.bias))
        result, rows = b.op("Unsqueeze", row, b.ints(1)), 1
    else:
        features = _upsample(b, z, context)  # (N, channels, H, W)
        flat = b.op("Reshape", features, b.ints(0, channels, -1))
        result, rows = b.op("Transpose", flat, perm=[0, 2, 1]), a.image.height * a.image.width
    b.output(result, "context", "float32", ["N", rows, channels])
    return b


def decoder_graph(model: PixelVAE) -> GraphBuilder:
    """``image`` uint8 and ``context`` to ``log_prob`` ``(N, C, H, W)``: log p of every value given those before it."""
    a, pixelcnn = model.architecture, model.decoder.pixelcnn
    image_shape, channels = a.image, a.decoder.pixelcnn.channels
    b = GraphBuilder(
        "decoder", "log p(x|z) of every value of an image in nats, teacher-forced: one pass for all pixels"
    )
    image = b.input("image", "uint8", ["N", *image_shape.chw])
    gates = pixelcnn.condition_gates
    size = (1, 1) if gates else (image_shape.height, image_shape.width)
    context = b.input("context", "float32", ["N", size[0] * size[1], pixelcnn.context_channels])
    by_channel = b.op("Transpose", context, perm=[0, 2, 1])
    by_channel = b.op("Reshape", by_channel, b.ints(0, pixelcnn.context_channels, *size))
    parts = b.split(by_channel, context_split(model))
    h = b.op("Add", masked_conv(b, _embedded(b, image, model), "input", pixelcnn.input), parts[0])
    for index, layer in enumerate(pixelcnn.layers):
        assert isinstance(layer, GatedLayer)
        y = masked_conv(b, h, f"layer{index}.conv", layer.conv)
        y = b.op("Add", y, parts[1 + index]) if gates else y
        groups = image_shape.channels
        halves = b.split(y, [channels // groups] * (2 * groups))
        tanh = b.op("Tanh", b.concat(halves[0::2]))
        gated = b.op("Mul", tanh, b.op("Sigmoid", b.concat(halves[1::2])))
        h = b.op("Add", h, masked_conv(b, gated, f"layer{index}.output", layer.output))
    head = b.elu(masked_conv(b, b.elu(h), "head", pixelcnn.head))
    logits = masked_conv(b, head, "logits", pixelcnn.logits)
    b.output(_log_prob(b, logits, image, a), "log_prob", "float32", ["N", *image_shape.chw])
    return b


def context_split(model: PixelVAE) -> list[int]:
    """How the context's channels are shared: the input layer, then each gated layer if gates are conditioned."""
    channels = model.architecture.decoder.pixelcnn.channels
    pixelcnn = model.decoder.pixelcnn
    return [channels, *([2 * channels] * len(pixelcnn.layers) if pixelcnn.condition_gates else [])]


def binary_log_prob(b: GraphBuilder, logits: str, values: str) -> str:
    """Bernoulli: -softplus((1 - 2 v) logit) for values 0 and 1, as floats."""
    sign = b.op("Sub", b.scalar(1.0), b.op("Mul", values, b.scalar(2.0)))
    return b.op("Neg", b.op("Softplus", b.op("Mul", sign, logits)))


def _posterior(b: GraphBuilder, features: str, name: str, head: PosteriorHead) -> str:
    features = b.elu(features)
    if isinstance(head.output, nn.Linear):
        flat = b.op("Flatten", features, axis=1)
        return b.linear(flat, name, array(head.output.weight).T, array(head.output.bias))
    return conv(b, features, name, head.output)


def _upsample(b: GraphBuilder, z: str, context: UpsampleContext) -> str:
    height, width = context.sizes[0]
    if isinstance(context.grow, nn.Linear):
        x = b.linear(z, "grow", array(context.grow.weight).T, array(context.grow.bias))
        x = b.op("Reshape", x, b.ints(0, -1, height, width))
    else:
        x = conv(b, z, "grow", context.grow)
    doubling = b.weight("doubling", np.array([1, 1, 2, 2], np.float32))
    for s, (size, refine) in enumerate(zip(context.sizes, context.refine, strict=True)):
        if s:
            before = context.sizes[s - 1]
            x = b.op(
                "Resize", x, "", doubling, mode="nearest", coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            )  # fmt: skip
            if (2 * before[0], 2 * before[1]) != size:
                x = b.op("Slice", x, b.ints(0, 0), b.ints(*size), b.ints(2, 3))
            x = conv(b, x, f"up{s}", context.up[s - 1])  # type: ignore[arg-type]
        assert isinstance(refine, nn.Sequential)
        for r, block in enumerate(refine):
            assert isinstance(block, ResidualBlock)
            x = residual(b, x, f"refine{s}.{r}", block)
    return conv(b, b.elu(x), "output", context.output)


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
    normalised = b.op("LogSoftmax", b.op("Reshape", logits, b.ints(-1, c, levels, h, w)), axis=2)
    value = b.op("Unsqueeze", b.op("Cast", image, to=TensorProto.INT64), b.ints(2))
    # One-hot times log-probability: a gather over 256 classes is more than onnx's own evaluator can do.
    classes = b.weight("classes", np.arange(levels, dtype=np.int64).reshape(1, 1, levels, 1, 1))
    one_hot = b.op("Cast", b.op("Equal", value, classes), to=TensorProto.FLOAT)
    return b.op("ReduceSum", b.op("Mul", normalised, one_hot), b.ints(2), keepdims=0)


def _pair(value: int | str | tuple[int, ...]) -> tuple[int, int]:
    assert not isinstance(value, str)
    return (value, value) if isinstance(value, int) else (value[0], value[1])
