"""What the commands cost: CPU time as a multiple of ``import numpy``, and peak memory."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from sampling import Row

import pvae_zoo

_METER = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=sys.stderr).returncode
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
sys.exit(code)
"""
PVAE_ZOO = [sys.executable, "-m", "pvae_zoo"]


def run(command: Sequence[str], folder: Path) -> tuple[float, float]:
    """CPU seconds and peak resident MiB of a command, its threads included.

    Raises:
        SystemExit: if the command fails.
    """
    # A child starts with its parent's peak, and this process holds PyTorch: a small one stands between.
    with (folder / "log").open("wb") as log:
        done = subprocess.run(
            [sys.executable, "-c", _METER, *command], cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True
        )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{(folder / 'log').read_text()}")
    seconds, kibibytes = done.stdout.split()
    return float(seconds), float(kibibytes) / 1024


def cpu_seconds(command: Sequence[str], folder: Path, repeats: int = 5) -> float:
    """The median CPU time of a command, after a warm-up."""
    run(command, folder)
    return sorted(run(command, folder)[0] for _ in range(repeats))[repeats // 2]


def rows(model: str, *, quick: bool) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        numpy = cpu_seconds([sys.executable, "-c", "import numpy"], folder)
        yield "python -c 'import numpy'", f"{numpy:.2f} s of CPU time", ""
        helped = cpu_seconds([*PVAE_ZOO, "--help"], folder)
        yield "pvae-zoo --help", f"{helped:.2f} s, {helped / numpy:.1f} x import numpy", "0.2 s"
        sample = [*PVAE_ZOO, "sample", "--model", model, "--n", "16"]
        drawn = cpu_seconds(sample, folder)
        yield "pvae-zoo sample --n 16", f"{drawn:.2f} s, {drawn / numpy:.1f} x import numpy", "1.5 s"
        large = pvae_zoo.load(model).image.height >= 64
        yield "peak memory of sample --n 16", f"{run(sample, folder)[1]:.0f} MiB", "600 MiB" if large else "250 MiB"

        images = pvae_zoo.load(model).sample(64)
        counts = (100, 200) if quick or large else (1_000, 10_000)
        for count in counts:
            _write_images(images, folder / str(count), count)
            peak = run([*PVAE_ZOO, "nll", "--model", model, "--json", str(count)], folder)[1]
            yield (
                f"peak memory of nll, a folder of {count:,} images",
                f"{peak:.0f} MiB",
                "flat" if large else "400 MiB, flat",
            )

        (_write_folders if large else _write_amat)(images, folder / "data")
        # The batch of a large recipe is a GPU's.
        for batch in (["--batch-size", "32"], []) if large else ([],):
            train = [*PVAE_ZOO, "train", model, "--data", "data", "--out", f"run{len(batch)}", "--max-minutes", "0.2"]
            peak, what = run([*train, *batch], folder)[1], " ".join([model, *batch])
            yield f"peak memory of train {what}", f"{peak / 1024:.1f} GiB", "" if large and not batch else "4 GiB"


def _write_images(images: np.ndarray, folder: Path, count: int) -> None:
    folder.mkdir()
    for index in range(count):
        values = images[index % len(images)]
        picture = values[0] * 255 if len(values) == 1 else values.transpose(1, 2, 0)
        Image.fromarray(np.ascontiguousarray(picture)).save(folder / f"{index:05d}.png")


def _write_folders(images: np.ndarray, folder: Path) -> None:
    """Samples as the folders of pictures that training reads."""
    folder.mkdir()
    for split, count in (("train", 1_000), ("valid", 50)):
        _write_images(images, folder / split, count)


def _write_amat(images: np.ndarray, folder: Path) -> None:
    """Samples in Larochelle's format, as many as the real set holds."""
    folder.mkdir()
    rows = [" ".join(map(str, image.ravel())) for image in images]
    for split, count in (("train", 50_000), ("valid", 1_000)):
        lines = [rows[index % len(rows)] for index in range(count)]
        (folder / f"binarized_mnist_{split}.amat").write_text("\n".join(lines) + "\n")
