"""The runtimes that node drives: a case written to a folder, ``driver.mjs`` run over it, its results read back."""

from __future__ import annotations

import json
import subprocess
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.conformance.cases import Arrays, Case

_ALIGNED = 8
"""Bytes that a tensor's place in the file is a multiple of: JavaScript's arrays ask for it."""


def run_in_node(package: Path, graph: Path, case: Case, folder: Path) -> tuple[list[Arrays], float]:
    """The wanted outputs of each run, and the seconds that the runs took.

    Args:
        package: folder of onnxruntime-node or onnxruntime-web.
        graph: the ONNX file.
        folder: to work in, empty.

    Raises:
        PvaeZooError: if node ends with an error; its words are the message.
    """
    tensors = bytearray()

    def described(arrays: Arrays) -> dict[str, Any]:
        found = {}
        for name, array in arrays.items():
            tensors.extend(b"\0" * (-len(tensors) % _ALIGNED))
            found[name] = {"dtype": array.dtype.name, "dims": list(array.shape), "offset": len(tensors)}
            tensors.extend(np.ascontiguousarray(array).tobytes())
        return found

    job = {
        "package": str(package),
        "graph": str(graph),
        "wanted": list(case.wanted),
        "constants": described(case.constants),
        "carried": described(case.carried),
        "feeds": [described(feed) for feed in case.feeds],
    }
    (folder / "tensors.bin").write_bytes(tensors)
    (folder / "case.json").write_text(json.dumps(job))
    with resources.as_file(resources.files("pvae_zoo.conformance") / "driver.mjs") as driver:
        ended = subprocess.run(["node", driver, folder], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if ended.returncode:
        raise PvaeZooError(_problem(ended))
    return _results(folder)


def _problem(ended: subprocess.CompletedProcess[str]) -> str:
    """What node said: the line of the error, not the source line above it nor the stack below."""
    if ended.returncode < 0:
        return f"node dies of signal {-ended.returncode}"
    lines = [line.strip() for line in ended.stderr.splitlines() if line.strip()]
    errors = [line for line in lines if "Error: " in line or line.startswith("Error")]
    return next(iter(errors or lines), f"node ends with code {ended.returncode}")


def _results(folder: Path) -> tuple[list[Arrays], float]:
    said, data = json.loads((folder / "results.json").read_text("utf-8")), (folder / "outputs.bin").read_bytes()

    def array(dtype: str, dims: list[int], offset: int) -> Any:
        return np.frombuffer(data, dtype, int(np.prod(dims)), offset).reshape(dims)

    return [{name: array(**value) for name, value in run.items()} for run in said["runs"]], float(said["seconds"])
