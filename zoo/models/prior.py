"""The priors: N(0, I) for the top level, p(z1|z2) for the map below it.

References:
    [1] PixelVAE (Gulrajani et al., 2017), arXiv 1611.05013, section 3.1: p(z1|z2) is itself a PixelCNN
Differences: means are not limited; for standard deviations see `pvae_zoo.models.gaussian.limited_log_std`.
"""

from __future__ import annotations

from torch import Tensor, nn

from pvae_zoo.contract.architecture import Architecture, PriorConfig, stage_sizes
from pvae_zoo.models.gaussian import DiagonalGaussian, limited_log_std
from pvae_zoo.models.masked_conv import MaskedConv2d
from pvae_zoo.models.masked_stack import MaskedStack
from pvae_zoo.models.upsampling import Upsampling


class StandardNormalPrior(nn.Module):
    """The top level's prior N(0, I). A prior is called with its own z and the z above it, here none."""

    def forward(self, z: Tensor, above: Tensor | None) -> DiagonalGaussian:
        if above is not None:
            raise ValueError("the top level has nothing above it")
        return DiagonalGaussian.standard(z)


class MapPrior(nn.Module):
    """p(z1|z2): `context` once an image, then `stack` over the locations of z1, all channels of one at once."""

    def __init__(self, architecture: Architecture, config: PriorConfig) -> None:
        super().__init__()
        z1, z2 = architecture.latents
        output = MaskedConv2d(config.pixelcnn.head, 2 * z1.channels, mask_type="B", groups=1, gain=0.3)
        self.stack = MaskedStack(config.pixelcnn, z1.channels, output, groups=1, condition_gates=False)
        sizes = stage_sizes(architecture.image, z2.stage)[z1.stage :][::-1]
        self.context = Upsampling(z2, sizes, config.widths, config.blocks, self.stack.context_channels)

    def forward(self, z: Tensor, above: Tensor | None) -> DiagonalGaussian:
        """The Gaussian of every location of ``z`` ``(B, channels, h, w)`` given those before it and z2 ``above``."""
        if above is None:
            raise ValueError("p(z1|z2) needs z2")
        return self.given(z, self.context(above))

    def given(self, z: Tensor, context: Tensor) -> DiagonalGaussian:
        """The same from what `context` made of z2."""
        mean, s = self.stack.parameters_of(z, context).float().chunk(2, dim=1)
        return DiagonalGaussian(mean, limited_log_std(s))
