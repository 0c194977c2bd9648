"""A shard that was stopped anywhere, any number of times, ends as if it had not been."""

import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from PIL import Image

from pvae_zoo.base.interrupts import prompt_stop

HITS = 6
# An interrupt between the opening of a file and the block that closes it leaves the closing to Python, which warns.
ANYWHERE = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture
def stopped(run):
    """A function that runs a command line and sends this process a signal after some seconds.

    It gives the result and the seconds from the signal to the end, None if it came too late.
    """
    before = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)}
    for name in before:
        signal.signal(name, lambda number, frame: None)  # one that comes before or after the work
    sent = []

    def stopped(name, delay, *args):
        sent.clear()
        timer = threading.Timer(delay, lambda: (sent.append(time.monotonic()), os.kill(os.getpid(), name)))
        timer.start()
        try:
            result = run(*args)
            end = time.monotonic()
        finally:
            timer.cancel()
            timer.join()
        return result, end - sent[0] if result.exit_code == 130 else None

    yield stopped
    for name, handler in before.items():
        signal.signal(name, handler)


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())} if folder.is_dir() else {}


def stop_again_and_again(run, stopped, folder, is_whole, *args):
    """Interrupts one command line at random moments until six have hit; the slowest end of those, in seconds."""
    run(*args)  # the first one pays for imports
    shutil.rmtree(folder)
    start = time.monotonic()
    run(*args)
    seconds = time.monotonic() - start
    whole = contents(folder)
    shutil.rmtree(folder)
    chosen, late = random.Random(0), []
    for attempt in itertools.count():
        if is_whole(folder):
            assert contents(folder) == whole
            shutil.rmtree(folder)
        name = (signal.SIGINT, signal.SIGTERM)[len(late) % 2]
        # A shard that goes on has less to do than a new one, so that an interrupt may come too late for it.
        result, delay = stopped(name, chosen.uniform(0.05, 0.9) * seconds, *args)
        assert result.exit_code in (0, 130), result.stderr
        if delay is not None:
            assert result.stderr.endswith("Interrupted\n") and result.stdout == ""
            late.append(delay)
        if len(late) == HITS:
            break
        assert attempt < 20 * HITS
    assert run(*args).exit_code == 0
    assert contents(folder) == whole
    return max(late)


@ANYWHERE
@pytest.mark.timeout(280)
def test_scores(run, stopped, model, tmp_path):
    values = np.random.default_rng(0).integers(0, 2, (400, 8, 8), np.uint8) * 255
    (tmp_path / "images").mkdir()
    for index, image in enumerate(values):
        Image.fromarray(image).save(tmp_path / "images" / f"{index:03}.png")
    args = ("nll", "--model", model, "images", "--shard", "1/2", "--out", "parts", "--batch-size", 5)
    part = "part-0001-of-0002.jsonl"
    slowest = stop_again_and_again(run, stopped, tmp_path / "parts", lambda folder: (folder / part).exists(), *args)
    assert slowest < 10


@ANYWHERE
@pytest.mark.timeout(280)
@pytest.mark.parametrize("threads", [1, 2])
def test_samples(run, stopped, model, tmp_path, threads):
    args = ("sample", "-m", model, "-n", 120, "--shard", "2/2", "--out", "drawn/", "--batch-size", 6)
    manifest = "samples-0002-of-0002.json"
    slowest = stop_again_and_again(
        run, stopped, tmp_path / "drawn", lambda folder: (folder / manifest).exists(), *args, "--threads", threads
    )
    assert slowest < 10


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("shard", [[], ["--shard", "1/1"]])
def test_a_drawing_process_exits_with_130_with_shards_and_without(model, tmp_path, name, shard):
    code = """
import sys, time
from pvae_zoo.runtime.model import Model
def sample(self, *args, **options):
    print("ready", flush=True)
    time.sleep(60)
Model.sample = sample
from pvae_zoo.cli.app import main
main(sys.argv[1:])
"""
    args = ["sample", "--model", model, "--trust", "--n", "4", "--out", "drawn/", *shard]
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *args],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    process.send_signal(name)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "Interrupted\n") and not (tmp_path / "drawn").exists()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", [signal.SIGINT, signal.SIGTERM])
def test_a_process_of_its_own_exits_with_130(model, folder, tmp_path, name):
    """What a scheduler sees; the second batch waits for the signal."""
    code = """
import sys, time
from pvae_zoo.runtime.model import Model
real, calls = Model.nll, []
def nll(self, *args, **options):
    calls.append(1)
    if len(calls) == 2:
        print("ready", flush=True)
        time.sleep(60)
    return real(self, *args, **options)
Model.nll = nll
from pvae_zoo.cli.app import main
main(sys.argv[1:])
"""
    args = ["nll", "--model", model, "--trust", str(folder), "--shard", "1/1", "--out", "parts", "--batch-size", "2"]
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *args],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    process.send_signal(name)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "Interrupted\n")
    lines = (tmp_path / "parts" / "part-0001-of-0001.jsonl.partial").read_text().splitlines()
    assert len(lines) == 1 + 2  # the head and the first batch


def test_an_interrupt_that_python_swallowed_is_raised_again():
    class Swallowed:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGTERM)

    seen = []
    with pytest.MonkeyPatch.context() as patch, prompt_stop() as check:
        patch.setattr(sys, "unraisablehook", lambda info: seen.append(info.exc_type))
        check()
        dying = Swallowed()
        del dying
        if not seen:
            pytest.skip("this Python raises in destructors")
        with pytest.raises(KeyboardInterrupt):
            check()
