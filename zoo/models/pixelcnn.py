"""The PixelCNN inside the decoder: autoregressive logits of an image, conditioned on a context.

References:
    [1] Conditional Image Generation with PixelCNN Decoders (van den Oord et al., 2016), arXiv 1606.05328
    [2] PixelVAE (Gulrajani et al., 2017), arXiv 1611.05013, section 3
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pvae_zoo.models.architecture import ImageShape, PixelCNNConfig
from pvae_zoo.models.masked_conv import MaskedConv2d
from pvae_zoo.models.masked_stack import MaskedStack


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


class SmoothLogits(MaskedConv2d):
    """The 1x1 layer of a softmax over ordered values, its weights kept as cosines over the values.

    A softmax does not know that neighbouring values are alike. Here slow cosines have large gains, so that the first
    thing an optimiser finds is a smooth distribution about the right value, and single values come after. It is the
    same family of functions, and what is exported is a plain layer. How much time it saves was not measured.
    """

    basis: Tensor

    def __init__(self, in_channels: int, image: ImageShape) -> None:
        super().__init__(in_channels, image.channels * image.levels, mask_type="B", groups=image.channels, gain=0.3)
        self.register_buffer("basis", cosine_basis(image.levels), persistent=False)

    def _over_values(self, cosines: Tensor) -> Tensor:
        groups, levels = self.mask.shape[0] // len(self.basis), len(self.basis)
        by_value = self.basis @ cosines.view(groups, levels, -1)
        return by_value.view(cosines.shape)

    @property
    def masked_weight(self) -> Tensor:
        # The mask is the same for all logits of a channel, so it may come first.
        return self._over_values(self.weight * self.mask)

    @property
    def total_bias(self) -> Tensor:
        return self._over_values(self.bias)


def cosine_basis(levels: int) -> Tensor:
    """Cosines over the values, ``(levels, levels)``: column k has frequency k / 2 and falls off in size from k = 16.

    Scaled so that independent weights of standard deviation 1 give logits of standard deviation 1.
    """
    value, k = torch.arange(levels)[:, None], torch.arange(levels)[None, :]
    cosines = torch.cos(math.pi * (value + 0.5) * k / levels) / (1 + k / 16)
    return cosines / cosines.square().sum(1).mean().sqrt()


class PixelCNN(MaskedStack):
    """Autoregressive logits of an image, conditioned on a context (see `MaskedStack`)."""

    def __init__(self, image: ImageShape, config: PixelCNNConfig, *, condition_gates: bool) -> None:
        embedding = PixelEmbedding(image, config.embedding)
        channels = image.channels
        output: MaskedConv2d
        if image.logits_per_value == 1:
            output = MaskedConv2d(config.head, channels, mask_type="B", groups=channels)
        else:
            output = SmoothLogits(config.head, image)
        super().__init__(
            config, channels * embedding.width, output, groups=channels, condition_gates=condition_gates
        )  # fmt: skip
        self.embedding = embedding

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Logits ``(B, C * logits_per_value, H, W)`` of integers ``x`` ``(B, C, H, W)``, teacher-forced."""
        return self.parameters_of(self.embedding(x), context)
