import json
import os
import sys
import time

import numpy as np
import onnx
import pytest
from onnx import helper

from pvae_zoo.contract.folder import CONFIG, Bundle
from pvae_zoo.trust import trial
from pvae_zoo.trust.limits import seconds_for
from pvae_zoo.trust.trial import try_bundle
from pvae_zoo.trust.worker import problems_of

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs the limits of Linux")


def test_a_sound_bundle_runs(gates, levels, monkeypatch, tmp_path):
    (tmp_path / "json.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)  # what lies in the current directory is not imported
    assert try_bundle(gates.bundle) == []
    assert try_bundle(levels.bundle) == []


def test_every_tiny_bundle_is_found_harmless(tiny):
    assert problems_of(tiny.bundle.folder, tiny.bundle.config_sha256) == []


def test_a_bundle_that_changed_since_is_refused(gates, copy_bundle):
    folder = copy_bundle(gates.bundle)
    bundle = Bundle(folder)
    (folder / CONFIG).write_text((folder / CONFIG).read_text() + " ")
    assert try_bundle(bundle) == ["its config changed while it was looked at"]


def test_a_bundle_with_a_damaged_file_is_refused(gates, copy_bundle):
    folder = copy_bundle(gates.bundle)
    (folder / "prior.onnx").write_bytes(b"")
    (problem,) = try_bundle(Bundle(folder))
    assert problem.startswith(f"{folder / 'prior.onnx'} has 0 bytes, expected ")


def test_a_hostile_graph_is_refused_by_the_screening_and_not_run(altered_graph, monkeypatch):
    def loop(model):
        model.graph.node.append(helper.make_node("Loop", ["", "true"], ["y"], name="endless"))

    bundle = altered_graph("prior", loop)
    expected = ["prior: node 'endless' is the operator 'Loop', which no graph of ours uses"]
    assert try_bundle(bundle) == expected
    monkeypatch.setattr("pvae_zoo.checks.verification.open_session", lambda *_: pytest.fail("a session was made"))
    assert problems_of(bundle.folder, bundle.config_sha256) == expected


def test_golden_vectors_are_screened_before_they_are_read(altered, monkeypatch):
    bundle = altered("golden.npz", b"PK\x03\x04 or not")
    monkeypatch.setattr(np, "load", lambda *_args, **_more: pytest.fail("the vectors were read"))
    (problem,) = problems_of(bundle.folder, bundle.config_sha256)
    assert problem.startswith("golden.npz: it is no archive of arrays: ")


def test_a_graph_that_computes_something_else_is_refused(altered_graph):
    def negate(model):
        model.graph.node[0].op_type = "Neg"

    (problem,) = [line for line in try_bundle(altered_graph("prior", negate)) if line.startswith("prior: ")]
    assert problem.startswith("prior: differs by ")


@linux
def test_a_graph_that_makes_terabytes_of_a_few_bytes_meets_the_limit_of_memory(altered_graph):
    """A column and a row are a plane, and that with a third direction a block of 2^40 values, from 300 KiB."""

    def grow(model):
        shapes = {"row": (1, 1 << 12), "column": (1 << 12, 1), "third": (1 << 16, 1, 1)}
        constants = [onnx.numpy_helper.from_array(np.zeros(size, np.float32), name) for name, size in shapes.items()]
        noise, z1 = model.graph.input[0].name, model.graph.output[0].name
        nodes = [
            helper.make_node("ReduceSum", [noise], ["some"], name="some", keepdims=0),
            helper.make_node("Add", ["row", "some"], ["row_of_some"], name="row_of_some"),
            helper.make_node("Add", ["row_of_some", "column"], ["plane"], name="plane"),
            helper.make_node("Add", ["plane", "third"], ["block"], name="block"),
            helper.make_node("ReduceSum", ["block"], ["nothing"], name="nothing", keepdims=0),
            helper.make_node("Add", [noise, "nothing"], [z1], name="last"),
        ]
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        model.graph.initializer.extend(constants)

    bundle = altered_graph("prior", grow)
    start = time.monotonic()
    (problem,) = try_bundle(bundle)
    assert "name:'block'" in problem or "AllocateRaw" in problem
    assert time.monotonic() - start < 3 * seconds_for(0)


# ---- a child that misbehaves ----


@pytest.fixture
def child(gates, monkeypatch, tmp_path):
    """A function from the source of a worker to what the parent makes of it."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(trial, "_WORKER", "stand_in")

    def run(source: str, seconds: int = 5) -> list[str]:
        (tmp_path / "stand_in.py").write_text(
            "import json, os, signal, sys, time\n"
            "from pvae_zoo.trust.limits import limit_this_process\n"
            f"limit_this_process(int(sys.argv[3]))\n{source}\n"
        )
        return try_bundle(gates.bundle, seconds)

    return run


def test_no_problems_are_no_problems(child):
    assert child("print(json.dumps([]))") == []


DYING = {
    "abort": ("os.abort()", "dies of SIGABRT"),
    "segmentation fault": ("os.kill(os.getpid(), signal.SIGSEGV)", "dies of SIGSEGV"),
    "killed": ("os.kill(os.getpid(), signal.SIGKILL)", "dies of SIGKILL"),
    "unnamed signal": ("os.kill(os.getpid(), 40)", "dies of signal 40"),
    "exit": ("print('[]'); sys.exit(7)", "ends with code 7"),
    "exception": ("raise MemoryError", "ends with code 1"),
}
SILENT = {
    "nothing": "pass",
    "garbage": "sys.stdout.buffer.write(bytes(range(256)))",
    "no list": "print('{}')",
    "no strings": "print('[1]')",
    "nested": "print('[' * 100_000)",
    "not a number": "print('NaN')",
    "part of an answer": "print('[\"a')",
}


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
@pytest.mark.parametrize(("source", "ending"), DYING.values(), ids=DYING.keys())
def test_a_child_that_dies_is_a_problem_and_no_exception(child, source, ending):
    assert child(source) == [f"the process that checks it {ending}"]


@pytest.mark.parametrize("source", SILENT.values(), ids=SILENT.keys())
def test_an_answer_that_is_none_is_a_problem(child, source):
    assert child(source) == ["the process that checks it gives no answer"]


def test_what_the_child_says_is_fit_for_a_terminal(child):
    (problem,) = child("print(json.dumps(['\\x1b[2J' + 'A' * 100_000]))")
    assert problem.startswith("\\x1b[2JAAA") and problem.isprintable() and len(problem) <= 300


def test_an_endless_answer_is_cut(child):
    start = time.monotonic()
    assert child("while True: print('x' * 65536)") == ["the process that checks it dies of SIGKILL"]
    assert time.monotonic() - start < 15


def test_a_child_that_sleeps_is_stopped_by_the_clock(child, monkeypatch):
    monkeypatch.setattr(trial, "_PATIENCE", 1)
    start = time.monotonic()
    assert child("time.sleep(600)", seconds=2) == ["it takes longer than 2 s to check"]
    assert time.monotonic() - start < 15


@linux
def test_a_child_that_computes_without_end_is_stopped_by_the_kernel(child, monkeypatch):
    monkeypatch.setattr(trial, "_PATIENCE", 60)
    assert child("while True: pass", seconds=1) == ["it takes longer than 1 s to check"]


@linux
def test_a_child_can_take_no_more_memory_than_its_limit(child):
    source = "try:\n    bytearray(5 << 30)\nexcept MemoryError:\n    print(json.dumps(['refused']))"
    assert child(source) == ["refused"]
    assert child("import mmap\nmmap.mmap(-1, 1 << 30)\nprint('[]')") == []


@linux
def test_a_child_can_write_no_file_and_leaves_no_core(child, tmp_path):
    source = (
        "import resource\n"
        "problems = [str(resource.getrlimit(resource.RLIMIT_CORE))]\n"
        f"try:\n    open({str(tmp_path / 'written')!r}, 'wb', 0).write(b'x')\n"
        "except OSError as error:\n    problems.append(error.strerror)\n"
        "print(json.dumps(problems))"
    )
    assert child(source) == ["(0, 0)", "File too large"]


def test_a_child_has_no_tokens_and_none_of_what_steers_onnxruntime(child, monkeypatch):
    secrets = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "ORT_LOAD_CONFIG_FROM_MODEL", "ORT_X")
    for name in secrets:
        monkeypatch.setenv(name, "1")
    kept = child("print(json.dumps(sorted(os.environ)))")
    assert {"PATH", "OMP_NUM_THREADS"} <= set(kept) and not set(secrets) & set(kept)
    assert os.environ["HF_TOKEN"] == "1"


def test_without_an_interpreter_the_bundle_is_not_tried(gates, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "missing"))
    (problem,) = try_bundle(gates.bundle)
    assert problem.startswith("it cannot be tried, for no other process starts: ")


def test_large_bundles_have_more_time():
    assert [seconds_for(size) for size in (0, 6 << 20, 635 << 20)] == [10, 10, 73]


def test_a_worker_that_runs_out_of_memory_says_so(gates, monkeypatch, capsys):
    from pvae_zoo.trust import worker

    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(worker, "limit_this_process", lambda _: None)
    monkeypatch.setattr(worker, "problems_of", fail)
    monkeypatch.setattr(sys, "argv", ["worker", str(gates.bundle.folder), "", "1"])
    worker.main()
    assert json.loads(capsys.readouterr().out) == ["it needs too much memory"]
