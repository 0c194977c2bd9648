"""The runtimes that make something else of a graph before they run it: MNN a file of its own, IREE and TVM programs.

All compute in float32, on one thread. Making it takes from milliseconds (MNN) to minutes (IREE) and is no part of the
times that are compared.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.conformance.cases import Arrays, Run
from pvae_zoo.contract.config import GraphSpec


def open_mnn(path: Path, spec: GraphSpec) -> Run:
    """MNN, whose integers all have 32 bits."""
    # Before MNN, which brings it. The command `mnnconvert` is this function and a report of what was converted to its
    # makers, for which it installs a package: only the function is wanted.
    import _tools
    import MNN.expr as expr
    import MNN.nn as nn

    names, converted = [output.name for output in spec.outputs], path.with_suffix(".mnn")
    _tools.mnnconvert(["mnnconvert", "-f", "ONNX", "--modelFile", str(path), "--MNNModel", str(converted)])
    if not converted.is_file():
        raise ValueError("MNN's converter makes nothing of it")
    module = nn.load_module_from_file(str(converted), [tensor.name for tensor in spec.inputs], names)

    def run(feed: dict[str, NDArray[Any]]) -> Arrays:
        variables = []
        for tensor in spec.inputs:
            array, kind = feed[tensor.name].astype(np.float32), expr.float
            if tensor.dtype != "float32":
                array, kind = feed[tensor.name].astype(np.int32), expr.int
            variables.append(expr.const(array, list(array.shape), expr.NCHW, kind))
        return {name: value.read() for name, value in zip(names, module.forward(variables), strict=True)}

    return run


def open_iree(path: Path, spec: GraphSpec) -> Run:
    """IREE's CPU backend, compiled for the processor that it runs on."""
    import iree.compiler
    import iree.runtime
    from iree.compiler.tools.import_onnx.__main__ import main as import_onnx
    from iree.compiler.tools.import_onnx.__main__ import parse_arguments

    mlir = path.with_suffix(".mlir")
    if code := import_onnx(parse_arguments([str(path), "-o", str(mlir)])):
        raise ValueError(f"IREE's importer ends with code {code}")
    options = ["--iree-llvmcpu-target-cpu=host"]
    compiled = iree.compiler.compile_file(
        str(mlir), target_backends=["llvm-cpu"], input_type="onnx", extra_args=options
    )
    config = iree.runtime.Config("local-sync")  # runs in the thread that calls it
    module = iree.runtime.load_vm_module(iree.runtime.VmModule.copy_buffer(config.vm_instance, compiled), config)
    # The graph's name, made a symbol: the one function that is neither the initialiser nor the asynchronous variant.
    found = [name for name in module.vm_module.function_names if not name.startswith("__") and "$" not in name]
    function, names = module[found[0]], [output.name for output in spec.outputs]

    def run(feed: dict[str, NDArray[Any]]) -> Arrays:
        results = function(*(np.ascontiguousarray(feed[tensor.name]) for tensor in spec.inputs))
        several = results if isinstance(results, tuple | list) else (results,)
        return {name: np.asarray(value) for name, value in zip(names, several, strict=True)}

    return run


def open_tvm(path: Path, spec: GraphSpec) -> Run:
    """TVM's Relax, without tuning."""
    import onnx
    import tvm
    from tvm import relax
    from tvm.relax.frontend.onnx import from_onnx

    program = from_onnx(onnx.load(path), keep_params_in_input=False)
    machine = relax.VirtualMachine(tvm.compile(program, target="llvm"), tvm.cpu())
    names = [output.name for output in spec.outputs]

    def run(feed: dict[str, NDArray[Any]]) -> Arrays:
        results = machine["main"](*(tvm.runtime.tensor(np.ascontiguousarray(feed[t.name])) for t in spec.inputs))
        several = [results] if hasattr(results, "numpy") else results
        return {name: value.numpy() for name, value in zip(names, several, strict=True)}

    return run
