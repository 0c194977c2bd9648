"""Every figure of benchmarks/RESULTS.md (of another model: RESULTS-MODEL.md), measured in one run on this machine.

usage: python benchmarks/run.py [--model mnist] [--only sampling,scoring,commands] [--quick]

Comparisons are made side by side in the same run and reported as ratios; seconds are of one machine and of no other.
Needs the package with its [dev] extra: the naive sampler and the scoring baseline are PyTorch's.
"""

from __future__ import annotations

import argparse
import platform
from pathlib import Path

import commands
import sampling
import teacher_forced
from machine import processor

import pvae_zoo
from pvae_zoo.base.atomic import atomic_write

FOLDER = Path(__file__).parent
SECTIONS = {"sampling": sampling.rows, "scoring": teacher_forced.rows, "commands": commands.rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mnist")
    parser.add_argument("--only", default=",".join(SECTIONS))
    parser.add_argument("--quick", action="store_true", help="fewer images: to see that it runs, not to publish")
    arguments = parser.parse_args()
    lines = [
        "# Benchmarks",
        "",
        f"`python benchmarks/run.py --model {arguments.model}`, pvae-zoo {pvae_zoo.__version__}, "
        f"{pvae_zoo.load(arguments.model).threads} cores of {processor()}, Python {platform.python_version()}.",
    ]
    for name in arguments.only.split(","):
        lines += ["", f"## {name.capitalize()}", "", "| what | measured | wanted |", "|---|---|---|"]
        print(f"\n{name}", flush=True)
        for row in SECTIONS[name](arguments.model, quick=arguments.quick):
            lines.append(f"| {row[0]} | {row[1]} | {row[2]} |")
            print(f"  {row[0]}: {row[1]}" + (f"   (wanted: {row[2]})" if row[2] else ""), flush=True)
    if not arguments.quick and arguments.only == ",".join(SECTIONS):
        name = "RESULTS.md" if arguments.model == "mnist" else f"RESULTS-{arguments.model}.md"
        atomic_write(FOLDER / name, ("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    main()
