"""The parts that several graphs share: convolutions, residual blocks, the network that grows latents to a grid."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pvae_zoo.graphs.builder import GraphBuilder
from pvae_zoo.models.encoder import ResidualBlock
from pvae_zoo.models.gaussian import STD_LIMIT
from pvae_zoo.models.masked_conv import MaskedConv2d
from pvae_zoo.models.masked_stack import GatedLayer, MaskedStack
from pvae_zoo.models.upsampling import Upsampling


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
    bias = b.weight(f"{name}.bias", array(layer.total_bias))
    rows, reach = layer.window.rows, layer.window.reach
    kernel = list(layer.weight.shape[2:])
    return b.op("Conv", x, weight, bias, kernel_shape=kernel, pads=[rows, reach, 0, reach])


def residual(b: GraphBuilder, x: str, name: str, block: ResidualBlock) -> str:
    inner = b.elu(conv(b, b.elu(x), f"{name}.first", block.first))
    return b.op("Add", x, conv(b, inner, f"{name}.second", block.second))


def limited_log_std(b: GraphBuilder, s: str) -> str:
    """`pvae_zoo.models.gaussian.limited_log_std`."""
    return b.op("Sub", b.scalar(math.log(STD_LIMIT)), b.softplus(b.op("Neg", s)))


def masked_stack(b: GraphBuilder, seen: str, context: str, stack: MaskedStack) -> str:
    """`MaskedStack.parameters_of`: parameters ``(N, channels, H, W)`` of all positions at once."""
    # One row for all positions is taken off with its sign turned: OpenCV 5 joins a convolution and an Add into one
    # layer, which then refuses to broadcast.
    join = "Sub" if stack.condition_gates else "Add"
    parts = b.split(b.op("Neg", context) if stack.condition_gates else context, stack.context_split)
    h = b.op(join, masked_conv(b, seen, "input", stack.input), parts[0])
    share = stack.config.channels // stack.groups
    for index, layer in enumerate(stack.layers):
        assert isinstance(layer, GatedLayer)
        y = masked_conv(b, h, f"layer{index}.conv", layer.conv)
        y = b.op(join, y, parts[1 + index]) if stack.condition_gates else y
        halves = b.split(y, [share] * (2 * stack.groups))
        tanh = b.tanh(b.concat(halves[0::2]))
        gated = b.op("Mul", tanh, b.op("Sigmoid", b.concat(halves[1::2])))
        h = b.op("Add", h, masked_conv(b, gated, f"layer{index}.output", layer.output))
    head = b.elu(masked_conv(b, b.elu(h), "head", stack.head))
    return masked_conv(b, head, "output", stack.output)


def upsampling(b: GraphBuilder, z: str, context: Upsampling) -> str:
    """`Upsampling`: latents to a context ``(N, channels, H, W)``."""
    height, width = context.sizes[0]
    if isinstance(context.grow, nn.Linear):
        x = b.linear(z, "grow", array(context.grow.weight).T, array(context.grow.bias))
        x = b.op("Reshape", x, b.ints(0, -1, height, width))
    else:
        x = conv(b, z, "grow", context.grow)
    for s, (size, refine) in enumerate(zip(context.sizes, context.refine, strict=True)):
        if s:
            x = _doubled(b, x, context.sizes[s - 1], size)
            x = conv(b, x, f"up{s}", context.up[s - 1])  # type: ignore[arg-type]
        assert isinstance(refine, nn.Sequential)
        for r, block in enumerate(refine):
            assert isinstance(block, ResidualBlock)
            x = residual(b, x, f"refine{s}.{r}", block)
    return conv(b, b.elu(x), "output", context.output)


def as_rows(b: GraphBuilder, features: str, channels: int) -> str:
    """``(N, channels, H, W)`` to a context ``(N, H * W, channels)``, positions in raster order."""
    return b.op("Transpose", b.op("Reshape", features, b.ints(0, channels, -1)), perm=[0, 2, 1])


def from_rows(b: GraphBuilder, context: str, channels: int, size: tuple[int, int]) -> str:
    """A context ``(N, H * W, channels)`` to ``(N, channels, H, W)``."""
    return b.op("Reshape", b.op("Transpose", context, perm=[0, 2, 1]), b.ints(0, channels, *size))


def _doubled(b: GraphBuilder, x: str, before: tuple[int, int], size: tuple[int, int]) -> str:
    doubling = b.shared("doubling", np.array([1, 1, 2, 2], np.float32))
    x = b.op(
        "Resize", x, "", doubling, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"
    )  # fmt: skip
    if (2 * before[0], 2 * before[1]) != size:
        x = b.op("Slice", x, b.ints(0, 0), b.ints(*size), b.ints(2, 3))
    return x


def _pair(value: int | str | tuple[int, ...]) -> tuple[int, int]:
    assert not isinstance(value, str)
    return (value, value) if isinstance(value, int) else (value[0], value[1])
