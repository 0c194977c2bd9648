"""Reading the images that a command was given, a slice at a time, the unusable ones with their reasons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
class Slice:
    """The usable ones of some images.

    Attributes:
        images: ``(N, C, H, W)``.
        stems: a file name for each, without suffix.
        first: usable images before them, and so the index of the first one's noise.
        found: the images in their places among all that were found, usable or not.
    """

    images: NDArray[np.uint8]
    stems: list[str]
    first: int
    found: range


class Inputs:
    """The images that paths lead to, found but not read.

    Args:
        paths: files, folders, globs, zips.
        image: what the model takes.
        fit: what may be done to an image so that it fits.

    Attributes:
        names: of the usable images that were read.
        usable: their file names, without suffix.
        notes: on what was done to some of them, by name.
        failed: those that could not be used.
        stems: a file name for each image that was found, without suffix; numbered where two would be one file.
    """

    def __init__(self, paths: Sequence[str], image: ImageShape, fit: Fit) -> None:
        self._sources = find_images(paths, say_repeats)
        self._image, self._fit = image, fit
        self.names: list[str] = []
        self.usable: list[str] = []
        self.notes: dict[str, str] = {}
        self.failed = 0
        self.stems = stems([source.name for source in self._sources])

    @property
    def count(self) -> int:
        return len(self._sources)

    def slices(self, size: int) -> Iterator[Slice]:
        """The images in their order, ``size`` read at once; what is wrong with the others goes to stderr.

        Ends the command if none could be used.
        """
        for start in range(0, self.count, size):
            found = range(self.count)[start : start + size]
            first, images, stems = len(self.names), [], []
            for place in found:
                values = self._read(place)
                if values is not None:
                    images.append(values)
                    stems.append(self.stems[place])
            if images:
                yield Slice(np.stack(images), stems, first, found)
        if not self.names:
            echo("Error: no image could be used", err=True)
            click.get_current_context().exit(FAILED)

    def _read(self, place: int) -> NDArray[np.uint8] | None:
        source = self._sources[place]
        result = self._fit.read(source, self._image)
        if isinstance(result, ImageError):
            echo(f"{source.name}: {result}", err=True)
            self.failed += 1
            return None
        values, note = result
        if note is not None:
            echo(f"{source.name}: {note}", err=True)
            self.notes[source.name] = note
        self.names.append(source.name)
        self.usable.append(self.stems[place])
        return values


def stems(names: Sequence[str]) -> list[str]:
    """A file name for each image, without suffix; all are numbered where two would be one file."""
    bare = [PurePath(name).stem.replace("\\", "_") for name in names]  # Windows takes it for a folder
    if len({png_name(stem).lower() for stem in bare}) == len(bare):  # of x.png and x.png.png there is one
        return bare
    return [f"{index:05}-{stem}" for index, stem in enumerate(bare)]
