"""Does the compiled network have the gradients of the network?

It must be asked: torch 2.13's compiler (CPU, bf16) gave the layers before a cropped nearest-neighbour interpolation
gradients of exactly zero. The decoder trained on without its latents, and it looked like posterior collapse.

What is asked is the graph that trains: in training mode, with the images, the noise and the dropout of the run's next
step, the auxiliary decoders among it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.training.distributed import World

TOLERANCE = 0.1
"""Largest difference of a gradient, as a share of its size."""

ROUNDING = 4.0
"""Largest difference, as a multiple of what rounding to bf16 alone makes: at an optimum that is all there is."""


def compiled(network: nn.Module) -> nn.Module:
    """The network, to be compiled when it is first called.

    Its random numbers are PyTorch's own: dropout then is the same with and without compilation, and can be compared.
    """
    # torch.compile imports it anyway, a second later.
    import torch._inductor.config as inductor

    inductor.fallback_random = True
    fused: nn.Module = torch.compile(network, dynamic=False)  # type: ignore[assignment]
    return fused


def check_gradients(
    network: nn.Module, fused: nn.Module, loss: Callable[[nn.Module, bool], Tensor], *, bf16: bool, world: World
) -> None:
    """Compare the gradients of a loss; the weights stay as they are, and no gradient is left.

    Args:
        network: as PyTorch runs it. Where several processes train together both networks exchange gradients.
        fused: the same weights, compiled.
        loss: of a network, in bf16 or not; the same for the same network, dropout included.
        bf16: whether training computes in bf16.
        world: the processes, which all come to the same answer.

    Raises:
        PvaeZooError: if they differ; the message names the parameter.
    """

    def gradients(net: nn.Module, *, bf16: bool) -> dict[str, Tensor]:
        network.zero_grad(set_to_none=True)
        loss(net, bf16).backward()
        return {name: p.grad for name, p in network.named_parameters() if p.grad is not None}

    exact, eager, other = gradients(network, bf16=False), gradients(network, bf16=bf16), gradients(fused, bf16=bf16)
    network.zero_grad(set_to_none=True)
    floor = 1e-4 * max(float(g.norm()) for g in eager.values())
    wrong = [name for name in eager if not _agree(exact[name], eager[name], other.get(name), floor)]
    if world.any(bool(wrong)):
        names = f" for {wrong[0].removeprefix('module.').removeprefix('model.')}" if wrong else ""
        raise PvaeZooError(f"torch.compile computes another gradient than PyTorch{names}: train without --compile")


def _agree(exact: Tensor, eager: Tensor, other: Tensor | None, floor: float) -> bool:
    difference = eager if other is None else other - eager
    allowed = TOLERANCE * float(eager.norm()) + ROUNDING * float((eager - exact).norm()) + floor
    return float(difference.norm()) <= allowed
