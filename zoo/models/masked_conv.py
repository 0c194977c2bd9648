"""Masked convolutions: a pixel sees the rows above it and the row to its left, and nothing else.

A single stack with a small reach. Each output pixel reads a window of ``rows`` rows above it, ``reach`` columns to
either side, and of its own row only the ``reach`` columns to the left. Inside a pixel the channels come in groups, one
for each image channel (R, G, B): mask A lets a group see the groups before it, mask B its own as well.

The reach is kept small on purpose. Row y can be computed as soon as row y-1 is ``reach + 1`` pixels ahead, whatever
the depth, and that is what makes exact wavefront sampling possible (`pvae_zoo.runtime.wavefront`).

References:
    [1] Conditional Image Generation with PixelCNN Decoders (van den Oord et al., 2016), arXiv 1606.05328
    [2] PixelVAE (Gulrajani et al., 2017), arXiv 1611.05013, section 3

Differences from [1]: one stack instead of two, so a blind spot remains to the upper right, beyond ``reach`` columns a
row; [2] accepts the same for its 64x64 models.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MaskType = Literal["A", "B"]


@dataclass(frozen=True, kw_only=True)
class Window:
    """What a masked convolution reads around a pixel.

    Attributes:
        rows: rows above the pixel; 0 with ``reach`` 0 is a 1x1 convolution.
        reach: columns to either side in the rows above, and to the left in the pixel's own row.
    """

    rows: int
    reach: int

    def __post_init__(self) -> None:
        if self.rows < 0 or self.reach < 0:
            raise ValueError(f"a window needs rows >= 0 and reach >= 0, not {self.rows} and {self.reach}")

    @property
    def neighbours(self) -> list[tuple[int, int]]:
        """The (dy, dx) of every pixel seen but the centre, in raster order."""
        above = [(dy, dx) for dy in range(-self.rows, 0) for dx in range(-self.reach, self.reach + 1)]
        return above + [(0, dx) for dx in range(-self.reach, 0)]


POINT = Window(rows=0, reach=0)


def channel_mask(mask_type: MaskType, in_channels: int, out_channels: int, groups: int) -> Tensor:
    """Which input channels an output channel sees at the centre pixel.

    Channels are group-major: the first ``channels / groups`` belong to the first image channel, and so on.

    Returns:
        Float tensor ``(out_channels, in_channels)`` of zeros and ones.

    Raises:
        ValueError: if a number of channels is no multiple of ``groups``.
    """
    for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
        if channels % groups:
            raise ValueError(f"{name}={channels} cannot be divided among {groups} image channels")
    in_group = torch.arange(in_channels) // (in_channels // groups)
    out_group = torch.arange(out_channels) // (out_channels // groups)
    seen = in_group[None, :] < out_group[:, None] if mask_type == "A" else in_group[None, :] <= out_group[:, None]
    return seen.float()


def seen_pairs(mask_type: MaskType, in_channels: int, out_channels: int, groups: int) -> int:
    """The number of ones in the `channel_mask` of the same sizes, without a tensor."""
    pairs = groups * (groups - 1) // 2 if mask_type == "A" else groups * (groups + 1) // 2
    return pairs * (in_channels // groups) * (out_channels // groups)


class MaskedConv2d(nn.Module):
    """A causal convolution, ``(B, in_channels, H, W)`` to ``(B, out_channels, H, W)``.

    Args:
        in_channels: input channels, group-major.
        out_channels: output channels, group-major.
        window: the neighbours to read; `POINT` for a 1x1 convolution.
        mask_type: "A" hides a pixel's own group from itself (the first layer), "B" shows it.
        groups: image channels.
        gain: factor on the standard deviation of the initial weights, which is ``1 / sqrt(fan_in)`` otherwise.

    Attributes:
        macs: multiply-adds for one position, those of the seen taps only.
    """

    mask: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        window: Window = POINT,
        *,
        mask_type: MaskType,
        groups: int,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.window = window
        self.macs = len(window.neighbours) * in_channels * out_channels
        self.macs += seen_pairs(mask_type, in_channels, out_channels, groups)
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, window.rows + 1, 2 * window.reach + 1))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        mask = torch.zeros_like(self.weight)
        mask[:, :, : window.rows] = 1.0
        mask[:, :, window.rows, : window.reach] = 1.0
        mask[:, :, window.rows, window.reach] = channel_mask(mask_type, in_channels, out_channels, groups)
        self.register_buffer("mask", mask, persistent=False)
        nn.init.normal_(self.weight, std=gain / math.sqrt(max(1.0, self.macs / out_channels)))

    @property
    def masked_weight(self) -> Tensor:
        """The weight with every forbidden tap at zero, ``(out_channels, in_channels, rows + 1, 2 * reach + 1)``."""
        return self.weight * self.mask

    @property
    def total_bias(self) -> Tensor:
        """``(out_channels,)``."""
        return self.bias

    def forward(self, x: Tensor) -> Tensor:
        rows, reach = self.window.rows, self.window.reach
        # Padding first: the weight gradient of a convolution that pads by itself was ten times slower (oneDNN, bf16).
        padded = F.pad(x, (reach, reach, rows, 0)) if rows or reach else x
        return F.conv2d(padded, self.masked_weight, self.total_bias)
