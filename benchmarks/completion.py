"""Completions of photos against what is easily said of their unknown part: benchmarks/COMPLETION.md.

usage: python benchmarks/completion.py MODEL DATA

MODEL is one of 64x64 colour images with two levels of latents, DATA a folder or zip with a valid split.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import pvae_zoo
from pvae_zoo.base.atomic import atomic_write
from pvae_zoo.data.augmentation import Augmentation
from pvae_zoo.data.datasets import load_split
from pvae_zoo.runtime.completion import MAP_CANDIDATES
from pvae_zoo.runtime.filling import fill

RESULTS = Path(__file__).with_name("COMPLETION.md")
PHOTOS = 32
CELL = 8

Images = NDArray[np.uint8]


def masks(height: int, width: int) -> dict[str, NDArray[np.bool_]]:
    """What is kept, ``(H, W)``."""
    ys, xs = np.mgrid[:height, :width]
    hole = (abs(2 * ys + 1 - height) < height // 2) & (abs(2 * xs + 1 - width) < width // 2)
    return {"the top half": ys < height // 2, "the left half": xs < width // 2, "all but the middle quarter": ~hole}


def thumbnails(images: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means of cells ``(N, C, H / CELL, W / CELL)``."""
    n, channels, height, width = images.shape
    return np.asarray(images.reshape(n, channels, height // CELL, CELL, width // CELL, CELL).mean(axis=(3, 5)))


def error(found: NDArray[np.float64], images: Images, keep: NDArray[np.bool_]) -> float:
    """Mean absolute difference of the cells without a kept pixel."""
    unknown = thumbnails((~keep).astype(np.float64)[None, None])[0, 0] == 1
    difference = thumbnails(found) - thumbnails(images.astype(np.float64))
    return float(np.abs(difference)[:, :, unknown].mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    asked = parser.parse_args()
    runtime = pvae_zoo.load(asked.model, device="cpu")
    photos = load_split(asked.data, "valid", runtime.image, augmentation=Augmentation(crop="random"))
    chosen = np.arange(PHOTOS) * len(photos) // PHOTOS
    images = photos.read(chosen, None)
    lines = [
        f"# What `{asked.model}` draws for the unknown part of photos",
        "",
        f"`python benchmarks/completion.py {asked.model} {asked.data.name}`, pvae-zoo {pvae_zoo.__version__}: "
        f"{PHOTOS} photos of the valid split, every {len(photos) // PHOTOS}th, one completion each with seed 0. Mean "
        f"absolute error, of 0 to {runtime.image.levels - 1}, of the means of {CELL}x{CELL} pixels that are all "
        "unknown. The mean is that of the kept pixels, by channel; the fill is what the encoder is given.",
        "",
        f"| kept | the mean | the fill | one candidate | completions ({MAP_CANDIDATES} candidates) |",
        "|---|---|---|---|---|",
    ]
    start = time.perf_counter()
    for name, keep in masks(runtime.image.height, runtime.image.width).items():
        mean = (images * keep).sum(axis=(2, 3), keepdims=True) / keep.sum()
        every = np.broadcast_to(keep, (PHOTOS, 1, *keep.shape))
        found = [
            np.broadcast_to(mean, images.shape),
            fill(images, every, runtime.image.levels),
            runtime.complete(images, keep, candidates=1),
            runtime.complete(images, keep),
        ]
        errors = [error(one.astype(np.float64), images, keep) for one in found]
        lines.append(" | ".join([f"| {name}", *(f"{value:.1f}" for value in errors)]) + " |")
        print(lines[-1], f"after {time.perf_counter() - start:.0f} s", flush=True)
    atomic_write(RESULTS, ("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    main()
