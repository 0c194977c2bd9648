"""What may be done to an image so that it fits the model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.models.architecture import ImageShape
from pvae_zoo.runtime.images import ImageError, ImageSource, read_noted


@dataclass(frozen=True)
class Fit:
    """What the options allow; see `pvae_zoo.runtime.images.read_noted`."""

    resize: bool = False
    binarize: int | None = None
    convert: bool = False

    def read(self, source: ImageSource, image: ImageShape) -> tuple[NDArray[np.uint8], str | None] | ImageError:
        """The image ``(C, H, W)`` and what was converted unasked, or why it cannot be used."""
        try:
            return read_noted(source, image, resize=self.resize, binarize=self.binarize, convert=self.convert)
        except ImageError as error:
            return error
