"""Diagonal Gaussians: the posterior of every level and every prior above the pixels.

Reference: Auto-Encoding Variational Bayes (Kingma & Welling, 2014), arXiv 1312.6114, section 2.4 and appendix B.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

STD_LIMIT = 2.0


def limited_log_std(s: Tensor) -> Tensor:
    """A network's output as log standard deviation: ``std = 2 sigmoid(s)``, between 0 and 2, and 1 at ``s = 0``.

    PixelVAE's 64x64 models keep theirs below 1 (0.5 softsign(s) + 0.5). With ``std = exp(s)`` and a KL weight still
    near zero, single steps let it grow to e^30.
    """
    return math.log(STD_LIMIT) - F.softplus(-s)


@dataclass(frozen=True)
class DiagonalGaussian:
    """N(mean, exp(log_std)^2), independent in every dimension; ``mean`` and ``log_std`` of shape ``(B, ...)``."""

    mean: Tensor
    log_std: Tensor

    @classmethod
    def standard(cls, like: Tensor) -> DiagonalGaussian:
        """N(0, I) in the shape of ``like``."""
        return cls(torch.zeros_like(like), torch.zeros_like(like))

    def rsample(self, noise: Tensor) -> Tensor:
        """A reparameterised draw from standard normal ``noise`` of the same shape."""
        return self.mean + self.log_std.exp() * noise

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density in nats, ``(B,)``, summed over all dimensions."""
        standardised = (z - self.mean) * torch.exp(-self.log_std)
        return (-0.5 * standardised.square() - self.log_std - 0.5 * math.log(2 * math.pi)).flatten(1).sum(1)

    def kl(self, other: DiagonalGaussian) -> Tensor:
        """KL(self || other) in nats, ``(B,)``, summed over all dimensions."""
        log_ratio = other.log_std - self.log_std
        scaled_gap = (self.mean - other.mean) * torch.exp(-other.log_std)
        return (log_ratio + 0.5 * (torch.exp(-2 * log_ratio) + scaled_gap.square() - 1)).flatten(1).sum(1)
