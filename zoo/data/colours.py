"""Colour management: what a picture's values mean is in its ICC profile, and the models are of sRGB.

Cameras and phones write Display P3 and Adobe RGB. Taken as sRGB, such a picture has other colours and so another
likelihood.
"""

from __future__ import annotations

import io
from functools import lru_cache
from itertools import product

import numpy as np
from PIL import Image, ImageCms

from pvae_zoo.data.images import shown

_SAME = 2
"""Levels by which a profile's colours may differ from sRGB's and still be rounding."""
_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
_ACROSS = (0, 36, 73, 109, 146, 182, 219, 255)


def to_srgb(picture: Image.Image) -> tuple[Image.Image, str | None]:
    """A picture of mode L, RGB or CMYK with its embedded profile applied, and a note if that was done.

    Returns:
        The picture in sRGB, of the same mode (CMYK: RGB), grey where it was grey; or the picture as it is if it has no
        profile, one that means sRGB, or one that cannot be used (the note says so).
    """
    profile = picture.info.get("icc_profile")
    if not profile:
        return picture, None
    try:
        name, transform = _transform(bytes(profile), picture.mode)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return picture, "colour profile that cannot be used, taken as sRGB"
    if transform is None:
        return picture, None
    converted = ImageCms.applyTransform(picture, transform)
    assert converted is not None  # it is None only in place
    if picture.mode == "L":
        converted = converted.convert("L")
    elif picture.mode == "RGB" and _is_grey(picture):  # rounding must not give it a tint
        converted = converted.convert("L").convert("RGB")
    return converted, f"{name}, converted to sRGB"


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> tuple[str, ImageCms.ImageCmsTransform | None]:
    """The profile's name and the way from its colours to sRGB; None where that changes nothing.

    Raises:
        PyCMSError, OSError: if it is damaged.
        ValueError: if it is for pictures of another mode.
    """
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if source.profile.xcolor_space.strip() != _SPACES[mode]:
        raise ValueError(mode)
    transform = ImageCms.buildTransform(
        source, _srgb(), mode, "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION
    )
    name = shown(" ".join(ImageCms.getProfileDescription(source).split()))[:40] or "colour profile"
    return name, None if mode != "CMYK" and _changes_nothing(transform, mode) else transform


@lru_cache(maxsize=1)
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether colours from all over the range stay what they are: a dozen profiles are sRGB under other names."""
    colours = list(product(_ACROSS, repeat=3)) if mode == "RGB" else [(value,) * 3 for value in range(256)]
    before = np.array(colours, np.uint8)[np.newaxis]
    probe = Image.fromarray(before if mode == "RGB" else before[:, :, 0])
    after = np.asarray(ImageCms.applyTransform(probe, transform))
    return int(np.abs(after.astype(int) - before).max()) <= _SAME


def _is_grey(picture: Image.Image) -> bool:
    red, green, blue = (np.asarray(band) for band in picture.split())
    return np.array_equal(red, green) and np.array_equal(red, blue)
