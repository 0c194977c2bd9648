"""Ctrl-C ends long work soon, wherever it is, and a second one at once."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import pvae_zoo
from pvae_zoo.base import interrupts
from pvae_zoo.runtime.pictures import save_images
from pvae_zoo.runtime.side_by_side import side_by_side

SOON = 30
"""Seconds: it takes less than one, and a machine that is busy with other things several times that."""

LONG = {
    "nll": ("nll", "pictures/", "-k", 6000),
    "complete": ("complete", "pictures/", "--rows", 24, "--n", 200, "--out", "o.npy"),
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    noise = np.random.default_rng(0).integers(0, 256, (3, 3, 64, 64), np.uint8)
    save_images(noise, f"{folder / 'pictures'}/", levels=256, metadata={})
    return folder


@pytest.fixture
def start(pictures):
    def start(*args, before=""):
        code = f"import sys\n{before}\nfrom pvae_zoo.__main__ import main\nmain()"
        command = [sys.executable, "-c", code, *map(str, args), "--model", "lsun"]
        return subprocess.Popen(
            command, cwd=pictures, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    return start


# Prints a line once the networks are at work, in whatever thread that is.
AT_WORK = """
from pvae_zoo.runtime.networks import Networks
real = Networks.log_prob
def log_prob(*args):
    print("at work", file=sys.stderr, flush=True)
    return real(*args)
Networks.log_prob = log_prob
"""


@pytest.mark.parametrize("name", LONG)
def test_long_work_ends_soon(start, pictures, name):
    process = start(*LONG[name], before=AT_WORK)
    assert any("at work" in line for line in process.stderr)
    time.sleep(0.5)
    sent = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert time.monotonic() - sent < SOON
    assert (process.returncode, err.splitlines()[-1]) == (130, "Interrupted") and "Traceback" not in err
    assert [path.name for path in pictures.iterdir()] == ["pictures"]


STUCK = """
import time
from pvae_zoo.runtime.model import Model
def nll(*args, **options):
    said = False
    while True:
        try:
            if not said:
                said = True
                print("at work", file=sys.stderr, flush=True)
            time.sleep(1000)
        except KeyboardInterrupt:  # what a library in C does
            pass
Model.nll = nll
"""


def test_a_second_one_ends_at_once(start):
    process = start("nll", "pictures/", before=STUCK)
    assert any("at work" in line for line in process.stderr)
    process.send_signal(signal.SIGINT)
    time.sleep(interrupts.AGAIN_SECONDS + 0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=SOON)
    assert process.returncode == 130 and err.endswith("Interrupted twice: ended at once\n")


def test_what_is_scored_is_printed_before_the_rest_is(run, tmp_path, monkeypatch, folder, model):
    """Of many draws an image is a batch of its own."""
    from pvae_zoo.runtime.model import Model

    real, scored = Model.nll, []

    def nll(self, images, **options):
        if scored:
            raise KeyboardInterrupt
        scored.extend(images)
        return real(self, images, **options)

    monkeypatch.setattr(Model, "nll", nll)
    result = run("nll", folder, "--model", model, "--threads", 1, "-k", 2000)
    assert result.exit_code == 130 and result.stdout.count(".png") == 1


def test_an_interrupt_that_a_library_took_for_an_error_is_an_interrupt():
    """A module that is imported while the signal comes fails to load, for one."""
    with pytest.raises(KeyboardInterrupt), interrupts.terminable():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        except KeyboardInterrupt:
            raise ImportError("initialization failed") from None


def test_a_run_of_a_graph_can_be_ended(levels):
    model = pvae_zoo.load(str(levels.bundle.folder), device="cpu")
    images = model.sample(1)
    interrupts._switch(True)
    try:
        with pytest.raises(Exception, match="terminate"):
            model.nll(images)
    finally:
        interrupts._switch(False)
    assert len(model.nll(images)) == 1


def test_the_work_of_other_threads_ends_with_one_that_fails():
    ended = []

    def work(piece, check):
        if piece == 0:
            raise ZeroDivisionError
        try:
            while True:
                check()
                time.sleep(0.01)
        finally:
            ended.append(piece)

    with pytest.raises(ZeroDivisionError):
        side_by_side(work, [0, 1, 2, 3], 2)
    assert 3 not in ended


def test_the_thread_that_listens_leaves_nothing():
    for _ in range(3):
        with interrupts.terminable():
            pass
    assert signal.set_wakeup_fd(-1) == -1
