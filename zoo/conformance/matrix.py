"""The matrix: a worker for each runtime, and what became of it.

Each runtime has a process of its own with a clock, so that one that crashes, hangs or does not load is a row like any
other. After a crash the worker is started again for what it had not come to.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pvae_zoo import __version__
from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.base.printable import shown
from pvae_zoo.checks.selftest import machine
from pvae_zoo.conformance.results import SHARE, GraphResult, Matrix, RuntimeResult
from pvae_zoo.conformance.runtimes import REFERENCE, RUNTIMES, Found, Runtime, find
from pvae_zoo.conformance.worker import REPORT, SAMPLE, SAMPLE_FILE
from pvae_zoo.contract.folder import Bundle
from pvae_zoo.contract.precision import Precision

SECONDS = 1200
"""That a runtime may take, in all: compilers take minutes, and the others end long before."""
_WORKER = "pvae_zoo.conformance.worker"
_LINE = 200
_SET = {
    "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TVM_NUM_THREADS": "1",
    "RUST_BACKTRACE": "0", "RUST_LIB_BACKTRACE": "0",
}  # fmt: skip
"""One thread each, and no stack traces within the one line of an error."""


@dataclass(frozen=True)
class _Ran:
    """What a runtime's workers said: a line for each task, the images of its sample, why it ended early."""

    said: dict[str, dict[str, Any]]
    images: NDArray[Any] | None
    ended: str | None


def measure(
    bundle: Bundle,
    runtimes: list[Runtime],
    *,
    node_folder: Path | None = None,
    python_folder: Path | None = None,
    seconds: float = SECONDS,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Matrix:
    """Run a bundle in the runtimes that are installed.

    Args:
        bundle: admitted, since its graphs run.
        runtimes: those to have a row; onnxruntime runs in any case, since the others are compared with it.
        node_folder: whose ``node_modules`` hold the packages of npm.
        python_folder: with a folder for each runtime that is not installed beside this package.
        seconds: that each runtime may take.
        progress: called with (rows done, rows in all).

    Raises:
        PvaeZooError: if onnxruntime is missing or cannot draw the sample.
    """
    base = find(RUNTIMES[REFERENCE])
    if isinstance(base, str):
        raise PvaeZooError(f"onnxruntime is not installed, and the others are compared with it: run {base}")
    progress(0, len(runtimes))
    reference = _run(bundle, base, seconds)
    if reference.images is None:
        problem = reference.ended or reference.said.get(SAMPLE, {}).get("problem")
        raise PvaeZooError(f"onnxruntime draws no sample to compare with: {problem}; see pvae-zoo verify {bundle.name}")
    rows = []
    for done, runtime in enumerate(runtimes, start=1):
        found = base if runtime.name == REFERENCE else find(runtime, node_folder, python_folder)
        if isinstance(found, str):
            rows.append(_missing(runtime, found))
        else:
            ran = reference if runtime.name == REFERENCE else _run(bundle, found, seconds)
            rows.append(_row(bundle, found, ran, reference))
        progress(done, len(runtimes))
    return Matrix(
        model_sha256=bundle.digest,
        pvae_zoo=__version__,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine(),
        images=len(reference.images),
        values=int(reference.images.size),
        runtimes=tuple(rows),
    )


def _run(bundle: Bundle, found: Found, seconds: float) -> _Ran:
    """All tasks of a runtime; a task that takes its worker down is left out of the next one's."""
    tasks = [*bundle.config.roles, SAMPLE]
    said: dict[str, dict[str, Any]] = {}
    deadline, ended = time.monotonic() + seconds, None
    with tempfile.TemporaryDirectory(prefix="pvae-zoo-") as folder:
        work = Path(folder)
        while left := [task for task in tasks if task not in said]:
            ended, begun = _worker(bundle, found, work, left, deadline - time.monotonic()), None
            for line in _lines(work / REPORT):
                begun = line.get("begin", begun)
                if "task" in line:
                    said[line["task"]] = line
            if ended is None or begun is None or begun in said:
                break
            said[begun] = {"problem": ended, "operator": None}
            if time.monotonic() > deadline:
                break
        images = np.load(work / SAMPLE_FILE) if (work / SAMPLE_FILE).is_file() else None
    return _Ran(said, images, ended)


def _worker(bundle: Bundle, found: Found, work: Path, tasks: list[str], seconds: float) -> str | None:
    """Run a worker; how it ended, None if well."""
    package, path, own = "", os.environ.get("PYTHONPATH", ""), str(found.folder or "")
    if found.runtime.npm:
        package = own
    elif own:
        path = os.pathsep.join(filter(None, [own, path]))
    command = [sys.executable, "-P", "-m", _WORKER, str(bundle.folder.absolute()), found.runtime.name]
    errors = work / "stderr"
    with errors.open("wb") as stderr:
        child = subprocess.Popen(
            [*command, str(work), package, *tasks],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr,
            env=os.environ | _SET | {"PYTHONPATH": path}, start_new_session=True,
        )  # fmt: skip
        try:
            code = child.wait(max(seconds, 0))
        except subprocess.TimeoutExpired:
            return "it takes longer than its time limit"
        finally:
            _end(child)
    if code == 0:
        return None
    if code < 0:
        return f"it crashes ({signal.Signals(-code).name})"
    lines = [line for line in errors.read_text("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else f"it ends with code {code}"


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a worker that still runs, and the node that it may have started."""
    if child.poll() is None:
        with suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(child.pid, signal.SIGKILL)
            else:
                child.kill()
        child.wait()


def _lines(report: Path) -> list[dict[str, Any]]:
    """The worker's report, less a line that it died over."""
    if not report.is_file():
        return []
    lines = []
    for text in report.read_text("utf-8").splitlines():
        with suppress(ValueError):
            lines.append(json.loads(text))
    return lines


def _missing(runtime: Runtime, remedy: str) -> RuntimeResult:
    return RuntimeResult(
        name=runtime.name, version="", graphs=(), equal=None, time_ratio=None, problem=None, remedy=remedy
    )


def _row(bundle: Bundle, found: Found, ran: _Ran, reference: _Ran) -> RuntimeResult:
    numbers = bundle.config.numbers
    graphs = tuple(_graph(role, ran.said.get(role), numbers) for role in bundle.config.roles)
    sample, wanted = ran.said.get(SAMPLE, {}), reference.images
    assert wanted is not None
    drawn = "seconds" in sample
    problem = None if drawn else sample.get("problem") or ran.ended or "it did not come to the sample"
    if not drawn and sample.get("role"):
        problem = f"{sample['role']}: {problem}"
    return RuntimeResult(
        name=found.runtime.name,
        version=shown(found.version, 40),
        graphs=graphs,
        equal=float((ran.images == wanted).mean()) if drawn and ran.images is not None else None,
        time_ratio=sample["seconds"] / reference.said[SAMPLE]["seconds"] if drawn else None,
        problem=None if problem is None else shown(problem, _LINE),
        remedy=None,
        share=SHARE if numbers.draws is not None else 0.0,
    )


def _graph(role: str, said: dict[str, Any] | None, numbers: Precision) -> GraphResult:
    """What was said of a graph, judged."""
    if said is None or "problem" in said:
        problem = said["problem"] if said else "it did not come to this graph"
        operator = said["operator"] if said else None
        return GraphResult(role=role, difference=None, ok=False, problem=shown(problem, _LINE), operator=operator)
    difference, bits = float(said["difference"]), float(said["bits"])
    ok = difference <= numbers.gap and bits <= numbers.bits  # false for what is no number
    finite = math.isfinite(difference)
    problem = None
    if not ok:
        what = f"differs by {difference:.1e}" if finite else "gives other shapes, or values that are no numbers"
        problem = f"{what} ({bits:.1e} bits per dimension)" if finite and bits > numbers.bits else what
    return GraphResult(role=role, difference=difference if finite else None, ok=ok, problem=problem, operator=None)
