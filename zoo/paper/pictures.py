"""Figure 5 and the samples: pictures drawn from models of the zoo over onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.data.datasets import ImageSet
from pvae_zoo.data.image_store import Images
from pvae_zoo.runtime.model import Model
from pvae_zoo.runtime.pictures import save_grid

_CHUNK = 2000
TEMPERATURES = (0.7, 0.85, 1.0, 1.15)


def three_rows(model: Model, path: Path, *, columns: int = 8, seed: int = 0) -> dict[str, float]:
    """Figure 5: a row for each level of noise, where only that level's noise changes.

    Returns:
        For each level the mean absolute difference of a pixel's values between two images of its row, as a share of
        the range of values.

    Raises:
        PvaeZooError: if the model has one level of latents.
    """
    if len(model.levels) != 3:
        raise PvaeZooError(f"{model.name} has one level of latents: figure 5 needs a model with two")
    rows = {level: model.vary(level, columns, seed=seed) for level in model.levels}
    _save(model, np.concatenate(list(rows.values())), path, columns)
    return {level: _mean_distance(images) / (model.image.levels - 1) for level, images in rows.items()}


def _mean_distance(images: Images) -> float:
    """Mean absolute difference over all pairs of images."""
    values = images.reshape(len(images), -1).astype(np.int64)
    pairs = [np.abs(values[i] - values[j]).mean() for i in range(len(values)) for j in range(i)]
    return float(np.mean(pairs))


def temperature_rows(model: Model, path: Path, *, columns: int = 12, seed: int = 0) -> None:
    """The same noise at several temperatures, a row for each of `TEMPERATURES`."""
    rows = [model.sample(columns, seed=seed, temperature=temperature) for temperature in TEMPERATURES]
    _save(model, np.concatenate(rows), path, columns)


def interpolation_rows(model: Model, path: Path, *, rows: int = 4, columns: int = 12, seed: int = 0) -> None:
    """Paths between two latents, all other noise held."""
    paths = [model.interpolate(None, columns, seed=seed, first=2 * row) for row in range(rows)]
    _save(model, np.concatenate(paths), path, columns)


def neighbour_rows(model: Model, train: ImageSet, path: Path, *, columns: int = 12, seed: int = 0) -> list[float]:
    """Samples above their nearest training images.

    Returns:
        For each pair the mean absolute difference, as a share of the values' range.
    """
    samples = model.sample(columns, seed=seed)
    nearest, distances = nearest_images(samples, train, model.image.levels)
    _save(model, np.concatenate([samples, nearest]), path, columns)
    return distances


def nearest_images(images: Images, others: ImageSet, levels: int) -> tuple[Images, list[float]]:
    """For each image the one of ``others`` with the smallest mean absolute difference, and that as a share of 1."""
    best = np.full(len(images), np.inf)
    found = np.empty_like(images)
    mine = images.reshape(len(images), 1, -1).astype(np.int16)
    for start in range(0, len(others), _CHUNK):
        chunk = others.read(np.arange(start, min(start + _CHUNK, len(others))), None)
        flat = chunk.reshape(1, len(chunk), -1).astype(np.int16)
        for row in range(len(images)):
            distances = np.abs(mine[row] - flat[0]).mean(axis=1)
            index = int(distances.argmin())
            if distances[index] < best[row]:
                best[row], found[row] = distances[index], chunk[index]
    return found, [float(distance) for distance in best / (levels - 1)]


def _save(model: Model, images: Images, path: Path, columns: int) -> None:
    metadata: dict[str, str] = {"model": model.name, "model_sha256": model.bundle.digest}
    save_grid(images, path, levels=model.image.levels, metadata=metadata, columns=columns)
