"""p(pixel | logits): Bernoulli for two levels, a softmax for more.

Logits are group-major, ``(B, C * width, H, W)``: all logits of the first image channel, then those of the second.
Reference: PixelVAE (Gulrajani et al., 2017), sections 4.1 (Bernoulli) and 4.2 (256-way softmax).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from pvae_zoo.contract.architecture import ImageShape


def pixel_log_prob(logits: Tensor, x: Tensor, image: ImageShape) -> Tensor:
    """Log-probability of every value, in nats.

    Args:
        logits: ``(B, C * logits_per_value, H, W)``, any floating type.
        x: ``(B, C, H, W)`` integers in ``0 .. levels - 1``.
        image: the image's shape and levels.

    Returns:
        ``(B, C, H, W)`` float32, at most 0.
    """
    logits = logits.float()
    if image.levels == 2:
        return -F.binary_cross_entropy_with_logits(logits, x.to(logits.dtype), reduction="none")
    per_channel = logits.unflatten(1, (image.channels, image.levels)).log_softmax(2)
    log_prob: Tensor = per_channel.gather(2, x.long().unsqueeze(2)).squeeze(2)
    return log_prob
