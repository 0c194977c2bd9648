"""Catches and misses for docs/screening.md: samples of the models, digits and drawn images, and what screening says.

usage: python benchmarks/screening_pictures.py DATA

DATA is that of benchmarks/screening_sets.py; the calibrations are those of benchmarks/screening.py.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from screening_sets import Images, gradients, idx, letters, some, text_pages, valid_rooms

import pvae_zoo
from pvae_zoo.screening.maps import explained
from pvae_zoo.screening.screen import Screen

FOLDER = Path(__file__).parents[1] / "docs" / "screening"


def board(screen: Screen, images: Images, path: Path) -> None:
    """A picture each, two in a row."""
    pictures = []
    for image, finding in zip(images, screen.findings(images), strict=True):
        pictures.append(explained(screen.model, image, finding, screen.calibration.most_bits))
        print(path.stem, finding.p_value, finding.spoke, f"{finding.deviation:+.1f}")
    width, height = pictures[0].size
    shown = Image.new("RGB", (2 * width, -(-len(pictures) // 2) * height))
    for index, picture in enumerate(pictures):
        shown.paste(picture, (index % 2 * width, index // 2 * height))
    path.parent.mkdir(parents=True, exist_ok=True)
    shown.save(path, optimize=True)


def digits(data: Path) -> None:
    known = idx(data / "mnist/t10k-images-idx3-ubyte.gz")
    screen = pvae_zoo.calibrate(pvae_zoo.load("mnist", device="cpu"), some(known, 2000, 0))
    new = np.array(list(some(known, 2400, 1)[-60:]))
    scratched = new[7].copy()
    scratched[0, 20:22, 3:25] = 1
    odd = np.stack([letters(8)[5], np.rot90(new[3], 1, (1, 2)), scratched, np.rot90(new[0], 2, (1, 2))])
    board(screen, np.concatenate([new[5:7], odd]), FOLDER / "digits.png")


def rooms(data: Path) -> None:
    screen = pvae_zoo.calibrate(pvae_zoo.load("lsun", device="cpu"), valid_rooms(data))
    drawn = screen.model.sample(4, seed=11, latent_temperature=0.8, temperature=0.9)
    scratched = drawn[1].copy()
    for step in range(20):
        scratched[:, 20 + step // 2, 14 + step : 16 + step] = np.array([[235], [235], [240]], np.uint8)
    odd = [text_pages(3)[2], gradients(2)[1], scratched, drawn[2][:, ::-1], drawn[3][::-1]]
    board(screen, np.stack([drawn[0], *odd]), FOLDER / "rooms.png")


if __name__ == "__main__":
    digits(Path(sys.argv[1]))
    rooms(Path(sys.argv[1]))
