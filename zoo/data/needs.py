"""What an image needs to fit a model beyond what the options allow, as one line that names all of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.data.images import ImageError
from pvae_zoo.data.preparation import is_dark_on_light


def check_needs(
    picture: Image.Image,
    image: ImageShape,
    *,
    resize: bool,
    binarize: int | None,
    convert: bool,
    enlarge: bool,
    invert: bool,
) -> None:
    """Refuse a picture that these options do not make fit; they are those of `pvae_zoo.data.fit.Fit`.

    Args:
        picture: mode L or RGB.
        image: what the model takes.

    Raises:
        ImageError: what it is, what the model takes, and every option that is missing.
    """
    in_colour = image.channels == 1 and picture.mode != "L" and not _is_grey(picture)
    grey = np.asarray(picture.convert("L")) if image.levels == 2 and image.channels == 1 else None
    differs = picture.size != (image.width, image.height)
    is_tiny = differs and (2 * picture.width < image.width or 2 * picture.height < image.height)
    has_greys = image.levels == 2 and (differs or not _is_black_and_white(picture if grey is None else grey))
    needed = {
        "--convert": in_colour and not convert,
        "--resize": differs and not resize,
        "--enlarge": is_tiny and not enlarge,
        "--binarize 128": has_greys and binarize is None,
    }
    missing = [option for option, is_needed in needed.items() if is_needed]
    if not missing:
        return
    if missing == ["--binarize 128"] and not differs and np.asarray(picture).max() == 1:
        raise ImageError("has the values 0 and 1 of 255, all nearly black: add --binarize 1 if 1 means white")
    is_dark = grey is not None and not invert and is_dark_on_light(grey)
    has = [f"{picture.width}x{picture.height}"] if differs else []
    takes = [f"{image.width}x{image.height}"] if differs else []
    if in_colour:
        has.append("in colour")
    elif has_greys and not differs:
        has.append("in greys")
    if image.levels == 2 and "--binarize 128" in missing:
        takes.append("in black and white" if differs else "black and white")
    elif in_colour:
        takes.append("in grey" if differs else "grey")
    texts = [" ".join(has), " ".join(takes)]
    if is_dark:
        texts = [f"{texts[0]}, dark on light", f"{texts[1]}, light on dark"]
    way = " ".join([*missing, "--invert"] if is_dark else missing)
    if len(set(missing) - {"--enlarge"}) + is_dark > 1 and not (resize or convert or invert):
        way = f"--prepare{' --enlarge' * ('--enlarge' in missing)}, or {way}"
    raise ImageError(f"is {texts[0]}{';' if is_dark else ','} the model takes {texts[1]}: add {way}")


def _is_grey(picture: Image.Image) -> bool:
    red, green, blue = (np.asarray(band) for band in picture.split())
    return np.array_equal(red, green) and np.array_equal(red, blue)


def _is_black_and_white(values: Image.Image | NDArray[np.uint8]) -> bool:
    return bool(np.isin(np.asarray(values), (0, 255)).all())
