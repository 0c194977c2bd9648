"""CUDA: the images and bounds of the CPU, and how many a second beside PyTorch on the same card.

usage: python benchmarks/gpu_tables.py --out FILE [--seconds 240] [--device cpu --quick]

Needs a CUDA device, onnxruntime-gpu and the package's [train] extra; benchmarks/gpu.sh brings them to a machine without
a network. Rows are measured one by one, most important first, within the seconds given, and the file is written anew
after each (cuda_rows.py has how). PyTorch computes in plain float32 here, as the graphs do, and with cuDNN's search.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cuda_rows import NOT_REACHED, Row, measured_rows
from cuda_sampling import ORDERS, captured_row, our_rows, parity_row, torch_row, uncaptured_row
from cuda_scoring import compiled_row, draws_row, scoring_rows, variant_rows
from cuda_training import training_row

from pvae_zoo import __version__
from pvae_zoo.base.atomic import atomic_write
from pvae_zoo.runtime.sessions import cores

HEAD = """# CUDA

`python benchmarks/gpu_tables.py`, pvae-zoo {ours}, {device}, {cores} CPU cores, {versions}, Python {python}.

Most important first, within {seconds:.0f} seconds: "{not_reached}" is what there was no time left for. Images a second
are of the whole call, from noise to NumPy arrays or from arrays to figures, the median of a few after one to warm up.

| what | measured | wanted |
|---|---|---|
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--out", type=Path, required=True, help="Markdown")
    parser.add_argument("--device", default="cuda", help="cpu: to see that it runs, with --quick")
    parser.add_argument("--quick", action="store_true", help="two images of mnist: to see that it runs, not to publish")
    arguments = parser.parse_args()
    rows = quick_rows() if arguments.quick else all_rows()
    head = HEAD.format(
        ours=__version__,
        device=_gpu() if arguments.device != "cpu" else "the CPU",
        cores=cores(),
        versions=", ".join(_versions()),
        python=platform.python_version(),
        seconds=arguments.seconds,
        not_reached=NOT_REACHED,
    )

    found = [NOT_REACHED] * len(rows)

    def write() -> None:
        lines = [f"| {row.what} | {text} | {row.wanted} |" for row, text in zip(rows, found, strict=True)]
        atomic_write(arguments.out, (head + "\n".join(lines) + "\n").encode())

    write()
    for number, text in measured_rows(rows, partial(_bench, arguments.device, arguments.quick), arguments.seconds):
        found[number] = text
        write()
        print(f"{rows[number].what}: {text}", flush=True)


def all_rows() -> list[Row]:
    """What the design promises first, then what explains it."""
    models = ("mnist", "lsun", "mnist-upsample", "imagenet64")
    twice, thrice = ">= 2 x PyTorch's fixed point", ">= 8,142 images/s (three times what was)"
    return [
        parity_row("mnist"),
        captured_row("mnist"),
        torch_row("mnist", 16),
        *our_rows("mnist", 16, wanted=twice),
        *our_rows("mnist", 1024, wanted=thrice),
        *scoring_rows("mnist"),
        parity_row("lsun"),
        captured_row("lsun"),
        torch_row("lsun", 16, seconds=20),
        *our_rows("lsun", 16, wanted=twice),
        *our_rows("lsun", 256, ("wavefront",), wanted=">= 100 images/s", seconds=15),
        *(row for name in models[1:] for row in scoring_rows(name)),
        *variant_rows("mnist"),
        *variant_rows("lsun"),
        *(draws_row(name, 16) for name in ("mnist", "lsun")),
        *(training_row(name, compiled=False) for name in ("mnist", "lsun")),
        *(compiled_row(name) for name in ("mnist", "lsun")),
        *(row for n in (1, 64) for row in (torch_row("mnist", n), *our_rows("mnist", n))),
        *our_rows("mnist", 1, ("raster",)),
        *(uncaptured_row("mnist", n) for n in (16, 1024)),
        uncaptured_row("lsun", 16),
        torch_row("mnist", 1024),
        *(training_row(name, compiled=True) for name in ("mnist", "lsun")),
        *(row for n in (1, 64) for row in (*our_rows("lsun", n), torch_row("lsun", n, seconds=25))),
        *(compiled_row(name) for name in models[2:]),
        *our_rows("lsun", 256, ("fixed-point",), seconds=25),
        *our_rows("lsun", 1024, ("wavefront",), seconds=25),
        torch_row("lsun", 256, seconds=60),
    ]


def quick_rows() -> list[Row]:
    """Every kind of row, on one or two digits. To compile takes a CPU too long: those rows are never reached."""
    compiled = [compiled_row("mnist"), training_row("mnist", compiled=True)]
    return [
        parity_row("mnist"),
        captured_row("mnist"),
        *variant_rows("mnist"),
        torch_row("mnist", 1),
        *our_rows("mnist", 1, (*ORDERS, "raster")),
        *scoring_rows("mnist"),
        draws_row("mnist", 2),
        uncaptured_row("mnist", 1),
        training_row("mnist", compiled=False),
        *(replace(row, seconds=1e6) for row in compiled),
    ]


def _bench(device: str, quick: bool) -> Any:
    from cuda_bench import Bench  # imports PyTorch, which this process does without

    return Bench(device, quick=quick)


def _gpu() -> str:
    """The card's name, its memory and the driver, as nvidia-smi says."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        lines = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return "a card that nvidia-smi does not tell of"
    name, memory, driver = (word.strip() for word in lines[0].split(","))
    return f"{name} with {memory} (driver {driver})"


def _versions() -> list[str]:
    names = ("onnxruntime-gpu", "onnxruntime", "torch", "triton", "nvidia-cudnn-cu13", "nvidia-cublas")
    found = []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    main()
