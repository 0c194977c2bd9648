"""Does the compiled network have the gradients of the network?

It must be asked: torch 2.13's compiler (CPU, bf16) gave the layers before a cropped nearest-neighbour interpolation
gradients of exactly zero. The decoder trained on without its latents, and it looked like posterior collapse.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pvae_zoo.errors import PvaeZooError
from pvae_zoo.models.pixelvae import PixelVAE

TOLERANCE = 0.1
"""Largest difference of a gradient, as a share of its size."""

ROUNDING = 4.0
"""Largest difference, as a multiple of what rounding to bf16 alone makes: at an optimum that is all there is."""


def check_gradients(model: PixelVAE, compiled: nn.Module, x: Tensor, noise: Sequence[Tensor], *, bf16: bool) -> None:
    """Compare the gradients of the bound on a batch, dropout off; the weights stay as they are.

    Args:
        model: as PyTorch runs it.
        compiled: the same weights, compiled.
        x: images ``(B, C, H, W)``.
        noise: of the latents, one ``(B, *latent_shape)`` for each level.
        bf16: whether training computes in bf16.

    Raises:
        PvaeZooError: if they differ; the message names the parameter.
    """
    training = model.training

    def gradients(network: nn.Module, *, bf16: bool) -> dict[str, Tensor | None]:
        network.eval()
        with torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
            elbo = network(x, noise)
        model.zero_grad(set_to_none=True)
        (-elbo.value.mean()).backward()
        return {name: p.grad for name, p in model.named_parameters()}

    exact, eager, fused = gradients(model, bf16=False), gradients(model, bf16=bf16), gradients(compiled, bf16=bf16)
    model.zero_grad(set_to_none=True)
    model.train(training)
    floor = 1e-4 * max(float(g.norm()) for g in eager.values() if g is not None)
    for name, expected in eager.items():
        if expected is None:
            continue
        actual, rounding = fused[name], expected - _present(exact[name])
        difference = expected if actual is None else actual - expected
        allowed = TOLERANCE * float(expected.norm()) + ROUNDING * float(rounding.norm()) + floor
        if not float(difference.norm()) <= allowed:
            raise PvaeZooError(
                f"torch.compile computes another gradient than PyTorch for {name}: train without --compile"
            )


def _present(gradient: Tensor | None) -> Tensor:
    assert gradient is not None  # what has a gradient in bf16 has one in float32
    return gradient
