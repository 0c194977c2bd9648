"""Thousands of altered copies of our own graphs: each is refused, or runs within the limits, and no one else notices.

Half are altered as bytes, half as graphs, so that they still are in the form that the screening asks for.
"""

import random
import struct
import subprocess
import sys
from collections import Counter
from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

from pvae_zoo.trust.limits import MEMORY
from pvae_zoo.trust.screening import ATTRIBUTES, OPERATORS

COUNT = 2000
SECONDS = 10
WORKER = Path(__file__).with_name("mutation_worker.py")

# ---- of bytes ----


def flip(data, _, chance):
    altered = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 4, 16))):
        altered[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(altered)


def overwrite(data, _, chance):
    start = chance.randrange(len(data))
    return data[:start] + chance.choice((b"\xff", b"\0", b"\x80")) * chance.randrange(1, 12) + data[start:][12:]


def cut(data, _, chance):
    start, end = sorted(chance.sample(range(len(data)), 2))
    return chance.choice((data[:start], data[end:], data[:start] + data[end:]))


def swap(data, _, chance):
    a, b, c, d = sorted(chance.sample(range(len(data)), 4))
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def splice(data, other, chance):
    at = chance.randrange(min(len(data), len(other)))
    start, end = sorted(chance.sample(range(len(other)), 2))
    return chance.choice((data[:at] + other[at:], data[:at] + other[start:end] + data[at:]))


# ---- of graphs ----

NUMBERS = (0, 1, -1, 2, 3, 7, 255, 4096, 1 << 16, 1 << 20, (1 << 31) - 1, 1 << 31, -(1 << 31), 1 << 40, (1 << 63) - 1)


def tensors(graph):
    return [t.name for t in [*graph.input, *graph.initializer]] + [name for node in graph.node for name in node.output]


def operator(model, chance):
    chance.choice(model.graph.node).op_type = chance.choice(sorted(OPERATORS))


def rewire(model, chance):
    node = chance.choice(model.graph.node)
    node.input[chance.randrange(len(node.input))] = chance.choice([*tensors(model.graph), ""])


def more_inputs(model, chance):
    chance.choice(model.graph.node).input.extend(chance.choices(tensors(model.graph), k=chance.randrange(1, 4)))


def fewer_inputs(model, chance):
    del chance.choice(model.graph.node).input[-1:]


def rename(model, chance):
    node = chance.choice(model.graph.node)
    node.output[0] = chance.choice(tensors(model.graph))


def drop(model, chance):
    del model.graph.node[chance.randrange(len(model.graph.node))]


def shuffle(model, chance):
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in model.graph.node]
    chance.shuffle(nodes)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def repeat(model, chance):
    for _ in range(chance.randrange(1, 40)):
        node = model.graph.node.add()
        node.CopyFrom(chance.choice(model.graph.node[:-1]))
        node.output[0] = f"again_{len(model.graph.node)}"


def attribute(model, chance):
    node = chance.choice(model.graph.node)
    name = chance.choice(sorted(ATTRIBUTES))
    kept = [a for a in node.attribute if a.name != name]
    value = {
        onnx.AttributeProto.INT: chance.choice(NUMBERS),
        onnx.AttributeProto.INTS: chance.choices(NUMBERS, k=chance.randrange(1, 6)),
        onnx.AttributeProto.STRING: chance.choice(("linear", "nearest", "cubic", "floor", "x")),
    }[ATTRIBUTES[name]]
    kept.append(onnx.helper.make_attribute(name, value))
    del node.attribute[:]
    node.attribute.extend(kept)


def constant(model, chance):
    """Shapes, axes and indices of other sizes; weights that are not numbers."""
    tensor = chance.choice(model.graph.initializer)
    array = numpy_helper.to_array(tensor).copy()
    value = chance.choice(NUMBERS) if array.dtype.kind == "i" else chance.choice((float("nan"), float("inf"), 1e38))
    array.reshape(-1)[chance.randrange(array.size)] = value
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def reshape(model, chance):
    tensor = chance.choice(model.graph.initializer)
    dims = list(tensor.dims)
    chance.shuffle(dims)
    tensor.dims[:] = chance.choice((dims, [1, *dims], [*dims, 1], dims[::-1]))


OF_BYTES = (flip, overwrite, cut, swap, splice)
OF_GRAPHS = (
    operator, rewire, more_inputs, fewer_inputs, rename, drop, shuffle, repeat, attribute, constant, reshape
)  # fmt: skip


def mutated(sound, number, chance):
    """The number of a graph, and an altered copy of it."""
    which = chance.randrange(len(sound))
    if number % 2:
        return which, chance.choice(OF_BYTES)(sound[which], chance.choice(sound), chance)
    model = onnx.load_from_string(sound[which])
    for _ in range(chance.choice((1, 1, 2, 3))):
        change = chance.choice(OF_GRAPHS)
        if model.graph.node and (model.graph.initializer or change not in (constant, reshape)):
            try:
                change(model, chance)
            except (IndexError, ValueError, OverflowError):  # nothing left of what it would alter
                continue
    return which, model.SerializeToString(deterministic=True)


class Workers:
    """A worker, replaced when it dies."""

    def __init__(self, bundles):
        self.command = [sys.executable, str(WORKER), "300", *(str(bundle.folder) for bundle in bundles)]
        self.started = 0
        self.process = None

    def ask(self, which, data):
        """The seconds, the most memory in KiB so far, and what became of it: "died" if the worker did."""
        if self.process is None:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            self.started += 1
        try:
            self.process.stdin.write(struct.pack("<II", which, len(data)) + data)
            self.process.stdin.flush()
            answer = self.process.stdout.readline().split(maxsplit=3)
        except BrokenPipeError:
            answer = []
        if answer:
            return float(answer[1]), int(answer[2]), answer[3].decode().strip()
        code = self.process.wait()
        self.close()
        return 0.0, 0, f"died {-code}"

    def close(self):
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait()
            self.process.stdout.close()
            self.process = None


@pytest.mark.skipif(sys.platform != "linux", reason="needs the limits of Linux")
def test_altered_copies_of_our_graphs_are_refused_or_run_within_the_limits(gates, upsample, levels):
    bundles = [tiny.bundle for tiny in (gates, upsample, levels)]
    sound = [bundle.read_graph(role) for bundle in bundles for role in bundle.config.roles]
    chance = random.Random(0)
    workers = Workers(bundles)
    try:
        assert [workers.ask(which, data)[2] for which, data in enumerate(sound)] == ["ran"] * len(sound)
        answers = [workers.ask(*mutated(sound, number, chance)) for number in range(COUNT)]
    finally:
        workers.close()
    kinds = Counter(kind.partition(" ")[0] for _, _, kind in answers)
    seconds, peak = max(answer[0] for answer in answers), max(answer[1] for answer in answers)
    print(f"{dict(kinds)}, {workers.started} workers, at most {seconds} s and {peak >> 10} MiB")
    assert sum(kinds.values()) == COUNT and set(kinds) <= {"refused", "failed", "ran", "died"}
    # Enough of each for the test to mean something.
    assert kinds["refused"] > COUNT // 4 and kinds["ran"] > COUNT // 20 and kinds["failed"] > COUNT // 20
    assert kinds["died"] <= COUNT // 100
    assert seconds <= SECONDS and peak << 10 <= MEMORY
