"""The process that runs one runtime: ``python -m pvae_zoo.conformance.worker FOLDER RUNTIME WORK PACKAGE TASK...``.

It says what it begins and what came of it, a line of JSON each in ``WORK/report.jsonl``: when it dies, its parent
knows where. A task is the role of a graph, or "sample" for a whole sample, whose images go to ``WORK/sample.npy``.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.checks.step_vectors import step_gap, step_vectors
from pvae_zoo.checks.verification import first_line, golden_gap, read_golden, with_contexts
from pvae_zoo.conformance.cases import Arrays, Case, Run, draw_sample, golden_case, golden_step_case, run_case
from pvae_zoo.conformance.engines import ENGINES
from pvae_zoo.conformance.node import run_in_node
from pvae_zoo.conformance.operators import operator_of
from pvae_zoo.contract.folder import Bundle
from pvae_zoo.runtime.scoring import bits_per_dim
from pvae_zoo.runtime.sessions import open_session

REPORT = "report.jsonl"
SAMPLE = "sample"
SAMPLE_FILE = "sample.npy"


class Worker:
    """One runtime over one bundle.

    Args:
        bundle: its graphs are verified as they are opened.
        runtime: a name of `pvae_zoo.conformance.runtimes.RUNTIMES`.
        work: folder for files of this run.
        package: folder of an npm package; None for a runtime that Python drives.
    """

    def __init__(self, bundle: Bundle, runtime: str, work: Path, package: Path | None) -> None:
        self.bundle, self.runtime, self.work, self.package = bundle, runtime, work, package
        problems: list[str] = []
        golden = read_golden(bundle, problems)
        if problems:
            raise ValueError(problems[0])
        self.golden: Arrays = golden
        # Contexts come from onnxruntime, whatever runtime this is: each graph is measured by itself.
        self.whole: Arrays = with_contexts(bundle, golden, lambda role: open_session(bundle.read_graph(role), "cpu"))
        self.seconds = 0.0
        self._opened: dict[str, Run] = {}
        self.role = ""

    def graph(self, role: str) -> Path:
        """A file with the graph's bytes, once their hash holds."""
        path = self.work / f"{role}.onnx"
        if not path.is_file():
            path.write_bytes(self.bundle.read_graph(role))
        return path

    def execute(self, case: Case) -> list[Arrays]:
        """The wanted outputs of each run; the time that the runs take is added to ``seconds``."""
        self.role, path = case.role, self.graph(case.role)
        if self.package is not None:
            with tempfile.TemporaryDirectory(dir=self.work) as folder:
                results, seconds = run_in_node(self.package, path, case, Path(folder))
            self.seconds += seconds
            return results
        if case.role not in self._opened:
            self._opened[case.role] = ENGINES[self.runtime](path, self.bundle.config.graphs[case.role])
        start = time.perf_counter()
        results = run_case(self._opened[case.role], case)
        self.seconds += time.perf_counter() - start
        return results

    def check(self, role: str) -> dict[str, Any]:
        """A graph on its golden vectors: the largest difference, and that of the likelihoods in bits per dimension."""
        self.role = role
        got: Arrays
        expected: Arrays
        if role.endswith("_step"):
            drawing, wanted = golden_step_case(self.bundle.config, role, self.whole)
            got, expected = {drawing.wanted: drawing.images(self.execute(drawing.case))}, {drawing.wanted: wanted}
            single = self._single_steps(role)
        else:
            case, expected = golden_case(self.bundle, role, self.golden, self.whole)
            got, single = self.execute(case)[0], []
        bits = self._bits(got["log_prob"], expected["log_prob"]) if "log_prob" in expected else 0.0
        gaps = [golden_gap(name, got[name], expected[name]) for name in expected]
        return {"difference": math.inf if any(map(math.isnan, gaps)) else max([*gaps, *single]), "bits": bits}

    def _single_steps(self, role: str) -> list[float]:
        """The largest difference of each golden step."""
        vectors = step_vectors(self.bundle.config, role, self.golden)
        if not vectors:
            return []
        case = Case(role, tuple(vectors[0].expected), tuple(vector.feed for vector in vectors))
        return [step_gap(vector, outputs) for vector, outputs in zip(vectors, self.execute(case), strict=True)]

    def sample(self) -> dict[str, Any]:
        """A whole sample; where the graphs were checked before, they have seen all its shapes and are warm."""
        self.seconds = 0.0
        images = draw_sample(self.bundle.config, self.golden, self.execute)
        np.save(self.work / SAMPLE_FILE, images)
        return {"seconds": self.seconds}

    def _bits(self, got: NDArray[Any], expected: NDArray[Any]) -> float:
        if got.shape != expected.shape:
            return math.inf
        nats = (got.astype(np.float64) - expected).reshape(len(got), -1).sum(axis=1)
        return float(np.abs(bits_per_dim(nats, self.bundle.config.image)).max())


def report(worker: Worker, tasks: list[str], say: Callable[[dict[str, Any]], None]) -> None:
    """Do the tasks; one that fails does not keep the next from being tried."""
    for task in tasks:
        say({"begin": task})
        try:
            say({"task": task, **(worker.sample() if task == SAMPLE else worker.check(task))})
        except Exception as error:  # whatever a runtime raises is what the matrix is there to show
            graph = worker.work / f"{worker.role}.onnx"
            operator = operator_of(traceback.format_exc(), graph) if graph.is_file() else None
            say({"task": task, "role": worker.role, "problem": first_line(error), "operator": operator})


def main() -> None:
    folder, runtime, work, package, *tasks = sys.argv[1:]
    with open(Path(work) / REPORT, "a", encoding="utf-8", buffering=1) as file:
        worker = Worker(Bundle(Path(folder)), runtime, Path(work), Path(package) if package else None)
        report(worker, tasks, lambda line: print(json.dumps(line), file=file, flush=True))


if __name__ == "__main__":
    main()
