"""Auxiliary decoders: while a model is trained, each level of latents must tell a thumbnail by itself.

What is made of a level (the decoder's context of z1; what p(z1|z2) makes of z2) is averaged over the thumbnail's
cells and goes through one 1x1 linear layer: the mean of a Gaussian of fixed standard deviation over the thumbnail's
values, whose nats are added to the loss. So latents mean something from the first thousand steps on, and the masked
layers come to read them; without it a network that predicts a pixel from its neighbours never reads latents that
begin as noise. The layers are no part of the model: they are kept in the checkpoint and never exported.

Reference: Auxiliary Guided Autoregressive Variational Autoencoders (Lucas & Verbeek, 2018), arXiv 1711.11479.
Differences: the auxiliary decoder shares all but its last layer with the decoder, its image is a thumbnail, its noise
is fixed, and the pixels are not conditioned on what it says.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.models.pixelcnn import scale_values
from pvae_zoo.models.pixelvae import PixelVAE
from pvae_zoo.models.prior import MapPrior
from pvae_zoo.training.recipe import Thumbnail


class Auxiliary(nn.Module):
    """The linear layers, one for each level, bottom first; none where the recipe asks for none."""

    def __init__(self, model: PixelVAE, thumbnails: tuple[Thumbnail, ...]) -> None:
        super().__init__()
        self.image, self.thumbnails = model.architecture.image, thumbnails
        stacks = [model.decoder.pixelcnn, *(prior.stack for prior in model.priors if isinstance(prior, MapPrior))]
        told = stacks if thumbnails else []
        self.heads = nn.ModuleList(nn.Conv2d(stack.context_channels, self.image.channels, 1) for stack in told)

    def errors(self, x: Tensor, level: int, context: Tensor) -> Tensor:
        """Squared errors of a level's thumbnails, summed over each, ``(B,)``.

        Args:
            x: integers ``(B, C, H, W)``.
            level: 0 for z1.
            context: what is made of the level, ``(B, channels, h, w)``.
        """
        size = self.thumbnails[level].size
        guess: Tensor = self.heads[level](_pooled(context, size)).float()
        return (guess - thumbnails_of(x, self.image, size)).square().flatten(1).sum(1)

    def nats(self, level: int, errors: Tensor) -> Tensor:
        """Minus the Gaussian's log-density but for its constant, of squared errors in any shape."""
        return 0.5 / self.thumbnails[level].sigma ** 2 * errors


def thumbnails_of(x: Tensor, image: ImageShape, size: int) -> Tensor:
    """Of integers ``x`` ``(B, C, H, W)``: means over the cells of a grid, in -1..1, ``(B, C, size, size)``."""
    return _pooled(scale_values(x, image), size)


def _pooled(maps: Tensor, size: int) -> Tensor:
    return F.avg_pool2d(maps, (maps.shape[-2] // size, maps.shape[-1] // size))
