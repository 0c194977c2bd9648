"""Scoring on Ray is scoring: the same rows, whoever dies on the way."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from pvae_zoo.scale import ray_parts

pytest.importorskip("ray")

IMAGES = 2000


@pytest.fixture
def folder(tmp_path):
    """Many images, and every hundredth no image."""
    path = tmp_path / "images"
    path.mkdir()
    values = np.random.default_rng(0).integers(0, 2, (IMAGES, 8, 8), np.uint8) * 255
    for index, image in enumerate(values):
        if index % 100:
            Image.fromarray(image).save(path / f"{index:04}.png")
        else:
            (path / f"{index:04}.png").write_bytes((b"", b"no image", bytes(200))[index // 100 % 3])
    os.rename(path / "0007.png", path / os.fsdecode(b"0007 latin\xe9\n.png"))
    return path


def command(*args):
    """The command line as a list, in a process that may start Ray."""
    code = "import sys; from pvae_zoo.cli.app import main; main(sys.argv[1:])"
    return [sys.executable, "-c", code, *map(str, args)]


def workers_below(pid):
    """Processes of Ray's actors that descend from a process."""
    parents, names = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            number, rest = int(stat.parent.name), stat.read_text().rsplit(")", 1)[1].split()
            parents[number] = int(rest[1])
            names[number] = (stat.parent / "cmdline").read_bytes().decode(errors="replace")
        except (OSError, IndexError):
            continue  # it ended meanwhile
    found = []
    for number, name in names.items():
        above = number
        while above in parents and above != pid:
            above = parents[above]
        if above == pid and "MapWorker" in name:
            found.append(number)
    return found


def wait_for(condition, process, seconds=300):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := condition():
            return result
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    raise AssertionError("it took too long")


def complete(parts):
    return sorted(path.name for path in parts.glob("part-*.jsonl")) if parts.is_dir() else []


@pytest.mark.timeout(600)
def test_rows_are_those_of_one_process_though_a_worker_is_killed(run, model, folder, tmp_path):
    options = ["nll", "--model", model, "--trust", "images", "--samples", 8]
    ray = [*options, "--ray", "--workers", 2, "--per-part", 100, "--out", "parts"]
    parts = tmp_path / "parts"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "RANK": "3", "MALLOC_TOP_PAD_": "1073741824"}
    process = subprocess.Popen(
        command(*ray), cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_for(lambda: complete(parts), process)
        victim = wait_for(lambda: workers_below(process.pid), process)[0]
        inherited = Path(f"/proc/{victim}/environ").read_bytes().split(b"\0")
        os.kill(victim, signal.SIGKILL)
        done = len(complete(parts))
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()
    assert 0 < done < 20, "the worker was killed too late to matter"
    assert process.returncode == 3, err
    assert out == "parts: 2000 images of tiny, 20 parts, to be put together by pvae-zoo merge parts\n"
    assert err.endswith("Error: 20 of 2000 images could not be used\n")
    assert b"RANK=3" not in inherited and not any(line.startswith(b"MALLOC_") for line in inherited)
    assert len(complete(parts)) == 20 == len(list(parts.iterdir()))

    plain, merged = run(*options, "--json"), run("merge", "parts", "--json")
    assert plain.exit_code == merged.exit_code == 3 and merged.stdout == plain.stdout
    assert len(json.loads(merged.stdout)["images"]) == IMAGES

    # Whole parts are not scored again: this needs neither Ray nor the model's graphs.
    again = run(*ray)
    assert again.exit_code == 3 and again.stdout == out
    other = run(*ray, "--seed", 1)
    assert other.exit_code == 1 and "is of another run, seed 0 there and 1 here" in other.stderr
    other = run(*ray, "--per-part", 50)
    assert other.exit_code == 1 and "holds parts of 20 shards, this run has 40: choose another --out" in other.stderr


def test_without_ray_one_line_says_what_to_install(run, model, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    result = run("nll", "--model", model, folder, "--ray", "--out", "parts")
    assert result.exit_code == 1 and result.stdout == ""
    assert result.stderr == 'Error: Ray is not installed: run pip install "pvae-zoo[ray]"\n'


@pytest.mark.timeout(60)
@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "nowhere.invalid:1", "127.0.0.1:99999"])
def test_a_cluster_that_is_not_there_is_one_line_at_once(run, model, folder, address):
    result = run("nll", "--model", model, "--trust", folder, "--ray", "--ray-address", address, "--out", "parts")
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert result.stderr.startswith(f"Error: no cluster at {address}: ") and "check --ray-address" in result.stderr


@pytest.fixture
def gpus(monkeypatch):
    """A function that pretends that Ray has so many GPUs; what it is asked for comes in the list that it returns."""
    asked = []

    def pretend(count):
        def map_batches(worker, **options):
            asked.append((options["fn_constructor_kwargs"]["job"].device, options["num_cpus"], options["num_gpus"]))
            return SimpleNamespace(iter_rows=lambda: [])

        data = SimpleNamespace(
            DataContext=SimpleNamespace(get_current=SimpleNamespace),
            ActorPoolStrategy=SimpleNamespace,
            from_items=lambda items, **options: SimpleNamespace(map_batches=map_batches),
        )
        errors = SimpleNamespace(RayError=TimeoutError)
        ray = SimpleNamespace(cluster_resources=lambda: {"GPU": float(count)}, data=data, exceptions=errors)
        monkeypatch.setattr(ray_parts, "_connected", lambda place, threads: nullcontext((ray, lambda: None)))
        return asked

    return pretend


def test_with_cuda_each_worker_asks_ray_for_a_gpu(run, model, folder, gpus):
    asked = gpus(2)
    ray = ["nll", "--model", model, "--trust", "images", "--ray", "--out", "parts", "--workers", 2]
    assert run(*ray, "--device", "cuda", "--threads", 3).exit_code == 0
    assert run(*ray, "--device", "auto").exit_code == run(*ray, "--device", "cpu").exit_code == 0
    assert asked == [("cuda", 3, 1), ("cpu", 1, 0), ("cpu", 1, 0)]
    gpus(1)
    few = run(*ray, "--device", "cuda")
    assert few.exit_code == 1 and "2 workers would take a GPU each, and Ray has 1: use fewer --workers" in few.stderr
    numbered = run(*ray, "--device", "cuda:1")
    assert numbered.exit_code == 2 and "--ray gives each worker a GPU of its own: use --device cuda" in numbered.stderr
    assert len(asked) == 3
