"""Whatever comes out of a command is one line and an exit code, and the traceback is there for who asks for it."""

import hashlib
import json
import subprocess
import sys
import warnings

import click
import numpy as np
import onnx
import pytest

from pvae_zoo.base.errors import PvaeZooError, PvaeZooWarning
from pvae_zoo.cli.app import COMMANDS, cli
from pvae_zoo.contract.folder import CONFIG

OUT_OF_MEMORY = "Error: out of memory: lower --batch-size or the number of images\n"
UNEXPECTED = " (unexpected: PVAE_ZOO_DEBUG=1 shows where it comes from)\n"


class Mute(Exception):
    def __str__(self):
        raise ValueError("nothing to say")


def raising(error):
    def callback(**options):
        raise error

    return callback


@pytest.fixture
def raised(run, plain, monkeypatch):
    """A function from a command's name and an exception to the result of the command that ends with it."""

    def raised(name, error):
        command = cli.get_command(click.Context(cli), name)
        monkeypatch.setattr(command, "callback", raising(error))
        return run(*plain(name))

    return raised


@pytest.mark.parametrize("name", COMMANDS)
def test_a_foreign_exception_out_of_any_command_is_one_line(raised, name):
    result = raised(name, LookupError("no \x1b[31mkey\u202e\nand more"))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"Error: LookupError: no \\x1b[31mkey\\u202e{UNEXPECTED}"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PvaeZooError("what and how to mend it"), "Error: what and how to mend it\n"),
        (PvaeZooError("two\nlines with \x1b[2J"), "Error: two\nlines with \\x1b[2J\n"),
        (MemoryError(), OUT_OF_MEMORY),
        (RuntimeError("[ONNXRuntimeError] : 6 : Failed to allocate memory for requested buffer"), OUT_OF_MEMORY),
        (OSError(5, "Input/output error", "a\x07"), f"Error: a\\x07: Input/output error{UNEXPECTED}"),
        (OSError(28, "No space left on device", "x"), f"Error: x: No space left on device{UNEXPECTED}"),
        (RecursionError("too deep"), f"Error: RecursionError: too deep{UNEXPECTED}"),
        (AssertionError(), f"Error: AssertionError{UNEXPECTED}"),
        (Mute(), f"Error: Mute{UNEXPECTED}"),
        (KeyError("x" * 9999), f"Error: KeyError: '{'x' * 396}...{UNEXPECTED}"),
        (click.ClickException("clicks \x1b"), "Error: clicks \\x1b\n"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_is_one_line(raised, error, line):
    result = raised("sample", error)
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", line)


def test_every_exception_of_onnxruntime_is_one_line(raised):
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    found = [kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert {"Fail", "InvalidArgument", "InvalidProtobuf", "RuntimeException", "EPFail"} <= {k.__name__ for k in found}
    for kind in found:
        result = raised("sample", kind("what it says\nand more"))
        assert (result.exit_code, result.stderr) == (1, "Error: onnxruntime failed: what it says\n")


@pytest.mark.parametrize("error", [ValueError("odd"), PvaeZooError("known")])
def test_the_traceback_is_there_for_who_asks(raised, monkeypatch, error):
    monkeypatch.setenv("PVAE_ZOO_DEBUG", "1")
    shown = raised("sample", error).stderr
    assert shown.startswith("Traceback (most recent call last):\n") and shown.splitlines()[-1].startswith("Error: ")
    monkeypatch.setenv("PVAE_ZOO_DEBUG", "0")
    assert "Traceback" not in raised("sample", error).stderr


def test_an_interrupt_is_130(raised):
    result = raised("sample", KeyboardInterrupt())
    assert (result.exit_code, result.stderr) == (130, "Interrupted\n")


def test_an_option_named_by_somebody_else_is_spelled_out(run):
    result = run("nll", "--\x1b[2J.png")
    assert result.exit_code == 2 and "\x1b" not in result.stderr and "--\\x1b[2J.png" in result.stderr


# ---- a real bad graph ----


def spoiled(folder, role, change):
    """The bundle with a graph changed, or in place of a graph some bytes, and a config that vouches for it."""
    path = folder / f"{role}.onnx"
    if isinstance(change, bytes):
        path.write_bytes(change)
    else:
        graph = onnx.load(path)
        change(graph.graph)
        path.write_bytes(graph.SerializeToString())
    config = json.loads((folder / CONFIG).read_text())
    config["graphs"][role] |= {"size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    (folder / CONFIG).write_text(json.dumps(config))


def unknown_operator(graph):
    graph.node[0].op_type = graph.node[0].name = "\x1b[31mGrimm"


def fails_when_it_runs(graph):
    """What becomes of the context is split in seventeen, and only a run knows that this cannot be."""
    seventeen = onnx.numpy_helper.from_array(np.array([17, 17, 17]), "seventeen")
    graph.initializer.append(seventeen)
    for node in graph.node:
        node.output[:] = ["whole" if name == "context" else name for name in node.output]
    graph.node.append(onnx.helper.make_node("Reshape", ["whole", "seventeen"], ["context"], name="\x1b[31mcut"))


@pytest.mark.parametrize("change", [b"no protobuf", unknown_operator, fails_when_it_runs])
def test_a_graph_that_onnxruntime_does_not_take_is_one_line(spawn, eight, copy_bundle, files, change):
    folder = copy_bundle(eight.bundle)
    spoiled(folder, "decoder_context", change)
    before = files()
    done = spawn("sample", "--model", folder, "--trust")
    assert (done.returncode, done.stdout) == (1, "") and files() == before
    assert done.stderr.startswith("Error: onnxruntime failed: [ONNXRuntimeError]")
    assert done.stderr.count("\n") == 1 and done.stderr[:-1].isprintable()


# ---- streams ----


def shell(line, folder):
    command = f'"{sys.executable}" -m pvae_zoo {line}'
    return subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("line", ["list", "info mnist --json", "--help", "sample --help"])
def test_a_closed_output_is_said(tmp_path, line):
    done = shell(f"{line} >&-", tmp_path)
    assert done.returncode == 1 and done.stderr == "Error: cannot write the output: it is closed\n"


def test_a_closed_output_keeps_the_files_apart(tmp_path):
    """Without a standard output the first file that is opened would get its number, and what is printed."""
    done = shell("sample --n 1 --model mnist --out x.npy >&- <&-", tmp_path)
    assert done.returncode == 1 and done.stderr == "Error: cannot write the output: it is closed\n"
    assert (tmp_path / "x.npy").read_bytes().startswith(b"\x93NUMPY")


def test_a_closed_error_output_ends_nothing(tmp_path):
    done = shell("nll nothing.png 2>&-; echo $?", tmp_path)
    assert done.stdout == "1\n"
    done = shell("sample --n 1 --model mnist --out x.png 2>&-", tmp_path)
    assert done.returncode == 0 and done.stdout.startswith("x.png: 1 image of mnist")


def test_a_warning_of_the_package_is_a_note_and_others_are_warnings(run, plain, monkeypatch):
    def callback(**options):
        for _ in range(2):
            warnings.warn("a node \x1b[31mfell", PvaeZooWarning, stacklevel=1)
        warnings.warn("old", DeprecationWarning, stacklevel=1)

    monkeypatch.setattr(cli.get_command(click.Context(cli), "list"), "callback", callback)
    with warnings.catch_warnings(record=True) as others:
        warnings.simplefilter("always")
        result = run(*plain("list"))
    assert (result.exit_code, result.stderr) == (0, "Note: a node \\x1b[31mfell\n" * 2)
    assert [str(warning.message) for warning in others] == ["old"]
