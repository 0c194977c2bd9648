"""benchmarks/gpu.sh where there is no GPU: what is carried, how it is refused, and the way through all its steps."""

import os
import shutil
import subprocess
import sys
import tarfile
from importlib.metadata import packages_distributions
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
MOST = 100_000
ROWS = """
import os, time

class Bench:
    sound = True
    def check(self):
        if not self.sound:
            raise RuntimeError

def good(bench):
    return f"{os.getpid()}, knows {sorted(bench.rates)}", {f"rate {len(bench.rates)}": 1.0}

def wrong(bench):
    raise ValueError("no | such\\nthing")

def spoilt(bench):
    bench.sound = False
    raise ValueError("the card")

def crash(bench):
    os._exit(3)

def hang(bench):
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def _benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture
def carried(tmp_path):
    """A folder with all that was carried, as it lies on the GPU machine."""
    from gpu_pack import pack

    wheels, folder = tmp_path / "wheels", tmp_path / "carried"
    wheels.mkdir()
    (wheels / "large-1-py3-none-any.whl").write_bytes(np.random.default_rng(0).bytes(3 * MOST + 7))
    (wheels / "small-1-py3-none-any.whl").write_bytes(b"small")
    readme = pack(wheels, tmp_path / "loads", MOST).read_text("utf-8")
    folder.mkdir()
    loads = sorted(path for path in (tmp_path / "loads").iterdir() if path.is_dir())
    assert len(loads) >= 4 and f"in {len(loads)} loads" in readme
    for load in loads:
        assert 0 < sum(path.stat().st_size for path in load.iterdir()) <= MOST
        shutil.copytree(load, folder, dirs_exist_ok=True)
    return folder


def measure(carried, out, seconds, script=BENCHMARKS / "gpu.sh"):
    """The script with this Python, dry."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", script, carried, out, str(seconds)],
        env=os.environ | {"DRY": "1", "PATH": path}, capture_output=True, text=True,
    )  # fmt: skip


def test_a_dry_run_goes_through_all_steps_with_what_was_carried(carried, tmp_path):
    with tarfile.open(carried / "tree.tar.gz") as tree:
        tree.extractall(tmp_path / "tree", filter="data")
    done = measure(carried, tmp_path / "out", 120, tmp_path / "tree/benchmarks/gpu.sh")
    assert "damaged" not in done.stderr and done.returncode == 0, done.stderr + done.stdout
    steps = [line.split(":")[0] for line in done.stdout.splitlines()]
    assert steps == ["carried", "machine", "doctor", "tests", "tables"]
    assert (tmp_path / "out/summary.txt").read_text() == done.stdout
    assert "pvae-zoo " in (tmp_path / "out/doctor.txt").read_text()
    tests = (tmp_path / "out/tests.txt").read_text()
    assert " skipped" in tests and "needs onnxruntime-gpu" in tests
    table = (tmp_path / "out/RESULTS-cuda.md").read_text()
    assert "images? | 2 of 2" in table.replace("are images and bounds those of the CPU?", "images?")
    assert "| sample mnist, n = 1, wavefront |" in table and "x PyTorch's fixed point" in table
    assert "| nll mnist, --precision tf32 | failed: " in table
    assert "| train mnist, compiled | not reached |" in table


@pytest.mark.parametrize("gone", [True, False])
def test_a_part_that_is_not_whole_is_named_and_nothing_runs(carried, tmp_path, gone):
    part = carried / "large-1-py3-none-any.whl.part-01"
    content = bytearray(part.read_bytes())
    content[17] ^= 1
    part.unlink() if gone else part.write_bytes(content)
    done = measure(carried, tmp_path / "out", 40)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"gpu.sh: damaged or missing in {carried}, to be carried again: large-1-py3-none-any.whl.part-01 "
    ]
    assert not (tmp_path / "out/doctor.txt").exists()


def test_the_words_of_a_wrong_call(tmp_path):
    for arguments in ([], [str(tmp_path / "none"), "out"], [str(tmp_path), "out", "6m"]):
        done = subprocess.run(["bash", BENCHMARKS / "gpu.sh", *arguments], capture_output=True, text=True)
        assert done.returncode == 2 and done.stderr.startswith("usage: bash benchmarks/gpu.sh WHEELS OUT")
    done = subprocess.run(["bash", BENCHMARKS / "gpu.sh", tmp_path, tmp_path / "out"], capture_output=True, text=True)
    assert done.returncode == 1 and "make it with gpu.sh --pack" in done.stderr


def test_rows_fail_alone(tmp_path, monkeypatch):
    from cuda_rows import Row, measured_rows

    (tmp_path / "rows_of_a_test.py").write_text(ROWS)
    monkeypatch.syspath_prepend(str(tmp_path))
    import rows_of_a_test as made

    ways = {
        "first": (made.good, 20), "wrong": (made.wrong, 20), "second": (made.good, 20), "spoilt": (made.spoilt, 20),
        "third": (made.good, 20), "crash": (made.crash, 20), "long": (made.good, 1000), "hang": (made.hang, 0.5),
        "last": (made.good, 20),
    }  # fmt: skip
    rows = [Row(what, work, seconds=seconds) for what, (work, seconds) in ways.items()]
    found = {rows[number].what: text for number, text in measured_rows(rows, made.Bench, 60)}
    processes = [found[what].split(",")[0] for what in ("first", "second", "third", "last")]
    assert processes[0] == processes[1] and len(set(processes)) == 3  # a new one where the card or the process is gone
    assert found["last"].endswith("knows ['rate 0', 'rate 1', 'rate 2']")
    assert found["wrong"] == "failed: ValueError: no / such" and found["spoilt"] == "failed: ValueError: the card"
    assert found["crash"] == "failed: the process ended with 3" and found["hang"] == "cut after 1 s"
    assert "long" not in found


def test_the_packages_of_this_python_are_linked_but_for_what_is_there(tmp_path):
    from gpu_links import link_packages

    first, second, site = (tmp_path / name for name in ("first", "second", "site"))
    for folder, names in {
        first: ["torch", "torch-2.11.dist-info", "onnxruntime", "onnxruntime-1.30.0.dist-info", "pytest-7.0.dist-info"],
        second: ["torch", "nvidia", "pvae_zoo"],
        site: ["onnxruntime", "onnxruntime_gpu-1.31.1.dist-info", "pytest-9.0.dist-info"],
    }.items():
        for name in names:
            (folder / name).mkdir(parents=True)
    (first / "distutils-precedence.pth").touch()
    link_packages([first, second], site)
    links = {path.name: path.readlink().parent.name for path in site.iterdir() if path.is_symlink()}
    assert links == {"torch": "first", "torch-2.11.dist-info": "first", "nvidia": "second"}


def test_the_shell_reads_the_script():
    subprocess.run(["bash", "-n", BENCHMARKS / "gpu.sh"], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", BENCHMARKS / "gpu.sh"], check=True)


def test_no_benchmark_has_the_name_of_a_package():
    """They are run from their folder, which comes first in the path: torch imports ``cuda`` where it is installed."""
    taken = {*sys.stdlib_module_names, *packages_distributions(), "cuda"}
    assert not taken & {path.stem for path in BENCHMARKS.glob("*.py")}
