"""Golden vectors: small inputs of every graph with PyTorch's outputs, to check any runtime with.

The images are drawn by the model itself, pixel by pixel through the whole network, so no data set travels with a
bundle and the sampler has a reference that knows nothing of canvases.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pvae_zoo.atomic import atomic_path
from pvae_zoo.models.likelihood import pixel_log_prob
from pvae_zoo.models.pixelvae import PixelVAE
from pvae_zoo.runtime.noise import PIXELS, normals, uniforms

COUNT = 4
SEED = 0


@torch.no_grad()
def naive_sample(model: PixelVAE, z1: torch.Tensor, noise: NDArray[np.float32]) -> torch.Tensor:
    """Draw images with a full forward pass for every pixel and channel: slow, and plainly right.

    Args:
        model: in evaluation mode.
        z1: ``(N, *latent_shape)``.
        noise: uniforms ``(N, C, H, W)``.

    Returns:
        uint8 ``(N, C, H, W)``.
    """
    image = model.architecture.image
    x = torch.zeros(len(z1), *image.chw, dtype=torch.uint8)
    u = torch.from_numpy(noise)
    context = model.decoder.context(z1)
    for y in range(image.height):
        for column in range(image.width):
            for c in range(image.channels):
                logits = model.decoder.pixelcnn(x, context)[:, :, y, column]
                x[:, c, y, column] = _inverse_cdf(logits, c, u[:, c, y, column], image.channels, image.levels)
    return x


def _inverse_cdf(logits: torch.Tensor, c: int, u: torch.Tensor, channels: int, levels: int) -> torch.Tensor:
    own: torch.Tensor = logits.unflatten(1, (channels, -1))[:, c]
    if levels == 2:
        return (u < own[:, 0].sigmoid()).to(torch.uint8)
    cumulative = own.softmax(1).cumsum(1)[:, :-1]
    return (u[:, None] >= cumulative).sum(1).to(torch.uint8)


@torch.no_grad()
def golden_vectors(model: PixelVAE) -> dict[str, NDArray[Any]]:
    """Named arrays: noise, samples, posteriors, context and log-probabilities of `COUNT` images."""
    image, shapes = model.architecture.image, model.architecture.latent_shapes
    indices = range(COUNT)
    z1 = torch.from_numpy(normals(SEED, indices, 1, int(np.prod(shapes[0]))).reshape(COUNT, *shapes[0]))
    noise = uniforms(SEED, indices, PIXELS, image.dimensions).reshape(COUNT, *image.chw)
    x = naive_sample(model, z1, noise)
    context = model.decoder.context(z1)
    log_prob = pixel_log_prob(model.decoder.pixelcnn(x, context), x, image)
    vectors = {
        "z1_noise": z1.numpy(),
        "z1": z1.numpy(),
        "uniforms": noise,
        "image": x.numpy(),
        "context": context.flatten(2).transpose(1, 2).contiguous().numpy(),
        "log_prob": log_prob.numpy(),
    }
    for number, q in enumerate(model.posteriors(x), start=1):
        vectors |= {f"z{number}_mean": q.mean.numpy(), f"z{number}_log_std": q.log_std.numpy()}
    return vectors


def write_golden(path: Path, vectors: dict[str, NDArray[Any]]) -> None:
    """Write the vectors as a compressed ``.npz``."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **vectors)  # type: ignore[arg-type]
