"""What a GPU machine without a network needs for benchmarks/gpu.sh, as folders that can be carried one at a time.

usage: bash benchmarks/gpu.sh --pack FOLDER [--python 3.12] [--load-megabytes 58]

FOLDER/1, FOLDER/2 ... hold at most that much each, what is larger cut into parts; FOLDER/README.md says what to do with
them. The package is carried as the wheel that pip builds of this tree: nothing has to be built there, and what is
measured is what is installed elsewhere. Beside it there is what a machine with torch may lack, without dependencies.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
TREE = ("pyproject.toml", "benchmarks", "tests/conftest.py", "tests/gpu")
"""Of this tree, what the script runs; the package itself is a wheel."""

WHEELS = (
    *("onnxruntime-gpu==1.31.1", "flatbuffers", "packaging"),
    *("dacite", "filelock", "tqdm"),
    *("pytest", "pluggy", "iniconfig", "pygments", "pytest-timeout"),
)
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux2014_x86_64")

README = """# To a GPU machine, in {count} loads

Each folder holds at most {megabytes} MB. Bring one after another to the machine and put the files of all into one
folder that stays, for example

    mkdir -p /tmp/gpu && cp N/* /tmp/gpu/

for N from 1 to {count}, in any order; what takes a tree along with each load counts that too. Then, on the machine:

    mkdir -p /tmp/gpu/tree && tar -xzf /tmp/gpu/tree.tar.gz -C /tmp/gpu/tree
    bash /tmp/gpu/tree/benchmarks/gpu.sh /tmp/gpu OUT 360

It says which file is to be carried again, if one is damaged or missing. After a change of the tree only what the new
pack has otherwise must be carried again: the parts of onnxruntime-gpu stay the same.

{sizes}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default="3.12", help="of the GPU machine")
    parser.add_argument("--load-megabytes", type=int, default=58)
    arguments = parser.parse_args()
    if arguments.folder.exists() and any(arguments.folder.iterdir()):
        sys.exit(f"{arguments.folder} is not empty: choose another folder")
    with tempfile.TemporaryDirectory() as folder:
        gather(Path(folder), arguments.python)
        print(pack(Path(folder), arguments.folder, arguments.load_megabytes * 1_000_000).read_text("utf-8"))


def gather(folder: Path, python: str) -> None:
    """The wheels of others for that Python, and our own."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
    fetch = ["download", "--no-deps", "--only-binary=:all:", "--python-version", python, *platforms]
    subprocess.run([*pip, *fetch, "-d", folder, *WHEELS], check=True)
    # The page is for people.
    environment = os.environ | {"PVAE_ZOO_NO_PAGE": "1"}
    subprocess.run([*pip, "wheel", "--no-deps", "-w", folder, ROOT], check=True, env=environment)


def pack(wheels: Path, folder: Path, most: int) -> Path:
    """Lay out loads of at most ``most`` bytes.

    Args:
        wheels: the wheels to carry; the tree is put beside them.
        folder: where the loads go.

    Returns:
        The README of the loads.
    """
    with tarfile.open(wheels / "tree.tar.gz", "w:gz") as tree:
        for name in TREE:
            tree.add(ROOT / name, name, filter=lambda entry: None if "__pycache__" in entry.name else entry)
    pieces, whole = [], []
    for path in sorted(wheels.iterdir(), key=lambda path: -path.stat().st_size):
        content = path.read_bytes()
        if len(content) <= most:
            pieces.append((path.name, content))
            continue
        whole.append(_sum(path.name, content))
        starts = range(0, len(content), most)
        pieces += [(f"{path.name}.part-{n:02d}", content[start : start + most]) for n, start in enumerate(starts)]
    pieces.append(("SHA256SUMS", "".join(_sum(*piece) for piece in pieces).encode()))
    pieces.append(("SHA256SUMS.joined", "".join(whole).encode()))
    loads: list[list[tuple[str, bytes]]] = []
    for piece in sorted(pieces, key=lambda piece: -len(piece[1])):
        fitting = (load for load in loads if sum(len(content) for _, content in load) + len(piece[1]) <= most)
        load = next(fitting, None)
        if load is None:
            loads.append(load := [])
        load.append(piece)
    for number, load in enumerate(loads, 1):
        (folder / str(number)).mkdir(parents=True)
        for name, content in load:
            (folder / str(number) / name).write_bytes(content)
    readme = folder / "README.md"
    readme.write_text(
        README.format(count=len(loads), megabytes=most // 1_000_000, sizes="\n".join(_lines(loads))), "utf-8"
    )
    return readme


def _sum(name: str, content: bytes) -> str:
    return f"{hashlib.sha256(content).hexdigest()}  {name}\n"


def _lines(loads: list[list[tuple[str, bytes]]]) -> list[str]:
    rows = ["| load | MB | files |", "|---|---|---|"]
    for number, load in enumerate(loads, 1):
        megabytes = sum(len(content) for _, content in load) / 1e6
        rows.append(f"| {number} | {megabytes:.1f} | {', '.join(name for name, _ in load)} |")
    return rows


if __name__ == "__main__":
    main()
