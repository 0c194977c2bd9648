"""Which provider has which node of a graph: none is to stand on the CPU where a GPU was meant.

A node that the CUDA provider has no kernel for runs on the CPU, and its tensors are copied there and back in every run;
no CUDA graph can be captured of it. onnxruntime says so nowhere unless it is asked (since 1.24).

Nor does it keep nodes for the CPU by preference here: it would those that compute shapes (``Shape``, and what follows
from it), which the graphs of this package have not got; their shapes are constants or those of the inputs.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

from pvae_zoo.base.errors import PvaeZooWarning

_RECORD = "session.record_ep_graph_assignment_info"
_MOST_NAMED = 5


class CpuNodesWarning(PvaeZooWarning):
    """Some nodes of a graph run on the CPU though a GPU was meant."""


@dataclass(frozen=True)
class Node:
    """A node of a graph, as onnxruntime assigned it."""

    name: str
    operator: str

    def __str__(self) -> str:
        return f"{self.name} ({self.operator})"


def lists_nodes(ort: ModuleType) -> bool:
    """Whether this onnxruntime tells which provider has which node."""
    return hasattr(ort.InferenceSession, "get_provider_graph_assignment_info")


def record_nodes(options: Any) -> None:
    """Have sessions with these ``SessionOptions`` keep who has which node; an older onnxruntime does not mind."""
    options.add_session_config_entry(_RECORD, "1")


def nodes_by_provider(session: Any) -> dict[str, tuple[Node, ...]]:
    """The nodes of a session's graph by provider; empty where this onnxruntime does not tell.

    Args:
        session: opened with `record_nodes`.
    """
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return {}
    found: dict[str, tuple[Node, ...]] = {}
    for part in session.get_provider_graph_assignment_info():
        nodes = tuple(Node(node.name, node.op_type) for node in part.get_nodes())
        found[part.ep_name] = found.get(part.ep_name, ()) + nodes
    return found


def nodes_elsewhere(session: Any, provider: str) -> tuple[Node, ...]:
    """The nodes of a session that another provider has than the one that was meant."""
    return tuple(node for name, nodes in nodes_by_provider(session).items() if name != provider for node in nodes)


def warn_of_nodes_elsewhere(session: Any, provider: str) -> None:
    """Warn of a graph's nodes that another provider has than the one that was meant: once, with their names.

    Warns:
        CpuNodesWarning: if there are any.
    """
    nodes = nodes_elsewhere(session, provider)
    if nodes:
        _say(session.get_modelmeta().graph_name, nodes)


@cache  # a graph is opened by many sessions and said once
def _say(graph: str, nodes: tuple[Node, ...]) -> None:
    named, more = ", ".join(map(str, nodes[:_MOST_NAMED])), len(nodes) - _MOST_NAMED
    warnings.warn(
        f"{len(nodes)} node{'s' * (len(nodes) > 1)} of {graph} run{'s' * (len(nodes) == 1)} on the CPU, for want of a "
        f"kernel on the GPU, and every run waits for the copies: {named}{f' and {more} more' if more > 0 else ''}",
        CpuNodesWarning,
        stacklevel=2,
    )
