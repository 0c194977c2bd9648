"""Sampling with PyTorch and whole passes of the network: references that know nothing of canvases."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from pvae_zoo.models.pixelvae import PixelVAE
from pvae_zoo.models.prior import MapPrior


@torch.no_grad()
def naive_sample(
    model: PixelVAE, z1: torch.Tensor, noise: NDArray[np.float32], rows: int | None = None
) -> torch.Tensor:
    """Draw images with a full forward pass for every pixel and channel: slow, and plainly right.

    Args:
        model: in evaluation mode, on the device of ``z1``.
        z1: ``(N, *latent_shape)``.
        noise: uniforms ``(N, C, H, W)``.
        rows: draw no more than these, from the top; the others stay 0.

    Returns:
        uint8 ``(N, C, H, W)``.
    """
    image = model.architecture.image
    x = torch.zeros(len(z1), *image.chw, dtype=torch.uint8, device=z1.device)
    u = torch.from_numpy(noise).to(z1.device)
    context = model.decoder.context(z1)
    for y in range(image.height if rows is None else rows):
        for column in range(image.width):
            for c in range(image.channels):
                logits = model.decoder.pixelcnn(x, context)
                here = (slice(None), slice(None), slice(y, y + 1), slice(column, column + 1))
                x[:, c, y, column] = _inverse_cdf(model, logits[here], u[here])[:, c, 0, 0]
    return x


@torch.no_grad()
def fixed_point_sample(model: PixelVAE, z1: torch.Tensor, noise: NDArray[np.float32]) -> torch.Tensor:
    """The same images as `naive_sample`, for models that it is too slow for: every value is drawn anew, all at once,
    until none changes.

    A value that was drawn from right values before it is right for good, so each pass makes at least one more right;
    the image that no pass changes is the sample (Wiggers & Hoogeboom, 2020, arXiv 2002.09928, section 3).

    Args and returns as `naive_sample`.
    """
    u = torch.from_numpy(noise).to(z1.device)
    context = model.decoder.context(z1)
    x = torch.zeros(len(z1), *model.architecture.image.chw, dtype=torch.uint8, device=z1.device)
    while True:
        drawn = _inverse_cdf(model, model.decoder.pixelcnn(x, context), u)
        if drawn.equal(x):
            return x
        x = drawn


@torch.no_grad()
def share_drawn_otherwise(model: PixelVAE, z1: torch.Tensor, noise: NDArray[np.float32], x: torch.Tensor) -> float:
    """Share of the values of images ``(N, C, H, W)`` that are not what is drawn there given the values before.

    0 shows in one pass that images are the sample which `fixed_point_sample` takes some hundred to find. Two ways of
    computing it part where a uniform stands within rounding of a threshold, and then in everything after that value;
    given the values before, they part in that value alone.

    Args:
        x: uint8.
        Others as `naive_sample`.
    """
    drawn = _inverse_cdf(model, model.decoder.pixelcnn(x, model.decoder.context(z1)), torch.from_numpy(noise))
    return float((drawn != x).float().mean())


@torch.no_grad()
def sample_z1(model: PixelVAE, noise: torch.Tensor, z2: torch.Tensor | None = None) -> torch.Tensor:
    """z1 from standard normal ``noise`` ``(N, *latent_shape)``; with two levels one location after the other."""
    if z2 is None:
        return noise
    prior = model.priors[0]
    assert isinstance(prior, MapPrior)
    z1, context = torch.zeros_like(noise), prior.context(z2)
    for _ in range(noise[0, 0].numel()):  # each pass makes at least one more location right
        before, z1 = z1, prior.given(z1, context).rsample(noise)
        if z1.equal(before):
            break
    return z1


def middle_uniforms(model: PixelVAE, logits: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """For each value of ``x`` the uniform in the middle of those that draw it.

    Rounding moves the ends of that interval, so a sample from uniforms near one differs from runtime to runtime, and
    with it all that is drawn after; from the middle it does not.

    Args:
        logits: ``(N, C * width, H, W)``, of ``x`` teacher-forced.
        x: integers ``(N, C, H, W)``.

    Returns:
        float32 ``(N, C, H, W)``.
    """
    image = model.architecture.image
    if image.levels == 2:
        one = logits.double().sigmoid()
        return torch.where(x == 1, one / 2, (1 + one) / 2).float()
    p = logits.double().unflatten(1, (image.channels, -1)).softmax(2)
    chosen = x.long().unsqueeze(2)
    middle: torch.Tensor = (p.cumsum(2).gather(2, chosen) - p.gather(2, chosen) / 2).squeeze(2)
    return middle.float()


def _inverse_cdf(model: PixelVAE, logits: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    """Values ``(N, C, H, W)`` from logits ``(N, C * width, H, W)`` and uniforms ``(N, C, H, W)``."""
    image = model.architecture.image
    if image.levels == 2:
        return (u < logits.sigmoid()).to(torch.uint8)
    cumulative = logits.unflatten(1, (image.channels, -1)).softmax(2).cumsum(2)[:, :, :-1]
    values: torch.Tensor = (u[:, :, None] >= cumulative).sum(2).to(torch.uint8)
    return values
