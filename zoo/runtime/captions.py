"""Words beside the images of a grid: what drew it below, what its rows are on the left, its columns on top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageDraw, ImageFont

BACKGROUND = 64  # dark grey: neither the black nor the white of a digit's background
_INK = 235
_LONGEST = 24  # letters of a label


@dataclass(frozen=True, kw_only=True)
class Words:
    """What stands beside the images.

    Attributes:
        caption: one text below them, broken into lines where the grid is narrow.
        rows: a label for each row of images; none, or an empty one, where nothing is to be said.
        columns: the same for columns.
    """

    caption: str = ""
    rows: Sequence[str] = ()
    columns: Sequence[str] = ()


def caption_of(metadata: Mapping[str, str]) -> str:
    """Model, seed and temperatures, of what a picture notes of its making."""
    named = {"seed": "seed", "temperature": "temperature", "latent_temperature": "latent temperature"}
    return ", ".join([metadata["model"], *(f"{words} {metadata[key]}" for key, words in named.items())])


def with_words(grid: Image.Image, words: Words, *, pitch: tuple[int, int]) -> Image.Image:
    """A larger picture with the words around the grid.

    Args:
        grid: of mode L or RGB.
        words: to be written.
        pitch: width and height from an image of the grid to the next.

    Returns:
        A picture of the same mode, as it is if there are no words.
    """
    size = max(12, min(22, grid.width // 40))
    font = ImageFont.load_default(size)
    line, gap = round(1.4 * size), size // 2
    rows, columns = ([_short(text) for text in texts] for texts in (words.rows, words.columns))
    left = 2 * gap + max(_width(font, text) for text in rows) if any(rows) else 0
    top = line + gap // 2 if any(columns) else 0
    lines = _broken(font, words.caption, left + grid.width - 2 * gap)
    width = max([left + grid.width, *(_width(font, text) + 2 * gap for text in lines)])
    height = top + grid.height + (len(lines) * line + gap if lines else 0)
    if (width, height) == grid.size:
        return grid
    picture = Image.new(grid.mode, (width, height), _colour(grid, BACKGROUND))
    picture.paste(grid, (left, top))
    pen, ink = ImageDraw.Draw(picture), _colour(grid, _INK)
    for number, text in enumerate(rows):
        middle = top + number * pitch[1] + (pitch[1] - 2) // 2
        pen.text((left - gap, middle), text, ink, font, anchor="rm")
    for number, text in enumerate(columns):
        centre = left + number * pitch[0] + (pitch[0] - 2) // 2
        pen.text((centre, top // 2), text, ink, font, anchor="mm")
    for number, text in enumerate(lines):
        pen.text((left + gap if left else gap, top + grid.height + gap + number * line), text, ink, font)
    return picture


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _width(font: Any, text: str) -> int:
    return int(font.getlength(text)) + 1


def _broken(font: Any, text: str, width: int) -> list[str]:
    """Lines of whole words within a width; a word that is wider has a line of its own."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and _width(font, longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _colour(grid: Image.Image, value: int) -> Any:
    return value if grid.mode == "L" else (value,) * 3
