"""A survey in words: lines for a terminal, and for the card of what was made of it."""

from __future__ import annotations

from collections.abc import Sequence

from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.data.augmentation import Augmentation
from pvae_zoo.data.fitted_store import UNTURNED, Fitting
from pvae_zoo.data.preparation import THRESHOLD
from pvae_zoo.data.survey import Seen, Survey, tally

_MOST = 3


def survey_rows(found: Survey, brought: str) -> list[tuple[str, str]]:
    """What was found, as rows of two cells.

    Args:
        found: what was found.
        brought: how it is brought to the model's size (`fitted_words`, `window_words`).
    """
    train, valid = found.train, found.valid
    how = "as the folder has them" if found.own_split else "by a hash of their content"
    rows = [("images", f"{len(found.store):,}: {len(train):,} to learn from, {len(valid):,} to measure on, {how}")]
    if found.refused:
        rows.append(("cannot be used", f"{len(found.refused):,}, each with its reason above"))
    if found.copies:
        left = "kept" if found.keeps_copies else "left out"
        rows.append(("copies", f"{len(found.copies):,} {left}, such as {_pair(found.copies[0])}"))
    if found.near and not found.keeps_copies:
        rows.append(("near copies", f"{len(found.near):,} kept on one side, such as {_pair(found.near[0])}"))
    used = [*train, *valid]
    rows.append(("sizes", _sizes(used)))
    notes = tally([note for one in used for note in one.notes])
    if notes:
        rows.append(("noted", ", ".join(f"{count:,} {note}" for note, count in notes[:_MOST])))
    rows.append(("brought to size", brought))
    return rows


def card_lines(found: Survey, fitting: Fitting, augmentation: Augmentation, folder: str) -> tuple[str, ...]:
    """What was read, for the card."""
    used = [*found.train, *found.valid]
    how = "as the folder divides them" if found.own_split else "by a hash of their content"
    left = [(len(found.refused), "that could not be used"), (len(found.copies), "copies")]
    lines = [
        f"read from the folder {folder}: {len(found.store):,} images, of which {len(found.train):,} to learn from and "
        f"{len(found.valid):,} for validation, {how}",
        ", ".join(f"{count:,} {what}" for count, what in left if count),
        f"sizes: {_sizes(used)}; {fitted_words(found, fitting, augmentation)}",
    ]
    lines[1] = f"left out: {lines[1]}" if lines[1] else ""
    return tuple(line for line in lines if line)


def hints(found: Survey) -> list[str]:
    """What looks like a slip."""
    used = [*found.train, *found.valid]
    dark = sum(UNTURNED in one.notes for one in used)
    if 2 * dark > len(used):
        return [f"{dark:,} of {len(used):,} images are dark on light, and the model is of light on dark: add --invert"]
    return []


def window_words(found: Survey, image: ImageShape, augmentation: Augmentation) -> str:
    """How images that keep their scale come to the model's size."""
    size = f"{image.width}x{image.height}"
    parts = []
    if augmentation.scales:
        parts.append(f"scaled by {augmentation.scale[0]:g} to {augmentation.scale[1]:g}")
    if any(one.fitted != (image.width, image.height) for one in [*found.train, *found.valid]):
        parts.append(f"windows of {size} to learn from, the middle to measure on")
    if augmentation.flip:
        parts.append("half of them mirrored")
    return ", ".join(parts) or "as they are"


def fitted_words(found: Survey, fitting: Fitting, augmentation: Augmentation) -> str:
    """How images that are fitted come to the model's size."""
    used = [*found.train, *found.valid]
    image = fitting.image
    size = f"{image.width}x{image.height}"
    if fitting.prepare:
        return f"the ink of each fitted as in MNIST, white from {fitting.binarize or THRESHOLD} of 255 on"
    parts = []
    shrunk = sum(one.size > one.fitted for one in used)
    grown = sum(one.size < one.fitted for one in used)
    if shrunk:
        parts.append(f"{shrunk:,} made smaller, the shorter side to {min(image.width, image.height)}")
    if grown:
        parts.append(f"{grown:,} enlarged, by {fitting.enlarge:g} at most")
    if not shrunk and not grown:
        parts.append("none resampled")
    if any(one.fitted != (image.width, image.height) for one in used):
        parts.append(f"windows of {size} to learn from, the middle to measure on")
    elif not fitting.windows and any(one.size[0] * image.height != one.size[1] * image.width for one in used):
        parts.append(f"the middle {size} of those of another shape")
    if augmentation.flip:
        parts.append("half of them mirrored")
    if fitting.invert:
        parts.append("light and dark swapped")
    if fitting.binarize is not None:
        parts.append(f"white from {fitting.binarize} of 255 on")
    return ", ".join(parts)


def _sizes(used: Sequence[Seen]) -> str:
    sizes = tally([f"{one.size[0]}x{one.size[1]}" for one in used])
    shown = ", ".join(f"{size} ({count:,})" for size, count in sizes[:_MOST])
    return shown + (f" and {len(sizes) - _MOST:,} others" if len(sizes) > _MOST else "")


def _pair(pair: tuple[str, str]) -> str:
    return f"{pair[0]} of {pair[1]}"
