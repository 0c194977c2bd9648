"""What the latents keep of the digit: a linear classifier of the posterior means."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.data.array_files import find_idx, read_idx_file
from pvae_zoo.data.image_store import Images
from pvae_zoo.models.pixelvae import PixelVAE

_SEED = 0
_BATCH = 200
_GREY = ImageShape(channels=1, height=28, width=28, levels=256)


@dataclass(frozen=True)
class Digits:
    """MNIST with its labels, as the binarised set was made: a pixel is white with its grey value as probability.

    Attributes:
        train: ``(N, 1, 28, 28)`` of zeros and ones, and labels ``(N,)``.
        test: likewise, of the test split.
    """

    train: tuple[Images, NDArray[np.uint8]]
    test: tuple[Images, NDArray[np.uint8]]

    @classmethod
    def load(cls, folder: Path) -> Digits:
        """Read MNIST's idx files.

        Raises:
            PvaeZooError: if a file is missing or damaged.
        """
        return cls(_split(folder, "train"), _split(folder, "test"))

    def used(self, limit: int) -> int:
        """Images that the probe learns from."""
        return min(limit, len(self.train[0]))


def probe_accuracy(model: PixelVAE, digits: Digits, limit: int) -> float:
    """Share of test images whose digit a multinomial logistic regression of the posterior means of z names rightly.

    Args:
        model: with latents.
        digits: labelled images.
        limit: at most so many images to learn from, and as many others to test on, a random subset of each.

    Raises:
        PvaeZooError: if scikit-learn is not installed.
    """
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError as error:
        raise PvaeZooError('scikit-learn is not installed: run pip install "pvae-zoo[paper]"') from error
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    rng = np.random.default_rng(_SEED)
    parts = []
    for images, labels in (digits.train, digits.test):
        chosen = rng.permutation(len(images))[:limit]
        parts.append((_posterior_means(model, images[chosen]), labels[chosen]))
    classifier.fit(*parts[0])
    return float(classifier.score(*parts[1]))


@torch.no_grad()
def _posterior_means(model: PixelVAE, images: Images) -> NDArray[np.float32]:
    """The means of q(z|x) of all levels side by side, ``(N, dimensions)``."""
    device = next(model.parameters()).device
    means = []
    for start in range(0, len(images), _BATCH):
        posteriors = model.posteriors(torch.from_numpy(images[start : start + _BATCH]).to(device))
        means.append(torch.cat([q.mean.flatten(1) for q in posteriors], dim=1).float().cpu().numpy())
    return np.concatenate(means)


def _split(folder: Path, split: Literal["train", "test"]) -> tuple[Images, NDArray[np.uint8]]:
    store = find_idx(folder, split, _GREY, "refuse")
    if store is None:
        raise PvaeZooError(f"no MNIST idx files in {folder}: give the folder of {{train,t10k}}-images-idx3-ubyte[.gz]")
    labels = _labels(folder, "train" if split == "train" else "t10k")
    grey = np.stack([store.image(index) for index in range(len(store))])
    rng = np.random.default_rng(_SEED)
    return (rng.random(grey.shape) * 255 < grey).astype(np.uint8), labels[: len(grey)]


def _labels(folder: Path, stem: str) -> NDArray[np.uint8]:
    path, data = read_idx_file(folder, f"{stem}-labels-idx1-ubyte")
    if len(data) < 8 or struct.unpack(">I", data[:4])[0] != 2049:
        raise PvaeZooError(f"{path} is no idx file of labels (magic number 2049)")
    return np.frombuffer(data, np.uint8, offset=8)
