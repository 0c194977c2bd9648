"""The plain layer that a softmax's cosines stand for, and the cosines back out of it, to the bit.

The weights of `SmoothLogits` are cosines over the values, what a graph holds is the plain layer: w = B c. To read c out
of w again, c is first put on a grid: whole multiples of a step, 2^20 of them to the largest. Least squares in float64
then come close enough to round to the same multiple, though w was rounded to float32. And as B has whole multiples of
2^-24 too, every product and sum of B c is exact in float64, in any order: w is the same bytes on every machine.

The grid moves a weight by less than a millionth of the largest, as float32 itself does. Values that float16 holds stay
such values.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.models.masked_conv import MaskedConv2d
from pvae_zoo.models.pixelcnn import SmoothLogits, cosine_basis

Weights = NDArray[np.float32]

_BITS = range(20, 9, -1)
"""Of the grid, the finest first: a coarser one is for weights that a finer one does not get back."""


def plain_layer(layer: SmoothLogits) -> MaskedConv2d:
    """The layer as it is exported: a weight for each value, of cosines on the grid.

    Raises:
        PvaeZooError: if a weight is not finite.
    """
    image, channels = layer.image, layer.weight.shape[1]
    with torch.random.fork_rng(devices=[]):
        plain = MaskedConv2d(channels, image.channels * image.levels, mask_type="B", groups=image.channels)
    for name, cosines in (("weight", layer.weight * layer.mask), ("bias", layer.bias)):
        by_value = weights_of(settled(cosines.detach().reshape(len(cosines), -1).numpy(), image), image)
        like = getattr(plain, name)
        setattr(plain, name, nn.Parameter(torch.from_numpy(by_value).view(like.shape)))
    return plain


def settled(cosines: Weights, image: ImageShape) -> Weights:
    """Cosines ``(C * (levels - 1), n)`` on the finest grid from which `cosines_of` gets them back."""
    if not np.isfinite(cosines).all():
        raise PvaeZooError("weights of the logits are not finite: the run diverged, export an earlier checkpoint")
    for bits in _BITS:
        rounded = _on_grid(cosines, bits)
        if cosines_of(weights_of(rounded, image), image) is not None:
            return rounded
    raise PvaeZooError("weights of the logits are too unequal in size to be exported: the run diverged")


def weights_of(cosines: Weights, image: ImageShape) -> Weights:
    """A plain layer's weights ``(C * levels, n)`` from cosines on a grid, exact and then rounded to float32."""
    by_channel = cosines.astype(np.float64).reshape(image.channels, image.levels - 1, -1)
    by_value = _basis(image.levels) @ by_channel + 0.0  # no negative zeros
    rounded: Weights = by_value.reshape(image.channels * image.levels, -1).astype(np.float32)
    return rounded


def cosines_of(weights: Weights, image: ImageShape) -> Weights | None:
    """The cosines on a grid that give exactly these weights ``(C * levels, n)``; None if there are none."""
    by_channel = weights.astype(np.float64).reshape(image.channels, image.levels, -1)
    solution = (_inverse(image.levels) @ by_channel).reshape(image.channels * (image.levels - 1), -1)
    for bits in _BITS:
        rounded = _on_grid(solution, bits)
        if np.array_equal(weights_of(rounded, image), weights):
            return rounded
    return None


def _on_grid(values: NDArray[np.floating], bits: int) -> Weights:
    """The nearest multiples of a power of two, the largest of which is 2^bits of them.

    The power is found a hair below the largest value, so that one which is itself a power of two has the same step
    before it is rounded and after.
    """
    exact = values.astype(np.float64)
    _, exponent = np.frexp(np.abs(exact).max() * (1 - 2.0**-bits))
    step = np.ldexp(1.0, int(exponent) - bits)
    rounded: Weights = (np.round(exact / step) * step + 0.0).astype(np.float32)
    return rounded


@cache
def _basis(levels: int) -> NDArray[np.float64]:
    basis: NDArray[np.float64] = cosine_basis(levels).double().numpy()
    return basis


@cache
def _inverse(levels: int) -> NDArray[np.float64]:
    inverse: NDArray[np.float64] = np.linalg.pinv(_basis(levels)).astype(np.float64)
    return inverse
