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

from pvae_zoo.contract.architecture import ImageShape, PixelCNNConfig
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
    thing an optimiser finds is a smooth distribution about the right value, and single values come after. How much time
    it saves was not measured.

    The distributions are those of a plain layer, the parameters fewer: ``levels - 1`` cosines for ``levels`` logits.
    What adds the same to all logits of a value has no parameter, as no softmax sees it. While it had one, it drifted to
    7,000 in training, where float32 has no room left for the differences that count.
    """

    basis: Tensor

    def __init__(self, in_channels: int, image: ImageShape) -> None:
        cosines = image.channels * (image.levels - 1)
        super().__init__(in_channels, cosines, mask_type="B", groups=image.channels, gain=0.3)
        self.image = image
        self.macs = self.macs // (image.levels - 1) * image.levels  # of the plain layer, which is what is exported
        self.register_buffer("basis", cosine_basis(image.levels), persistent=False)

    def _over_values(self, cosines: Tensor) -> Tensor:
        by_value = self.basis @ cosines.view(self.image.channels, self.image.levels - 1, -1)
        return by_value.view(self.image.channels * self.image.levels, *cosines.shape[1:])

    @property
    def masked_weight(self) -> Tensor:
        """The plain layer's weight, ``(C * levels, in_channels, 1, 1)``."""
        # The mask is the same for all logits of a channel, so it may come first.
        return self._over_values(self.weight * self.mask)

    @property
    def total_bias(self) -> Tensor:
        """The plain layer's bias, ``(C * levels,)``."""
        return self._over_values(self.bias)


def cosine_basis(levels: int) -> Tensor:
    """Cosines over the values, ``(levels, levels - 1)``: column k - 1 has frequency k / 2 and falls off from k = 16 on.

    Scaled so that independent weights of standard deviation 1 would give logits of standard deviation 1 if frequency 0,
    which is left out, had one as well; of 256 logits the others make up 0.94.

    Every entry is a multiple of 2^-24, the same on every machine: `pvae_zoo.export.logits` reckons with them exactly.
    """
    value, k = torch.arange(levels, dtype=torch.float64)[:, None], torch.arange(levels, dtype=torch.float64)
    cosines = torch.cos(math.pi * (value + 0.5) * k / levels) / (1 + k / 16)
    scaled = cosines / cosines.square().sum(1).mean().sqrt()
    return (scaled[:, 1:].mul(2.0**24).round() / 2.0**24).float()


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
