"""Which operator a runtime's error speaks of, where it speaks of one."""

from __future__ import annotations

import re
from pathlib import Path

_WORDS = {"Add", "Equal", "Less", "Where"}
"""Operators whose names are words of English: alone, they name nothing."""


def operator_of(text: str, graph: Path) -> str | None:
    """The operator that an error's text names: by a node of the graph, by a runtime's source file, or by itself.

    Args:
        text: the error, with its traceback where there is one.
        graph: the ONNX file that was run.
    """
    import onnx

    nodes: dict[str, str] = {node.name: node.op_type for node in onnx.load(graph, load_external_data=False).graph.node}
    kinds = {kind.lower(): kind for kind in nodes.values()}
    for word in re.findall(r"\b\w+\b", text):
        if word in nodes:
            return nodes[word]
    # OpenCV's layers are conv2_layer.cpp, onnx's own op_gather_elements.py.
    sources = re.findall(r"(\w+?)\d*_layer\.cpp|\bop_(\w+)\.py", text)
    named = [(layer or op).replace("_", "") for layer, op in sources]
    found = next((kinds[name] for name in named if name in kinds), None)
    if found is not None:
        return found
    words = (word for word in re.findall(r"\w+", text) if word not in _WORDS)
    return next((word for word in words if word in nodes.values()), None)
