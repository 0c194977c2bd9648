"""The runtimes that Python drives, with those of `compiled`: each opens a graph as a function from arrays to arrays.

All compute in float32, on one thread, so that times can be compared.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.conformance.cases import Arrays, Run
from pvae_zoo.conformance.compiled import open_iree, open_mnn, open_tvm
from pvae_zoo.conformance.runtimes import FLOOR, REFERENCE
from pvae_zoo.contract.config import GraphSpec


def _onnxruntime(path: Path, spec: GraphSpec) -> Run:
    from pvae_zoo.runtime.sessions import open_session

    names = [output.name for output in spec.outputs]
    session = open_session(path.read_bytes(), "cpu")
    return lambda feed: dict(zip(names, session.run(names, feed), strict=True))


def _nxrt(path: Path, spec: GraphSpec) -> Run:
    import nxrt

    names = [output.name for output in spec.outputs]
    session = nxrt.InferenceSession(str(path))
    return lambda feed: dict(zip(names, session.run(names, feed), strict=True))


def _reference(path: Path, spec: GraphSpec) -> Run:
    from onnx.reference import ReferenceEvaluator

    names = [output.name for output in spec.outputs]
    evaluator = ReferenceEvaluator(str(path))
    return lambda feed: dict(zip(names, evaluator.run(names, feed), strict=True))


def _tract(path: Path, spec: GraphSpec) -> Run:
    import tract

    runnable = tract.onnx().load(path).into_model().into_runnable()
    inputs = [tensor.name for tensor in spec.inputs]

    def run(feed: dict[str, NDArray[Any]]) -> Arrays:
        results = runnable.run([np.ascontiguousarray(feed[name]) for name in inputs])
        found = {}
        for output, result in zip(spec.outputs, results, strict=True):
            # tract keeps integers as its own kind, of sizes that may be unknown: no array can be made of those.
            integer = output.dtype == "int64"
            found[output.name] = (result.convert_to(tract.DatumType.I64) if integer else result).to_numpy()
        return found

    return run


def _openvino(path: Path, spec: GraphSpec) -> Run:
    import openvino

    # Left alone it would round to int8 what is multiplied by weights that are stored as int8.
    rounding = {"DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, **rounding}
    compiled = openvino.Core().compile_model(path, "CPU", options)
    names = [output.name for output in spec.outputs]

    def run(feed: dict[str, NDArray[Any]]) -> Arrays:
        results = compiled(feed)
        return {name: results[name] for name in names}

    return run


def _opencv(path: Path, spec: GraphSpec) -> Run:
    import cv2

    cv2.setNumThreads(1)
    net = cv2.dnn.readNetFromONNX(str(path), engine=cv2.dnn.ENGINE_NEW)
    names = [output.name for output in spec.outputs]

    def run(feed: dict[str, NDArray[Any]]) -> Arrays:
        for name, value in feed.items():
            net.setInput(value, name)
        return dict(zip(names, net.forward(names), strict=True))

    return run


ENGINES: dict[str, Callable[[Path, GraphSpec], Run]] = {
    REFERENCE: _onnxruntime,
    FLOOR: _onnxruntime,
    "reference": _reference,
    "tract": _tract,
    "openvino": _openvino,
    "opencv": _opencv,
    "nxrt": _nxrt,
    "mnn": open_mnn,
    "iree": open_iree,
    "tvm": open_tvm,
}
