"""The decoder: p(x|z), a context computed once from z, and the PixelCNN that it conditions.

Reference: PixelVAE (Gulrajani et al., 2017), section 3 and table 1: "with upsampling" and "without upsampling".
Differences: the upsampled features are seen at the pixel itself and after it too (the original's mask hides them), and
upsampling is nearest-neighbour and a convolution in place of a transposed convolution.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from pvae_zoo.models.architecture import Architecture, stage_sizes
from pvae_zoo.models.encoder import ResidualBlock
from pvae_zoo.models.pixelcnn import PixelCNN


class GateContext(nn.Module):
    """Without upsampling: one linear map from z into the input layer and every gate, the same at every pixel.

    ``(B, Z)`` to ``(B, context_channels, 1, 1)``.
    """

    def __init__(self, latents: int, context_channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(latents, context_channels)
        nn.init.zeros_(self.linear.bias)

    def forward(self, z: Tensor) -> Tensor:
        context: Tensor = self.linear(z)
        return context[:, :, None, None]


class UpsampleContext(nn.Module):
    """With upsampling: z grown to image size, ``(B, *latent_shape)`` to ``(B, context_channels, H, W)``.

    A vector is first mapped to the smallest grid. Each doubling is nearest-neighbour, cropped to the encoder's size of
    that stage (28 -> 14 -> 7 -> 4 is odd on the way), a convolution and residual blocks.
    """

    def __init__(self, architecture: Architecture, context_channels: int) -> None:
        super().__init__()
        config, z1 = architecture.decoder, architecture.latents[0]
        self.sizes = stage_sizes(architecture.image, z1.stage)[::-1]
        height, width = self.sizes[0]
        first = config.widths[0]
        self.grow: nn.Linear | nn.Conv2d
        if z1.kind == "vector":
            self.grow = nn.Linear(z1.channels, first * height * width)
        else:
            self.grow = nn.Conv2d(z1.channels, first, 1)
        refine = [nn.Sequential(*(ResidualBlock(w) for _ in range(config.blocks))) for w in config.widths]
        self.refine = nn.ModuleList(refine)
        self.up = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1)
            for before, after in zip(config.widths[:-1], config.widths[1:], strict=True)
        )
        self.output = nn.Conv2d(config.widths[-1], context_channels, 1)
        # PyTorch's default shrinks the signal by about half a layer, so z would start as a whisper at the pixels.
        # Whether that matters to the trained model was not measured.
        for layer in (self.grow, *self.up, self.output):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def forward(self, z: Tensor) -> Tensor:
        features = self.grow(z)
        if z.dim() == 2:
            features = features.unflatten(1, (-1, *self.sizes[0]))
        features = self.refine[0](features)
        for (height, width), up, refine in zip(self.sizes[1:], self.up, self.refine[1:], strict=True):
            doubled = F.interpolate(features, scale_factor=2, mode="nearest")[:, :, :height, :width]
            features = refine(up(doubled))
        context: Tensor = self.output(F.elu(features))
        return context


class Decoder(nn.Module):
    """p(x|z1): `context` once an image, then `pixelcnn`, teacher-forced here, pixel by pixel in the exported step."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        config = architecture.decoder
        gates = config.conditioning == "gates"
        self.pixelcnn = PixelCNN(architecture.image, config.pixelcnn, condition_gates=gates)
        self.context: GateContext | UpsampleContext
        if gates:
            self.context = GateContext(architecture.latents[0].channels, self.pixelcnn.context_channels)
        else:
            self.context = UpsampleContext(architecture, self.pixelcnn.context_channels)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """Logits of integers ``x`` ``(B, C, H, W)`` given z1 ``(B, *latent_shape)``."""
        logits: Tensor = self.pixelcnn(x, self.context(z))
        return logits
