"""The decoder: p(x|z1), a context computed once from z1, and the PixelCNN that it conditions.

Reference: PixelVAE (Gulrajani et al., 2017), section 3 and table 1: "with upsampling" and "without upsampling".
Differences: the upsampled features are seen at the pixel itself and after it too (the original's mask hides them), and
upsampling is nearest-neighbour and a convolution in place of a transposed convolution.
"""

from __future__ import annotations

from torch import Tensor, nn

from pvae_zoo.contract.architecture import Architecture, stage_sizes
from pvae_zoo.models.pixelcnn import PixelCNN
from pvae_zoo.models.upsampling import Upsampling


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


class NoContext(nn.Module):
    """Without latents: a context that says nothing, ``(B, 0)`` to ``(B, context_channels, 1, 1)``."""

    def __init__(self, context_channels: int) -> None:
        super().__init__()
        self.channels = context_channels

    def forward(self, z: Tensor) -> Tensor:
        return z.new_zeros(len(z), self.channels, 1, 1)


class Decoder(nn.Module):
    """p(x|z1): `context` once an image, then `pixelcnn`, teacher-forced here, pixel by pixel in the exported step."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        config = architecture.decoder
        gates = config.conditioning == "gates"
        self.pixelcnn = PixelCNN(architecture.image, config.pixelcnn, condition_gates=gates)
        channels = self.pixelcnn.context_channels
        self.context: GateContext | Upsampling | NoContext
        if not architecture.latents:
            self.context = NoContext(channels)
            return
        z1 = architecture.latents[0]
        if gates:
            self.context = GateContext(z1.channels, channels)
        else:
            sizes = stage_sizes(architecture.image, z1.stage)[::-1]
            self.context = Upsampling(z1, sizes, config.widths, config.blocks, channels)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """Logits of integers ``x`` ``(B, C, H, W)`` given z1 ``(B, *latent_shape)``, ``(B, 0)`` where there is none."""
        logits: Tensor = self.pixelcnn(x, self.context(z))
        return logits
