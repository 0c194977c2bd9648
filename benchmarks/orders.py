"""A wavefront against a fixed point, as ratios of one run: what ``--order auto`` goes by (benchmarks/ORDERS.md).

usage: python benchmarks/orders.py [--device cpu] [--models mnist,lsun] [--counts 1,16] [--seconds 60]

Each row draws the same images in both orders, in turns, and compares the best of each. On a CPU it is CPU time on one
thread, on a GPU wall time after a first draw that opens sessions and captures graphs. Rows are written as they come,
beside those that are there; put them into `pvae_zoo.runtime.orders` too.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from machine import processor
from numpy.typing import NDArray

import pvae_zoo
from pvae_zoo.base.atomic import atomic_write
from pvae_zoo.runtime.model import Model
from pvae_zoo.runtime.sessions import CPU, import_onnxruntime

RESULTS = Path(__file__).with_name("ORDERS.md")
COUNTS = {"cpu": (1, 16), "cuda": (1, 16, 64, 256, 1024)}
REPEATS = 3

HEAD = """# Orders of the pixels

What `--order auto` goes by (`pvae_zoo.runtime.orders`): the same images drawn by a wavefront and by a fixed point, in
turns on one machine, the best of each compared. The rows of the CPU are written by

    python benchmarks/orders.py --device cpu --models mnist --counts 1,16,64
    python benchmarks/orders.py --device cpu --models lsun --counts 1,4

and those of a GPU by `python benchmarks/orders.py --device cuda`.

- passes: over all pixels, until none changes; of several batches the fewest and the most.
- fixed point / wavefront: the time of the one over that of the other; above 1 the wavefront is faster. On a CPU it is
  CPU time on one thread, on a GPU wall time.
- equal: images that are the same in every value. The two orders compute a value by different graphs, and where a
  uniform stands within rounding of a threshold they draw it differently, and then what comes after it.
"""
COLUMNS = ("| model | pixels | images | passes | fixed point / wavefront | equal | faster |", "|---" * 7 + "|")
UNMEASURED = "Not measured yet: `auto` is the wavefront there."


@dataclass(frozen=True)
class Row:
    """Images of a model in both orders."""

    model: str
    pixels: int
    images: int
    passes: tuple[int, ...]
    wavefront_seconds: float
    fixed_point_seconds: float
    equal: int

    @property
    def faster(self) -> str:
        return "wavefront" if self.wavefront_seconds <= self.fixed_point_seconds else "fixed-point"

    def cells(self) -> tuple[str, ...]:
        """What its line of the table has."""
        least, most, ratio = min(self.passes), max(self.passes), self.fixed_point_seconds / self.wavefront_seconds
        passes = f"{least}" if least == most else f"{least} to {most}"
        equal = f"{self.equal} of {self.images}"
        return self.model, str(self.pixels), str(self.images), passes, f"{ratio:.3g} x", equal, self.faster


def measure(model: Model, images: int, seconds: float = 60) -> Row:
    """Draw images in both orders: `REPEATS` times each, fewer where ``seconds`` have passed."""
    on_cpu = model.provider == CPU
    clock = time.process_time if on_cpu else time.perf_counter
    times: dict[str, list[float]] = {"wavefront": [], "fixed-point": []}
    drawn: dict[str, NDArray[np.uint8]] = {}
    with Passes() as passes:
        for order in () if on_cpu else times:
            model.sample(images, order=order, batch_size=images)  # type: ignore[arg-type]
        begun = time.monotonic()
        while len(times["wavefront"]) < REPEATS and (not drawn or time.monotonic() - begun < seconds):
            for order, taken in times.items():
                before = clock()
                drawn[order] = model.sample(images, order=order, batch_size=images)  # type: ignore[arg-type]
                taken.append(clock() - before)
    equal = int((drawn["wavefront"] == drawn["fixed-point"]).all(axis=(1, 2, 3)).sum())
    pixels = model.image.height * model.image.width
    return Row(model.name, pixels, images, passes.last, min(times["wavefront"]), min(times["fixed-point"]), equal)


def rows(name: str, device: str, counts: tuple[int, ...], seconds: float = 60) -> Iterator[Row]:
    """The rows of a model on a device ("cpu", "cuda", "cuda:1"), as they are measured."""
    model = pvae_zoo.load(name, device=device, threads=1)
    model.sample(1)
    for count in counts:
        yield measure(model, count, seconds)


class Passes(logging.Handler):
    """Hears how many passes a fixed point took, batch by batch; none of any other order."""

    last: tuple[int, ...] = ()

    def __enter__(self) -> Passes:
        self._logger = logging.getLogger("pvae_zoo.runtime.fixed_point")
        self._logger.addHandler(self)
        self._logger.setLevel(logging.INFO)
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)
        self._logger.setLevel(logging.NOTSET)

    def emit(self, record: logging.LogRecord) -> None:
        self.last = getattr(record, "passes", self.last)


def parsed(text: str) -> dict[str, tuple[str, dict[tuple[str, str], tuple[str, ...]]]]:
    """Of each device in a page: what measured, and the cells of its rows by model and images."""
    found = {}
    for section in text.split("\n## ")[1:]:
        device, _, body = section.partition("\n")
        lines = [line for line in body.splitlines() if line.startswith("| ")][1:]
        cells = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]
        where = next((line for line in body.splitlines() if line and not line.startswith("|")), "")
        found[device] = where, {(row[0], row[2]): row for row in cells}
    return found


def page(sections: dict[str, tuple[str, dict[tuple[str, str], tuple[str, ...]]]]) -> str:
    """The page of all devices."""
    parts = [HEAD]
    for device in COUNTS:
        where, found = sections.get(device, ("", {}))
        table = [*COLUMNS, *("| " + " | ".join(cells) + " |" for cells in found.values())]
        parts.append(f"## {device}\n\n" + (f"{where}\n\n" + "\n".join(table) if found else UNMEASURED) + "\n")
    return "\n".join(parts)


def record(row: Row, device: str, results: Path = RESULTS) -> None:
    """Put a row into the page, in place of that of the same model and images."""
    sections = parsed(results.read_text("utf-8")) if results.exists() else {}
    _, found = sections.get(device, ("", {}))
    found[row.model, str(row.images)] = row.cells()
    sections[device] = _machine(device), found
    atomic_write(results, page(sections).encode())


def _machine(device: str) -> str:
    name = processor()
    if device == "cuda":
        import torch

        name = torch.cuda.get_device_name()
    return f"pvae-zoo {pvae_zoo.__version__}, {name}, onnxruntime {import_onnxruntime().__version__}."


def main(say: Callable[[str], None] = lambda line: print(line, flush=True)) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--models", default="mnist,lsun")
    parser.add_argument("--counts", help="images at once, in place of 1 and 16, on a GPU up to 1,024")
    parser.add_argument("--seconds", type=float, default=60, help="after which a row is not repeated")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    kind = asked.device.partition(":")[0]
    counts = tuple(map(int, asked.counts.split(","))) if asked.counts else COUNTS[kind]
    for name in asked.models.split(","):
        for row in rows(name, asked.device, counts, asked.seconds):
            record(row, kind, asked.out)
            say("  ".join(row.cells()))


if __name__ == "__main__":
    main()
