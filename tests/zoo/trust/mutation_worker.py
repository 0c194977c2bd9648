"""Screens graphs, and opens and runs those that pass, many in one process: see test_mutations.py.

Reads frames from standard input: the number of a graph among those of the bundles that the arguments name, a length,
and that many bytes. Answers each with a line: its number, the seconds of computing, the most memory so far in KiB, and
"refused", "failed" (onnxruntime did) or "ran".
"""

import itertools
import resource
import signal
import struct
import sys
import time
from pathlib import Path

from pvae_zoo.trust.limits import limit_this_process

limit_this_process(int(sys.argv[1]))

import numpy as np  # noqa: E402 - under the limits

from pvae_zoo.contract.folder import Bundle  # noqa: E402
from pvae_zoo.runtime.sessions import open_session  # noqa: E402
from pvae_zoo.trust.screening import screen_graph  # noqa: E402

SECONDS = 10
SIZES = {"N": 2, "M": 4, "T": 100, "P": 400}
DTYPES = {"float32": np.float32, "int64": np.int64, "uint8": np.uint8}


def feed(spec):
    """Inputs of the right types and shapes; positions that stand within the canvases."""
    inputs = {}
    for tensor in spec.inputs:
        shape = [SIZES[size] if isinstance(size, str) else size for size in tensor.shape]
        inputs[tensor.name] = np.full(shape, 1, DTYPES[tensor.dtype])
        if tensor.name == "positions":
            inputs[tensor.name] += 100 + np.arange(*shape)
    return inputs


def outcome(data, role, spec):
    if screen_graph(data, spec, role):
        return "refused"
    try:
        open_session(data, "cpu").run(None, feed(spec))
    except Exception as error:  # onnxruntime's many
        return f"failed {type(error).__name__}"
    return "ran"


def main():
    bundles = [Bundle(Path(folder)) for folder in sys.argv[2:]]
    graphs = [(role, bundle.config.graphs[role]) for bundle in bundles for role in bundle.config.roles]
    for number in itertools.count():
        header = sys.stdin.buffer.read(8)
        if len(header) < 8:
            return
        which, length = struct.unpack("<II", header)
        data = sys.stdin.buffer.read(length)
        start = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, SECONDS)  # its signal ends the process, whatever native code runs
        result = outcome(data, *graphs[which])
        signal.setitimer(signal.ITIMER_PROF, 0)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(number, f"{time.process_time() - start:.3f}", peak, result, flush=True)


main()
