"""What came of a runtime: of each graph, of the whole sample, and in one word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["passed", "failed", "not installed"]

SHARE = 0.99
"""Share of the values of a whole sample that must be onnxruntime's.

Where a uniform stands within rounding of a threshold, a value falls to its other side, and those after it follow. With
coarse numbers (`pvae_zoo.contract.precision`) that happens everywhere and proves nothing: none must be.
"""


@dataclass(frozen=True, kw_only=True)
class GraphResult:
    """One graph.

    Attributes:
        role: of the graph.
        difference: the largest from the golden vectors; None if it did not run or gave no numbers.
        ok: whether it is as near as the bundle's precision allows, in bits per dimension too.
        problem: what went wrong.
        operator: that the problem speaks of, where it does.
    """

    role: str
    difference: float | None
    ok: bool
    problem: str | None
    operator: str | None


@dataclass(frozen=True, kw_only=True)
class RuntimeResult:
    """One row of the matrix.

    Attributes:
        name: of the runtime.
        version: of its package; empty if it is not installed.
        graphs: in the order of the bundle's roles.
        equal: share of the sample's values that are onnxruntime's; None if no sample was drawn.
        time_ratio: time of the sample's runs over that of onnxruntime's in the same matrix.
        problem: why no sample was drawn, or why nothing ran.
        remedy: what installs it, where it is missing.
        share: of the sample's values, that must be onnxruntime's.
    """

    name: str
    version: str
    graphs: tuple[GraphResult, ...]
    equal: float | None
    time_ratio: float | None
    problem: str | None
    remedy: str | None
    share: float = SHARE

    @property
    def state(self) -> State:
        if self.remedy is not None:
            return "not installed"
        sound = self.equal is not None and self.equal >= self.share and all(graph.ok for graph in self.graphs)
        return "passed" if sound and self.graphs else "failed"

    @property
    def difference(self) -> float | None:
        """The largest of all graphs; None if one gave none."""
        found = [graph.difference for graph in self.graphs if graph.difference is not None]
        return max(found) if found and len(found) == len(self.graphs) else None


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """What the runtimes make of a model.

    Attributes:
        model_sha256: the bundle's digest.
        pvae_zoo: version of this package.
        date: ISO 8601, UTC.
        machine: system, architecture, cores.
        images: drawn in the whole sample.
        values: of these images.
        runtimes: a row each.
    """

    model_sha256: str
    pvae_zoo: str
    date: str
    machine: str
    images: int
    values: int
    runtimes: tuple[RuntimeResult, ...]

    @property
    def ok(self) -> bool:
        """Whether all that is installed passes, and something is."""
        states = {runtime.state for runtime in self.runtimes}
        return "passed" in states and "failed" not in states
