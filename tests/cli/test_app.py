import os
import subprocess
import sys

import pytest

import pvae_zoo
from pvae_zoo.cli.app import COMMANDS

HEAVY = ("numpy", "PIL", "tqdm", "huggingface_hub", "onnxruntime", "torch", "dacite")


def loaded(*args):
    """Which of the heavy modules a command line imports."""
    code = (
        "import sys, atexit\n"
        f"atexit.register(lambda: print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr))\n"
        "from pvae_zoo.cli.app import main\nmain(sys.argv[1:])"
    )
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, timeout=60)
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize("args", [["--help"], ["-h"], [], ["--version"], ["smaple"]])
def test_help_and_mistakes_import_nothing_heavy(args):
    assert loaded(*args) == "[]"


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("train", "evaluate", "export")])
def test_help_of_a_command_imports_neither_numpy_nor_onnxruntime(name):
    assert loaded(name, "--help") in ("[]", "['dacite']")


def test_the_list_of_commands_is_the_table(run):
    listed = run("--help").stdout.split("Commands:")[1].split("\n")
    assert [line.split()[0] for line in listed if line.strip()] == list(COMMANDS)


def test_version(run):
    assert run("--version").stdout == f"pvae-zoo {pvae_zoo.__version__}\n"


def test_python_m_is_the_same(tmp_path):
    done = subprocess.run([sys.executable, "-m", "pvae_zoo", "-h"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.startswith("Usage: pvae-zoo ")


@pytest.mark.parametrize(("typed", "meant"), [("smaple", "'sample'"), ("verfy", "'verify'"), ("xyzzy", "--help")])
def test_an_unknown_command_suggests_the_nearest(run, typed, meant):
    result = run(typed)
    assert result.exit_code == 2 and f"no command {typed!r}" in result.stderr and meant in result.stderr


def test_a_reader_that_leaves_is_no_traceback(model, folder):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "pvae_zoo", "nll", "--model", model, str(folder), "--json"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(write)
    assert done.returncode == 1 and done.stderr == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("args", [["nll", "digits"], ["nll", "digits", "--json"], ["info"], ["--help"]])
def test_a_full_disk_behind_stdout_is_said(spawn, model, folder, args):
    with open("/dev/full", "w") as full:
        done = spawn(
            *args, *(["--model", model] if args[0] == "nll" else [model] if args[0] == "info" else []), stdout=full
        )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "Error: cannot write the output" in done.stderr.splitlines()[-1]


def test_without_onnxruntime_the_pip_line_is_said(spawn, model, files):
    hide = """
import importlib.metadata as m
real = m.version
def version(name):
    if name.startswith("onnxruntime"):
        raise m.PackageNotFoundError(name)
    return real(name)
m.version = version
sys.modules["onnxruntime"] = None
"""
    done = spawn("sample", "--model", model, before=hide)
    assert done.returncode == 1 and files() == []
    assert done.stderr.startswith('Error: onnxruntime is not installed: run pip install "pvae-zoo[cpu]"')


def test_two_onnxruntimes_are_refused_with_the_pip_lines(spawn, model, files):
    both = (
        "import importlib.metadata as m\nreal = m.version\n"
        "m.version = lambda name: '1.30' if name.startswith('onnxruntime') else real(name)\n"
    )
    done = spawn("sample", "--model", model, before=both)
    assert done.returncode == 1 and files() == []
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in done.stderr and "Traceback" not in done.stderr
