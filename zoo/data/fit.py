"""What may be done to an image so that it fits the model."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.data.decoding import read_noted
from pvae_zoo.data.images import ImageError, ImageSource


@dataclass(frozen=True)
class Fit:
    """What the options allow; see `pvae_zoo.data.decoding.read_noted`.

    Raises:
        PvaeZooError: if one of them does nothing without another.
    """

    resize: bool = False
    binarize: int | None = None
    convert: bool = False
    enlarge: bool = False

    def __post_init__(self) -> None:
        if self.enlarge and not self.resize:
            raise PvaeZooError("--enlarge lets --resize blow up tiny images: add --resize")

    def read(self, source: ImageSource, image: ImageShape) -> tuple[NDArray[np.uint8], str | None] | ImageError:
        """The image ``(C, H, W)`` and what was converted unasked, or why it cannot be used."""
        try:
            return read_noted(source, image, **asdict(self))
        except ImageError as error:
            return error
