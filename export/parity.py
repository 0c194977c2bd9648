"""The proof that a bundle computes what PyTorch computes, each of its graphs.

Whole-image graphs are compared on images. The step graphs draw these images again, a wavefront at a time: the decoder's
is told the pixels and must give each the same log-probability, the prior's is given the noise from which PyTorch has
these z1 and must draw them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.checks.gaps import gaps, largest_gap
from pvae_zoo.contract.folder import GOLDEN, Bundle
from pvae_zoo.data.datasets import load_split
from pvae_zoo.export.bundle import model_of
from pvae_zoo.models.likelihood import pixel_log_prob
from pvae_zoo.models.pixelvae import PixelVAE
from pvae_zoo.runtime.latents import posterior_noise
from pvae_zoo.runtime.model import Model
from pvae_zoo.runtime.noise import content_key
from pvae_zoo.runtime.scoring import bits_per_dim
from pvae_zoo.training.checkpoint import Checkpoint
from pvae_zoo.training.recipe import Recipe

TOLERANCE = 1e-4
FARTHEST = 1e-3
OUTLIERS = 1e-3
"""Share of an output's values that may be beyond `TOLERANCE`, up to `FARTHEST`.

The logits of a 256-way softmax reach several hundred, and float32 is no closer there: of the log-probabilities of
eight rooms, 0.4 % of PyTorch's are beyond 1e-4 of its own in float64, as many of onnxruntime's, and 0.01 % of the one's
from the other's.
"""
IMAGES = 1000
_BATCH = 20
_STEP_VALUES = 1 << 14
"""Values that the step graphs draw again: one image of 64x64 in colour, 20 digits."""


@dataclass(frozen=True)
class Parity:
    """How far onnxruntime and PyTorch are apart on the same inputs.

    Attributes:
        largest_difference: of each output, and of what each step graph drew, as
            `pvae_zoo.checks.gaps.largest_gap` reckons it.
        share_beyond: share of the values of each output that differ by more than 1e-4.
        elbo_bits_per_dim_difference: largest absolute difference of an image's bound.
        images: how many were compared.
    """

    largest_difference: dict[str, float]
    share_beyond: dict[str, float]
    elbo_bits_per_dim_difference: float
    images: int

    @property
    def ok(self) -> bool:
        """Whether outputs agree within 1e-4, outliers aside, and every bound within 1e-4 bits per dimension."""
        # Not by max: it passes over what is not a number.
        return (
            all(d <= FARTHEST for d in self.largest_difference.values())
            and all(share <= OUTLIERS for share in self.share_beyond.values())
            and self.elbo_bits_per_dim_difference <= TOLERANCE
        )


def check_parity(bundle: Bundle, checkpoint: Checkpoint, data: Path | NDArray[np.uint8] | None = None) -> Parity:
    """Compare a bundle with weights in PyTorch.

    Args:
        bundle: the exported graphs.
        checkpoint: that it was exported from, or that was read out of it (`pvae_zoo.export.weights`).
        data: images ``(N, C, H, W)``, or a data set, of whose validation split up to 1,000 images spread over the whole
            are compared; without it the bundle's golden images.

    Raises:
        PvaeZooError: if the checkpoint is another model's, or something cannot be read.
    """
    recipe = checkpoint.recipe
    if recipe.model.image != bundle.config.image:
        raise PvaeZooError(f"the checkpoint of {recipe.name} is of other images than the bundle {bundle.name}'s")
    if recipe.model.latent_shapes != [level.shape for level in bundle.config.latents]:
        raise PvaeZooError(f"the checkpoint of {recipe.name} has other latents than the bundle {bundle.name}'s")
    images = _images(bundle, recipe, data)
    runtime = Model(bundle, "cpu")
    scores = runtime.nll(images)
    expected = _torch_outputs(model_of(checkpoint), images, runtime)
    actual: dict[str, NDArray[Any]] = {"log_prob": scores.log_prob}
    for number, level in enumerate(runtime.encode(images), start=1):
        actual |= {f"z{number}_mean": level.mean, f"z{number}_log_std": level.log_std}
    actual |= _from_latents(runtime, images, expected)
    drawn = {"decoder_step": expected["log_prob"], "prior_step": expected["z1"]}
    pairs = {name: (value, (expected | drawn)[name][: len(value)]) for name, value in actual.items()}
    difference = {name: largest_gap(*pair) for name, pair in pairs.items()}
    beyond = {name: float((gaps(*pair) > TOLERANCE).mean()) for name, pair in pairs.items()}
    nll = bits_per_dim(expected["nll_nats"], bundle.config.image)
    return Parity(difference, beyond, float(np.abs(scores.bits_per_dim - nll).max()), len(images))


def _from_latents(
    runtime: Model, images: NDArray[np.uint8], expected: dict[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """What the priors make of PyTorch's latents, and the step graphs of those of the first images."""
    few = max(1, _STEP_VALUES // images[0].size)
    networks, given = runtime.networks, images[:few].astype(np.int64)
    z1, uniforms = expected["z1"][:few], np.zeros(given.shape, np.float32)
    found: dict[str, NDArray[Any]] = {"decoder_step": networks.draw_pixels(z1, uniforms, given, 1.0).log_prob}
    if networks.levels > 1:
        prior = networks.priors([expected["z1"], expected["z2"]])[0]
        assert prior is not None
        found |= {"prior_mean": prior.mean, "prior_log_std": prior.log_std}
        found["prior_step"] = networks.draw_z1([expected["z1_noise"][:few], expected["z2"][:few]])
    return found


def _images(bundle: Bundle, recipe: Recipe, data: Path | NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    if isinstance(data, np.ndarray):
        return data
    if data is None:
        with np.load(bundle.folder / GOLDEN, allow_pickle=False) as golden:
            images: NDArray[np.uint8] = golden["image"].astype(np.uint8)
            return images
    split = load_split(data, "valid", recipe.model.image, binarize=recipe.binarize, augmentation=recipe.data)
    spread = np.arange(0, len(split), max(1, len(split) // IMAGES))[:IMAGES]  # files may be sorted by class
    return split.read(spread, None)


@torch.no_grad()
def _torch_outputs(model: PixelVAE, images: NDArray[np.uint8], runtime: Model) -> dict[str, NDArray[Any]]:
    """What PyTorch makes of the images, with the runtime's noise for each."""
    collected: dict[str, list[NDArray[Any]]] = {}
    for start in range(0, len(images), _BATCH):
        x = torch.from_numpy(images[start : start + _BATCH])
        eps = posterior_noise(runtime.networks, 0, [content_key(image) for image in x.numpy()])
        q = model.posteriors(x)
        z = [level.rsample(torch.from_numpy(e)) for level, e in zip(q, eps, strict=True)]
        p = model.prior_of(z)
        log_prob = pixel_log_prob(model.decoder(x, z[0]), x, model.architecture.image)
        kl = torch.stack([a.kl(b) for a, b in zip(q, p, strict=True)]).sum(0)
        batch = {"log_prob": log_prob, "nll_nats": kl.double() - log_prob.double().flatten(1).sum(1)}
        batch |= {"z1": z[0], "z1_noise": (z[0] - p[0].mean) * torch.exp(-p[0].log_std)}
        batch |= {"z2": z[1], "prior_mean": p[0].mean, "prior_log_std": p[0].log_std} if len(z) > 1 else {}
        for number, level in enumerate(q, start=1):
            batch |= {f"z{number}_mean": level.mean, f"z{number}_log_std": level.log_std}
        for name, value in batch.items():
            collected.setdefault(name, []).append(value.numpy())
    return {name: np.concatenate(parts) for name, parts in collected.items()}
