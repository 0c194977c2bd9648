"""Growing latents to the grid of what they condition: z1 to the image, z2 to the map of z1."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from pvae_zoo.contract.architecture import LatentLevel
from pvae_zoo.models.encoder import ResidualBlock


class Upsampling(nn.Module):
    """Latents ``(B, channels)`` or ``(B, channels, h, w)`` to a context ``(B, context_channels, H, W)``.

    A vector is first mapped to the smallest grid. Each doubling is nearest-neighbour, cropped to the encoder's size of
    that stage (28 -> 14 -> 7 -> 4 is odd on the way), a convolution and residual blocks.

    Args:
        level: the latents.
        sizes: ``(height, width)`` from the smallest grid to the last.
        widths: channels at each of these sizes.
        blocks: residual blocks at each of these sizes.
        context_channels: channels of the result.
    """

    def __init__(
        self,
        level: LatentLevel,
        sizes: Sequence[tuple[int, int]],
        widths: Sequence[int],
        blocks: int,
        context_channels: int,
    ) -> None:
        super().__init__()
        self.sizes = list(sizes)
        height, width = self.sizes[0]
        self.grow: nn.Linear | nn.Conv2d
        if level.kind == "vector":
            self.grow = nn.Linear(level.channels, widths[0] * height * width)
        else:
            self.grow = nn.Conv2d(level.channels, widths[0], 1)
        self.refine = nn.ModuleList(nn.Sequential(*(ResidualBlock(w) for _ in range(blocks))) for w in widths)
        self.up = nn.ModuleList(nn.Conv2d(before, after, 3, padding=1) for before, after in itertools.pairwise(widths))
        self.output = nn.Conv2d(widths[-1], context_channels, 1)

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
            # Not F.interpolate: torch.compile loses the gradient of what comes before it (bf16, cropped).
            doubled = features.repeat_interleave(2, dim=2)[:, :, :height].repeat_interleave(2, dim=3)[:, :, :, :width]
            features = refine(up(doubled))
        context: Tensor = self.output(F.elu(features))
        return context
