"""Pulls that are killed at any moment, and many at once: nothing half is ever visible, and the next pull succeeds."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from standin import Fault

from pvae_zoo.publishing.push import contents_of

KILLS = 100

FORKER = """
import os, signal, sys, time
from huggingface_hub import constants, snapshot_download
from huggingface_hub.utils import close_session
from pvae_zoo.sources.pull import pull

def start(cache):
    # A fork of a process that has imported everything: what is killed is the pull, not the import.
    child = os.fork()
    if child == 0:
        code = 1
        try:
            constants.HF_HUB_CACHE = cache
            pull("org/tiny")
            code = 0
        finally:
            os._exit(code)
    return child

for line in sys.stdin:
    cache, delay = line.split()
    child = start(cache)
    if float(delay) >= 0:
        time.sleep(float(delay))
        os.kill(child, signal.SIGKILL)
    print(os.waitpid(child, 0)[1], flush=True)
"""


@pytest.fixture
def files(gates):
    return contents_of(gates.bundle)


@pytest.fixture
def forker(hub, hub_env):
    """A function of (cache, seconds until SIGKILL or -1) that pulls org/tiny in a process and gives its wait status."""
    process = subprocess.Popen(
        [sys.executable, "-c", FORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=hub_env(hub.url, OMP_NUM_THREADS="1"),
    )  # fmt: skip

    def pull(cache, delay):
        process.stdin.write(f"{cache} {delay}\n")
        process.stdin.flush()
        return int(process.stdout.readline())

    with process:
        yield pull
        process.stdin.close()


def damaged(cache, files):
    """Names under which the cache shows something else than what was published."""
    shown = [path for path in Path(cache).glob("models--*/snapshots/*/*") if path.exists()]
    return [path.name for path in shown if path.read_bytes() != files[path.name]]


@pytest.mark.timeout(900)
def test_a_pull_that_is_killed_leaves_nothing_half(hub, forker, files, tmp_path):
    hub.add_repo("org/tiny", files)
    assert forker(tmp_path / "warm", -1) == 0

    def slow():
        """Slow enough for a kill to land in the middle of a body."""
        return Fault("*/resolve/*", "GET", times=None, rate=2 * sum(map(len, files.values())))

    hub.fail(slow())
    start = time.monotonic()
    assert forker(tmp_path / "timed", -1) == 0
    whole = time.monotonic() - start
    rng, killed, unfinished, corrupt, recovered = random.Random(0), 0, 0, [], 0
    for number in range(KILLS):
        cache = tmp_path / f"cache-{number}"
        killed += forker(cache, rng.uniform(0, whole)) == signal.SIGKILL
        corrupt += damaged(cache, files)
        unfinished += any(cache.glob("models--*/blobs/*.incomplete"))
        hub.heal()
        recovered += forker(cache, -1) == 0 and not damaged(cache, files)
        hub.fail(slow())
    assert corrupt == [] and recovered == KILLS
    # Or else the kills came too late to show anything.
    assert killed > KILLS // 2 and unfinished > KILLS // 10


def test_eight_at_once_leave_one_copy(hub, hub_env, files, tmp_path):
    commit = hub.add_repo("org/tiny", files)
    environment = hub_env(hub.url, OMP_NUM_THREADS="1")
    command = [sys.executable, "-m", "pvae_zoo", "pull", "org/tiny", "--json"]
    processes = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 8
    assert {json.loads(output)["commit"] for output in outputs} == {commit}
    cache = Path(environment["HF_HOME"]) / "hub"
    blobs = [path for path in cache.glob("models--org--tiny/blobs/*") if path.is_file()]
    assert len(blobs) == len({*files.values()}) and damaged(cache, files) == []
    assert not any(cache.rglob("*.incomplete"))


def test_ctrl_c_is_no_traceback(hub, hub_env, files):
    hub.add_repo("org/tiny", files)
    hub.fail(Fault("*/decoder.onnx", "GET", times=None, rate=1000))
    process = subprocess.Popen(
        [sys.executable, "-m", "pvae_zoo", "pull", "org/tiny"], env=hub_env(hub.url), stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 60
    while not hub.asked("GET", "*/decoder.onnx") and time.monotonic() < until:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and "Interrupted" in error and "Traceback" not in error
