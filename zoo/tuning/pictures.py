"""Pictures of a model while it learns: samples and reconstructions, with the same noise each time, and its curves."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pvae_zoo.contract.folder import Bundle
from pvae_zoo.data.image_store import Images
from pvae_zoo.export.bundle import write_bundle
from pvae_zoo.runtime.model import Model
from pvae_zoo.runtime.pictures import save_grid
from pvae_zoo.training.checkpoint import Checkpoint

COLUMNS = 8
SHOWN = "progress.png"
EACH = "progress"


def draw_progress(run: Path, checkpoint: Checkpoint, images: Images, obey: Callable[[], None] = lambda: None) -> Path:
    """A grid of two rows of samples, validation images, and below each a draw from its z1.

    The graphs that would be exported draw it, so that what is seen is what comes out of the run.

    Args:
        run: the run's folder: the grid is ``progress/STEP.png`` and, as the last one, ``progress.png``.
        checkpoint: with averaged weights.
        images: validation images ``(N, C, H, W)``, of which the first eight are shown.
        obey: called every few milliseconds; what it raises ends this.
    """
    shown = images[:COLUMNS]
    with tempfile.TemporaryDirectory(prefix="pvae-zoo-") as folder:
        obey()
        write_bundle(checkpoint, Path(folder))
        obey()
        model = Model(Bundle(Path(folder)), "cpu")

        def progress(done: int, of: int) -> None:
            obey()

        drawn = model.sample(2 * COLUMNS, seed=0, progress=progress)
        again = model.reconstruct(shown, seed=0, progress=progress)
    levels, step = model.image.levels, checkpoint.progress.step
    notes = {"model": checkpoint.recipe.name, "step": str(step), "seed": "0"}
    grid = np.concatenate([drawn, shown, again])
    target = run / EACH / f"{step:06}.png"
    for path in (target, run / SHOWN):
        save_grid(grid, path, levels=levels, metadata=notes, columns=COLUMNS)
    return target
