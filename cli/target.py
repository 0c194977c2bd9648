"""Where the images of a command that draws go, so that what can be written is not held."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.runtime.captions import Words, caption_of
from pvae_zoo.runtime.layouts import LEVELS, spread
from pvae_zoo.runtime.pictures import save_grid, save_images, target_kind

Images = NDArray[np.uint8]
Layout = Callable[[Images, Images], Images]
"""From drawn images and those beside them to what a grid shows, ``(M, C, H, W)`` with 256 levels."""


class Target:
    """A folder gets a PNG an image as they come; a grid or an array is written once all images are there.

    Args:
        out: x.png, x.npy, x.npz or a folder.
        levels: of the images.
        metadata: noted in every PNG and in .npz.
        scale: what the images of a PNG are enlarged by; by itself a grid's to be well seen, and no others.
        captioned: whether a grid has words beside its images.
    """

    def __init__(
        self, out: str, levels: int, metadata: Mapping[str, str], scale: int | None = None, captioned: bool = True
    ) -> None:
        self.out, self.levels, self.metadata = out, levels, metadata
        self._scale, self._captioned = scale, captioned
        self.count = 0
        """Images that were added."""
        self._kind = target_kind(out)
        self._files: list[Path] = []
        self._drawn: list[Images] = []
        self._beside: list[Images] = []

    def add(self, drawn: Images, names: Sequence[str], beside: Images | None = None) -> None:
        """Take the next images.

        Args:
            drawn: ``(N, C, H, W)`` in the model's levels.
            names: of the images, for a folder.
            beside: what a grid shows beside them.
        """
        self.count += len(drawn)
        if self._kind == "folder":
            self._files += save_images(
                drawn, self.out, levels=self.levels, metadata=self.metadata, names=names, scale=self._scale
            )
            return
        self._drawn.append(drawn)
        if self._kind == "grid" and beside is not None:
            self._beside.append(beside)

    def finish(
        self, columns: int, layout: Layout | None = None, *, rows: Sequence[str] = (), heads: Sequence[str] = ()
    ) -> list[Path]:
        """Write what is not written yet.

        Args:
            columns: of a grid.
            layout: of a grid that shows more than the drawn images.
            rows: a label for each row of a grid.
            heads: a label for each column of it.

        Returns:
            The files of all images.
        """
        if self._kind == "folder":
            return self._files
        drawn = np.concatenate(self._drawn)
        if self._kind != "grid":
            return save_images(drawn, self.out, levels=self.levels, metadata=self.metadata)
        shown = spread(drawn, self.levels) if layout is None else layout(drawn, np.concatenate(self._beside))
        words = Words(caption=caption_of(self.metadata), rows=rows, columns=heads) if self._captioned else None
        options = {"columns": columns, "scale": self._scale}
        save_grid(shown, Path(self.out), levels=LEVELS, metadata=self.metadata, words=words, **options)
        return [Path(self.out)]
