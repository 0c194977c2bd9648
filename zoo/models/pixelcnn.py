"""The PixelCNN inside the decoder: gated masked convolutions, conditioned on a context.

References:
    [1] Conditional Image Generation with PixelCNN Decoders (van den Oord et al., 2016), arXiv 1606.05328, eq. (2), (4)
    [2] PixelVAE (Gulrajani et al., 2017), arXiv 1611.05013, section 3

Differences: a single stack with a small reach (see `pvae_zoo.models.masked_conv`), and whole channels of a gate are
dropped in training, which costs nothing where element-wise dropout costs a third of the time on a CPU.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pvae_zoo.models.architecture import ImageShape, PixelCNNConfig
from pvae_zoo.models.likelihood import logits_per_value
from pvae_zoo.models.masked_conv import MaskedConv2d, Window


def scale_values(x: Tensor, image: ImageShape) -> Tensor:
    """Values ``0 .. levels - 1`` as floats in -1..1."""
    return x.float() * (2.0 / (image.levels - 1)) - 1.0


class PixelEmbedding(nn.Module):
    """What the network sees of a pixel: its scaled value, and a learned embedding beside it.

    ``(B, C, H, W)`` integers to ``(B, C * (1 + embedding), H, W)``, group-major.
    """

    def __init__(self, image: ImageShape, embedding: int) -> None:
        super().__init__()
        self.image = image
        self.width = 1 + embedding
        self.table = nn.Parameter(torch.randn(image.channels, image.levels, embedding) * 0.3) if embedding else None

    def forward(self, x: Tensor) -> Tensor:
        scaled = scale_values(x, self.image)
        if self.table is None:
            return scaled
        channels = []
        for c in range(self.image.channels):
            embedded = F.embedding(x[:, c].long(), self.table[c]).permute(0, 3, 1, 2)
            channels += [scaled[:, c : c + 1], embedded]
        return torch.cat(channels, dim=1)


class GatedLayer(nn.Module):
    """``h + conv1x1(tanh(a) * sigmoid(b))`` with ``a, b = masked_conv(h) + context`` ([1] eq. (4)).

    The convolution's output is group-major: for each image channel its share of ``a``, then its share of ``b``.
    """

    def __init__(self, channels: int, window: Window, groups: int, dropout: float) -> None:
        super().__init__()
        self.groups = groups
        self.dropout = dropout
        self.conv = MaskedConv2d(channels, 2 * channels, window, mask_type="B", groups=groups)
        self.output = MaskedConv2d(channels, channels, mask_type="B", groups=groups, gain=0.3)

    def forward(self, h: Tensor, context: Tensor | None) -> Tensor:
        gates = self.conv(h) if context is None else self.conv(h) + context
        if self.groups == 1:
            a, b = gates.chunk(2, dim=1)
        else:
            a, b = (half.flatten(1, 2) for half in gates.unflatten(1, (self.groups, 2, -1)).unbind(2))
        gated = torch.tanh(a) * torch.sigmoid(b)
        if self.training and self.dropout:
            keep = torch.rand(gated.shape[0], gated.shape[1], 1, 1, device=h.device) >= self.dropout
            gated = gated * (keep.to(gated.dtype) / (1 - self.dropout))
        branch: Tensor = self.output(gated)
        return h + branch


class PixelCNN(nn.Module):
    """Autoregressive logits of an image, conditioned on a context.

    The context is ``(B, context_channels, 1 or H, 1 or W)``: first ``channels`` that join the input layer, then, where
    the gates are conditioned, ``2 * channels`` for each gated layer.
    """

    def __init__(self, image: ImageShape, config: PixelCNNConfig, *, condition_gates: bool) -> None:
        super().__init__()
        groups, channels = image.channels, config.channels
        self.config = config
        self.condition_gates = condition_gates
        self.embedding = PixelEmbedding(image, config.embedding)
        input_window = Window(rows=config.input_rows, reach=config.reach)
        self.input = MaskedConv2d(groups * self.embedding.width, channels, input_window, mask_type="A", groups=groups)
        window = Window(rows=config.rows, reach=config.reach)
        self.layers = nn.ModuleList(GatedLayer(channels, window, groups, config.dropout) for _ in range(config.layers))
        self.head = MaskedConv2d(channels, config.head, mask_type="B", groups=groups)
        self.logits = MaskedConv2d(config.head, groups * logits_per_value(image), mask_type="B", groups=groups)

    @property
    def context_channels(self) -> int:
        per_gate = 2 * self.config.channels if self.condition_gates else 0
        return self.config.channels + per_gate * self.config.layers

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Logits ``(B, C * logits_per_value, H, W)`` of integers ``x`` ``(B, C, H, W)``, teacher-forced."""
        channels = self.config.channels
        h = self.input(self.embedding(x)) + context[:, :channels]
        for index, layer in enumerate(self.layers):
            start = channels * (1 + 2 * index)
            h = layer(h, context[:, start : start + 2 * channels] if self.condition_gates else None)
        logits: Tensor = self.logits(F.elu(self.head(F.elu(h))))
        return logits
