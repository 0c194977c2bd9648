"""A picture for each flagged image: the image, beside it the bits that each pixel cost, the strangest region framed."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pvae_zoo.base.atomic import atomic_write
from pvae_zoo.runtime.model import Model
from pvae_zoo.runtime.pictures import to_picture
from pvae_zoo.screening.colours import heat, ticks
from pvae_zoo.screening.evidence import measure
from pvae_zoo.screening.regions import Region, worst_regions
from pvae_zoo.screening.rows import Finding

_SIDE = 256
"""Pixels of an image's longer side in the picture, about."""

_MARGIN, _BAR, _TEXT = 12, 14, 13
_BACKGROUND, _INK, _FRAME = (24, 24, 28), (225, 225, 230), (80, 220, 255)


def save_map(path: Path, model: Model, image: NDArray[np.uint8], finding: Finding, most: float) -> None:
    """Score an image ``(C, H, W)`` once more and write its picture as a PNG.

    Args:
        path: the PNG.
        model: scores.
        image: as the model takes it.
        finding: what was found of it.
        most: bits of the brightest colour.

    Raises:
        PvaeZooError: if it cannot be written.
    """
    buffer = io.BytesIO()
    explained(model, image, finding, most).save(buffer, "PNG")
    atomic_write(path, buffer.getvalue())


def explained(model: Model, image: NDArray[np.uint8], finding: Finding, most: float) -> Image.Image:
    """The picture of an image ``(C, H, W)``, which is scored once more, with what was found of it in words."""
    evidence = measure(model, image[np.newaxis])
    region = worst_regions(evidence.surprise_nats, evidence.place_nats)[0]
    bits = region.mean / math.log(2.0)
    caption = (
        f"p = {finding.p_value:.2g}: {finding.spoke} {finding.deviation:+.1f}\n"
        f"framed: {region.side}x{region.side} pixels from row {region.top + 1}, column {region.left + 1}, "
        f"{bits:.1f} bits a pixel"
    )
    return map_picture(image, evidence.surprise_bits[0], region, levels=model.image.levels, most=most, caption=caption)


def map_picture(
    image: NDArray[np.uint8], bits: NDArray[np.floating], region: Region, *, levels: int, most: float, caption: str
) -> Image.Image:
    """The picture of one image.

    Args:
        image: ``(C, H, W)``, values ``0 .. levels - 1``.
        bits: what each pixel cost, ``(H, W)``.
        region: to be framed.
        levels: of the image.
        most: bits of the brightest colour; what costs more has it too.
        caption: a line or lines below.
    """
    height, width = bits.shape
    scale = max(1, round(_SIDE / max(height, width)))
    size = (width * scale, height * scale)
    shown = to_picture(image, levels).convert("RGB").resize(size, Image.Resampling.NEAREST)
    surprise = Image.fromarray(heat(np.asarray(bits, np.float64) / most)).resize(size, Image.Resampling.NEAREST)
    font = ImageFont.load_default(_TEXT)
    lines = caption.split("\n")
    right = 2 * size[0] + 3 * _MARGIN
    picture = Image.new(
        "RGB",
        (right + _BAR + 6 * _MARGIN, size[1] + 2 * _MARGIN + len(lines) * (_TEXT + 5) + _MARGIN // 2),
        _BACKGROUND,
    )
    draw = ImageDraw.Draw(picture)
    for place, part in enumerate((shown, surprise)):
        left = _MARGIN + place * (size[0] + _MARGIN)
        picture.paste(part, (left, _MARGIN))
        _frame(draw, region, scale, left)
    _scale_bar(picture, draw, right, size[1], most, font)
    for number, line in enumerate(lines):
        draw.text((_MARGIN, size[1] + 2 * _MARGIN + number * (_TEXT + 5)), line, _INK, font)
    return picture


def _frame(draw: ImageDraw.ImageDraw, region: Region, scale: int, left: int) -> None:
    x, y = left + region.left * scale, _MARGIN + region.top * scale
    box = (x - 1, y - 1, x + region.side * scale, y + region.side * scale)
    draw.rectangle((box[0] - 1, box[1] - 1, box[2] + 1, box[3] + 1), outline=(0, 0, 0))
    draw.rectangle(box, outline=_FRAME)


def _scale_bar(
    picture: Image.Image,
    draw: ImageDraw.ImageDraw,
    left: int,
    height: int,
    most: float,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    """The colours from 0, at the bottom, to ``most``, with ticks in bits."""
    shares = np.linspace(1.0, 0.0, height)[:, np.newaxis].repeat(_BAR, axis=1)
    picture.paste(Image.fromarray(heat(shares)), (left, _MARGIN))
    for number in ticks(most):
        y = _MARGIN + round((height - 1) * (1 - number / most))
        draw.line((left + _BAR, y, left + _BAR + 4, y), fill=_INK)
        top = min(max(y - _TEXT // 2 - 2, _MARGIN - 4), _MARGIN + height - _TEXT)
        unit = " bits" if number == 0 else ""
        draw.text((left + _BAR + 7, top), f"{number:g}{unit}", _INK, font)
