"""The encoder: q(z|x), a strided residual network with one diagonal Gaussian head for each level.

Reference: PixelVAE (Gulrajani et al., 2017), section 3, whose MNIST encoder is a plain strided network.
Differences: residual blocks with ELU in place of plain ReLU layers, sizes from the recipe.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pvae_zoo.contract.architecture import Architecture, EncoderConfig, LatentLevel, stage_sizes
from pvae_zoo.models.gaussian import DiagonalGaussian, limited_log_std


class ResidualBlock(nn.Module):
    """``x + conv3x3(elu(conv3x3(elu(x))))``, ``(B, channels, H, W)``; the branch starts small."""

    def __init__(self, channels: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.dropout = nn.Dropout2d(dropout)
        with torch.no_grad():
            self.second.weight.mul_(0.3)

    def forward(self, x: Tensor) -> Tensor:
        branch: Tensor = self.second(self.dropout(F.elu(self.first(F.elu(x)))))
        return x + branch


class Stage(nn.Sequential):
    """Halves the image (rounding up), then refines it: ``(B, in, H, W)`` to ``(B, out, ceil(H/2), ceil(W/2))``."""

    def __init__(self, in_channels: int, out_channels: int, config: EncoderConfig) -> None:
        blocks = [ResidualBlock(out_channels, config.dropout) for _ in range(config.blocks)]
        super().__init__(nn.ELU(), nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1), *blocks)

    @property
    def down(self) -> nn.Conv2d:
        """The convolution that halves."""
        down = self[1]
        assert isinstance(down, nn.Conv2d)
        return down

    @property
    def blocks(self) -> list[ResidualBlock]:
        """The blocks that refine."""
        return [module for module in self if isinstance(module, ResidualBlock)]


class PosteriorHead(nn.Module):
    """From a stage's features ``(B, width, h, w)`` to the Gaussian of one level."""

    def __init__(self, level: LatentLevel, width: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.kind = level.kind
        self.output: nn.Linear | nn.Conv2d
        if level.kind == "vector":
            self.output = nn.Linear(width * size[0] * size[1], 2 * level.channels)
        else:
            self.output = nn.Conv2d(width, 2 * level.channels, 1)
        self.output.bias = nn.Parameter(torch.zeros(2 * level.channels))  # starts at the prior's mean and width

    def forward(self, features: Tensor) -> DiagonalGaussian:
        features = F.elu(features)
        parameters = self.output(features.flatten(1) if self.kind == "vector" else features).float()
        mean, s = parameters.chunk(2, dim=1)
        return DiagonalGaussian(mean, limited_log_std(s))


class Encoder(nn.Module):
    """q(z|x) for every level, bottom first."""

    def __init__(self, architecture: Architecture, config: EncoderConfig) -> None:
        super().__init__()
        image = architecture.image
        sizes = stage_sizes(image, len(config.widths))
        channels = [config.stem, *config.widths]
        self.latents = architecture.latents
        self.stem = nn.Conv2d(image.channels, config.stem, 3, padding=1)
        self.stages = nn.ModuleList(Stage(before, after, config) for before, after in pairwise(channels))
        self.heads = nn.ModuleList(
            PosteriorHead(level, channels[level.stage], sizes[level.stage]) for level in self.latents
        )

    def forward(self, scaled: Tensor) -> list[DiagonalGaussian]:
        """Posteriors of an image scaled to -1..1, ``(B, C, H, W)``."""
        features = [self.stem(scaled)]
        for stage in self.stages:
            features.append(stage(features[-1]))
        return [head(features[level.stage]) for head, level in zip(self.heads, self.latents, strict=True)]
