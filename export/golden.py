"""Golden vectors: small inputs of every graph with PyTorch's outputs, to check any runtime with.

The images are drawn by the model itself, through whole passes of the network, so no data set travels with a bundle and
the sampler has a reference that knows nothing of canvases. Their uniforms are then moved to where rounding cannot
change what they draw.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pvae_zoo.base.atomic import atomic_path
from pvae_zoo.checks.verification import GOLDEN_ROWS, golden_rows
from pvae_zoo.contract.precision import PIXEL_SHARE
from pvae_zoo.export.pixel_step import pixel_step_spec
from pvae_zoo.export.prior import map_prior
from pvae_zoo.export.prior_step import prior_step_spec
from pvae_zoo.export.reference import fixed_point_sample, middle_uniforms, sample_z1, share_drawn_otherwise
from pvae_zoo.export.step_vectors import step_arrays
from pvae_zoo.models.likelihood import pixel_log_prob
from pvae_zoo.models.pixelvae import PixelVAE
from pvae_zoo.runtime.noise import PIXELS, normals, uniforms

COUNT = 4
SEED = 0
LARGE = 4096
"""Values of an image from which one golden image must do."""


Draw = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.uint8]]
"""From z1 ``(N, *latent_shape)`` and uniforms ``(N, C, H, W)`` to images, somehow."""


@torch.no_grad()
def golden_vectors(model: PixelVAE, draw: Draw | None = None) -> dict[str, NDArray[Any]]:
    """Named arrays of a few images: noise, latents, samples, contexts, log-probabilities, posteriors.

    Args:
        draw: a fast sampler, whose images are taken if PyTorch, given the values before, draws each value so too, but
            for those where rounding decides.
    """
    image, shapes = model.architecture.image, model.architecture.latent_shapes
    indices = range(COUNT if image.dimensions < LARGE else 1)
    normal = [
        torch.from_numpy(normals(SEED, indices, level, int(np.prod(shape))).reshape(len(indices), *shape))
        for level, shape in enumerate(shapes, start=1)
    ]
    u = uniforms(SEED, indices, PIXELS, image.dimensions).reshape(len(indices), *image.chw)
    vectors = {"z1_noise": normal[0].numpy()}
    z1 = sample_z1(model, normal[0], normal[1] if len(shapes) > 1 else None)
    if len(shapes) > 1:
        vectors |= _prior_vectors(model, z1, normal[1])
    x = torch.from_numpy(draw(z1.numpy(), u)) if draw else None
    if x is None or share_drawn_otherwise(model, z1, u, x) > PIXEL_SHARE:
        x = fixed_point_sample(model, z1, u)
    context = model.decoder.context(z1)
    logits = model.decoder.pixelcnn(x, context)
    log_prob = pixel_log_prob(logits, x, image)
    vectors["uniforms"] = middle_uniforms(model, logits, x).numpy()
    vectors |= {"z1": z1.numpy(), "image": x.numpy(), "context": _rows(context), "log_prob": log_prob.numpy()}
    vectors |= _step_vectors(model, vectors, context)
    for number, q in enumerate(model.posteriors(x), start=1):
        vectors |= {f"z{number}_mean": q.mean.numpy(), f"z{number}_log_std": q.log_std.numpy()}
    return vectors


def _prior_vectors(model: PixelVAE, z1: torch.Tensor, z2: torch.Tensor) -> dict[str, NDArray[Any]]:
    prior = model.priors[0]
    p = prior(z1, z2)
    context = _rows(prior.context(z2))  # type: ignore[operator]
    return {
        "z2": z2.numpy(), "prior_context": context, "prior_mean": p.mean.numpy(), "prior_log_std": p.log_std.numpy()
    }  # fmt: skip


def _step_vectors(model: PixelVAE, vectors: dict[str, NDArray[Any]], context: torch.Tensor) -> dict[str, NDArray[Any]]:
    """Single steps of the first image (`pvae_zoo.checks.step_vectors`)."""
    one = {name: value[:1] for name, value in vectors.items()}
    pixelcnn, image = model.decoder.pixelcnn, torch.from_numpy(one["image"])
    drawn = {"pixels": one["image"].astype(np.int64), "log_prob": one["log_prob"]}
    values = {"uniforms": one["uniforms"], "given": np.full(image.shape, -1, np.int64)}
    seen = pixelcnn.embedding(image)
    arrays = step_arrays("decoder_step", pixelcnn, pixel_step_spec(model), seen, context[:1], values, drawn)
    if "z2" in vectors:
        prior, z1, z2 = map_prior(model), torch.from_numpy(one["z1"]), torch.from_numpy(one["z2"])
        values, drawn = {"noise": one["z1_noise"]}, {"z1": one["z1"]}
        above = prior.context(z2)
        arrays |= step_arrays("prior_step", prior.stack, prior_step_spec(model), z1, above, values, drawn)
    return arrays


def _rows(context: torch.Tensor) -> NDArray[Any]:
    """A context ``(N, channels, H, W)`` as the graphs have it, those rows of it that are kept."""
    rows: NDArray[Any] = context.flatten(2).transpose(1, 2).contiguous().numpy()
    return np.ascontiguousarray(golden_rows(rows, GOLDEN_ROWS))


def write_golden(path: Path, vectors: dict[str, NDArray[Any]]) -> None:
    """Write the vectors as a compressed ``.npz``."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **vectors)  # type: ignore[arg-type]
