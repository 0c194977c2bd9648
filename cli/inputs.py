"""Reading the images that a command was given, the unusable ones with their reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

import click
import numpy as np
from numpy.typing import NDArray

from pvae_zoo.cli.output import FAILED, echo, say_repeats
from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.data.fit import Fit
from pvae_zoo.data.images import ImageError, find_images
from pvae_zoo.runtime.pictures import png_name


@dataclass(frozen=True)
class Inputs:
    """The usable images ``(N, C, H, W)`` with their names, and how many were not."""

    images: NDArray[np.uint8]
    names: list[str]
    failed: int

    @property
    def count(self) -> int:
        return len(self.names) + self.failed

    def stems(self) -> list[str]:
        """A file name for each image, without suffix; numbered where two would be one file."""
        stems = [PurePath(name).stem.replace("\\", "_") for name in self.names]  # Windows takes it for a folder
        if len({png_name(stem).lower() for stem in stems}) == len(stems):  # of x.png and x.png.png there is one
            return stems
        return [f"{index:05}-{stem}" for index, stem in enumerate(stems)]


def read_inputs(paths: Sequence[str], image: ImageShape, fit: Fit) -> Inputs:
    """All images at once; what is wrong with the others goes to stderr. Ends the command if none is left."""
    images, names, failed = [], [], 0
    for source in find_images(paths, say_repeats):
        result = fit.read(source, image)
        if isinstance(result, ImageError):
            echo(f"{source.name}: {result}", err=True)
            failed += 1
        else:
            values, note = result
            if note is not None:
                echo(f"{source.name}: {note}", err=True)
            images.append(values)
            names.append(source.name)
    if not images:
        echo("Error: no image could be used", err=True)
        click.get_current_context().exit(FAILED)
    return Inputs(np.stack(images), names, failed)
