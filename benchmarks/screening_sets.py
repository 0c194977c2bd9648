"""The images of benchmarks/screening.py: known ones, and what does not belong to them.

DATA is a folder with mnist/t10k-images-idx3-ubyte.gz, rooms64.zip, rooms96.zip and photos64.zip (see the cards);
FASHION one with zalandoresearch/fashion-mnist: git clone --depth 1 https://github.com/zalandoresearch/fashion-mnist
.data/fashion-mnist, and then .data/fashion-mnist/data/fashion. All that is drawn here is drawn from fixed seeds.
"""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pvae_zoo.contract.architecture import ImageShape

Images = NDArray[np.uint8]

COLOUR = ImageShape(channels=3, height=64, width=64, levels=256)
INK = 128
PATCH = 12
LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZabdefghkmnpqrty"
WORDS = (  # noqa: SIM905
    "the of room light and a to in window he was that house door it his table had not with she as "
    "on at by which have or from this him but all her they are were one so said been when who no "
    "more if out would up into what could time "
).split()


def some(images: Images, count: int, seed: int) -> Images:
    """A random choice, in its order."""
    return images[np.sort(np.random.default_rng(seed).permutation(len(images))[:count])]


def idx(path: Path) -> Images:
    """MNIST's format, black and white at 128: ``(N, 1, 28, 28)``."""
    with gzip.open(path) as file:
        values = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    return (values >= INK).astype(np.uint8)


def pictures(path: Path, wanted: Callable[[str], bool]) -> Images:
    """Members of a zip: the centre square, whole pixels of it where it is 64x64 and resampled where it is larger."""
    found = []
    with zipfile.ZipFile(path) as archive:
        for name in sorted(filter(wanted, archive.namelist())):
            picture = Image.open(io.BytesIO(archive.read(name))).convert("RGB")
            side = min(picture.size)
            left, top = (picture.width - side) // 2, (picture.height - side) // 2
            box = (left, top, left + side, top + side)
            if side == COLOUR.height:
                square = picture.crop(box)
            else:
                square = picture.resize((COLOUR.width, COLOUR.height), Image.Resampling.LANCZOS, box=box)
            found.append(np.asarray(square).transpose(2, 0, 1))
    return np.stack(found)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def letters(count: int, seed: int = 0) -> Images:
    """Letters as MNIST has digits: in a box of 20x20, black and white."""
    draws, found = np.random.default_rng(seed), []
    for _ in range(count):
        picture = Image.new("L", (160, 160))
        slant = draws.uniform(-0.3, 0.3)
        letter = str(draws.choice(list(LETTERS)))
        ImageDraw.Draw(picture).text(
            (80, 80), letter, 255, _font(100), anchor="mm", stroke_width=int(draws.integers(0, 5))
        )
        picture = picture.transform((160, 160), Image.Transform.AFFINE, (1, slant, -80 * slant, 0, 1, 0))
        cut = picture.crop(picture.getbbox())
        factor = 20 / max(cut.size)
        cut = cut.resize([max(1, round(side * factor)) for side in cut.size], Image.Resampling.BOX)
        field = Image.new("L", (28, 28))
        field.paste(cut, ((28 - cut.width) // 2, (28 - cut.height) // 2))
        found.append((np.asarray(field) >= INK).astype(np.uint8)[np.newaxis])
    return np.stack(found)


def noise_of_ink(digits: Images, seed: int = 0) -> Images:
    """The pixels of digits in any order."""
    draws = np.random.default_rng(seed)
    return np.stack([draws.permutation(digit.ravel()).reshape(digit.shape) for digit in digits])


def colours(count: int, seed: int = 0) -> Images:
    values = np.random.default_rng(seed).integers(0, 256, (count, 3, 1, 1))
    return np.broadcast_to(values, (count, *COLOUR.chw)).astype(np.uint8)


def gradients(count: int, seed: int = 0) -> Images:
    """From one colour to another, in any direction."""
    draws, (y, x) = np.random.default_rng(seed), np.mgrid[:64, :64] / 63
    found = []
    for _ in range(count):
        angle, ends = draws.uniform(0, 2 * np.pi), draws.uniform(0, 255, (2, 3, 1, 1))
        way = np.cos(angle) * x + np.sin(angle) * y
        way = (way - way.min()) / (way.max() - way.min())
        found.append(np.rint(ends[0] * (1 - way) + ends[1] * way))
    return np.stack(found).astype(np.uint8)


def text_pages(count: int, seed: int = 0) -> Images:
    """Pages of words, 256x256, made as small as the model's images."""
    draws, found = np.random.default_rng(seed), []
    for _ in range(count):
        size, margin, y = (int(draws.integers(*ends)) for ends in ((12, 28), (4, 24), (0, 20)))
        ink = (int(draws.integers(0, 70)),) * 3
        page = Image.new("RGB", (256, 256), tuple(draws.integers(200, 256, 3).tolist()))
        draw, font = ImageDraw.Draw(page), _font(size)
        while y < 256:
            line = " ".join(draws.choice(WORDS, 40))
            draw.text((margin, y), line[: (256 - 2 * margin) * 2 // size], ink, font)
            y += int(size * 1.4)
        found.append(np.asarray(page.resize((64, 64), Image.Resampling.BOX)).transpose(2, 0, 1))
    return np.stack(found)


def noise(count: int, seed: int = 0) -> Images:
    return np.random.default_rng(seed).integers(0, 256, (count, *COLOUR.chw), np.uint8)


def patched(photos: Images, seed: int = 0) -> tuple[Images, NDArray[np.int64]]:
    """Each photo with a patch of another one painted in, and where its top left corner is, ``(N, 2)``."""
    draws, result, corners = np.random.default_rng(seed), photos.copy(), []
    for index in range(len(photos)):
        other = (index + 1 + int(draws.integers(len(photos) - 1))) % len(photos)
        top, left, from_top, from_left = draws.integers(0, 64 - PATCH + 1, 4).tolist()
        cut = photos[other, :, from_top : from_top + PATCH, from_left : from_left + PATCH]
        result[index, :, top : top + PATCH, left : left + PATCH] = cut
        corners.append((top, left))
    return result, np.array(corners)


def valid_rooms(data: Path) -> Images:
    """Those that no weights were trained on: 400 whole rooms and 162 at a larger scale."""
    return np.concatenate([
        pictures(data / name, lambda member: member.startswith("valid/")) for name in ("rooms64.zip", "rooms96.zip")
    ])  # fmt: skip


def valid_photos(data: Path, *, scenes: bool = True) -> Images:
    """Those that no weights were trained on: 800, all kinds."""
    wanted: Callable[[str], bool] = lambda member: member.startswith("valid/") and (scenes or "scenes" not in member)  # noqa: E731
    return pictures(data / "photos64.zip", wanted)


def sets_of(model: str, data: Path, fashion: Path) -> dict[str, Callable[[], Images]]:
    """The sets of a model by name, the known one first."""
    if model == "mnist":
        digits = lambda: idx(data / "mnist/t10k-images-idx3-ubyte.gz")  # noqa: E731
        return {
            "digits": lambda: some(digits(), 6000, 0),
            "Fashion-MNIST": lambda: some(idx(fashion / "t10k-images-idx3-ubyte.gz"), 1000, 0),
            "digits turned by 90 degrees": lambda: np.rot90(some(digits(), 1000, 1), 1, (2, 3)).copy(),
            "mirrored letters": lambda: letters(500)[..., ::-1].copy(),
            "mirrored digits": lambda: some(digits(), 1000, 2)[..., ::-1].copy(),
            "noise of the same ink": lambda: noise_of_ink(some(digits(), 300, 5)),
            "blank": lambda: np.zeros((20, 1, 28, 28), np.uint8),
        }
    if model == "lsun":
        return {
            "rooms": lambda: valid_rooms(data),
            "photos that are no rooms": lambda: some(valid_photos(data, scenes=False), 400, 0),
            "one colour": lambda: colours(100),
            "gradients": lambda: gradients(100),
            "text pages": lambda: text_pages(150),
            "noise": lambda: noise(50),
            "red and blue swapped": lambda: valid_rooms(data)[::2, ::-1].copy(),
            "upside down": lambda: valid_rooms(data)[1::2, :, ::-1].copy(),
        }
    return {
        "photos": lambda: valid_photos(data)[::2],
        "photos with a patch": lambda: patched(valid_photos(data))[0][::2],
    }
