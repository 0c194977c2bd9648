"""Two sets are called ImageNet 64x64, and a figure on one does not compare with a figure on the other.

The older is harder: the same kind of model stands at 3.52 bits per dimension on it and at 3.30 on the newer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class KnownSet:
    """A set that papers report figures on.

    Attributes:
        name: with its authors and year.
        reference: where it is from.
        images: how many each of its splits has.
        bits_per_dim: published figures on its validation split, by model.
    """

    name: str
    reference: str
    images: Mapping[str, int]
    bits_per_dim: Mapping[str, float]


IMAGENET64_2016 = KnownSet(
    name="ImageNet 64x64 of van den Oord et al. (2016)",
    reference="A. van den Oord, N. Kalchbrenner, K. Kavukcuoglu, Pixel Recurrent Neural Networks (2016), "
    "https://arxiv.org/abs/1601.06759",
    images={"train": 1_281_149, "valid": 49_999},
    bits_per_dim={"PixelVAE (Gulrajani et al., 2017)": 3.66, "VDVAE (Child, 2021)": 3.52},
)
IMAGENET64_2017 = KnownSet(
    name="ImageNet 64x64 of Chrabaszcz et al. (2017)",
    reference="P. Chrabaszcz, I. Loshchilov, F. Hutter, A Downsampled Variant of ImageNet as an Alternative to the "
    "CIFAR datasets (2017), https://arxiv.org/abs/1707.08819",
    images={"train": 1_281_167, "valid": 50_000},
    bits_per_dim={"Efficient-VDVAE (Hazami et al., 2022)": 3.30},
)


@dataclass(frozen=True)
class Origin:
    """A split that was read, as a part of a known set."""

    known: KnownSet
    split: str
    images: int

    def __str__(self) -> str:
        """One line that says which set it is and what was published on it."""
        whole = self.known.images.get(self.split, 0)
        part = f"all {whole:,}" if self.images == whole else f"{self.images:,} of {whole:,}"
        figures = ", ".join(f"{model} {bits:.2f}" for model, bits in self.known.bits_per_dim.items())
        return f"{self.known.name}, {part} {self.split} images; published on it: {figures} bits per dimension"
