import io
import os
import subprocess
import sys
import threading

import pytest

from pvae_zoo.cli.progress import progress_bar, share


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_sees_a_bar_that_is_gone_when_the_work_is_done(monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with progress_bar("steps") as progress:
        assert terminal.getvalue() == ""
        progress(1, 4)
        assert "/4 " in terminal.getvalue() and "steps" in terminal.getvalue()
    last = terminal.getvalue().rsplit("\r", 2)
    assert last[-1] == "" and last[-2].strip() == "" and "\n" not in terminal.getvalue()


def test_a_bar_counts_backwards_where_work_begins_anew(monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with progress_bar("steps") as progress:
        for total in (3, 5):
            for done in range(1, total + 1):
                progress(done, total)
    assert "/3" in terminal.getvalue()


def test_several_threads_may_call_it(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress_bar("steps") as progress:
        threads = [threading.Thread(target=progress, args=(n, 8)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def test_the_steps_of_parts_are_those_of_the_whole():
    seen = []
    for part, steps in ((range(0, 4), 8), (range(4, 8), 8), (range(8, 10), 4)):
        report = share(lambda done, total: seen.append((done, total)), part, 10)
        for done in range(1, steps + 1):
            report(done, steps)
    assert seen == [(done, 20) for done in range(1, 21)]


@pytest.mark.parametrize(("stream", "shown"), [(io.StringIO(), True), (Terminal(), False)])
def test_nobody_else_sees_one(monkeypatch, stream, shown):
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_bar("steps", shown=shown) as progress:
        progress(1, 2)
    assert stream.getvalue() == ""


def test_a_command_shows_it_on_a_terminal_alone(model, tmp_path):
    termios = pytest.importorskip("termios")
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 80))  # one without a width shows no bar
    os.set_blocking(ours, False)
    command = [sys.executable, "-m", "pvae_zoo", "sample", "--model", model, "--trust", "--n", "4"]
    done = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=theirs, text=True, timeout=120)
    shown = os.read(ours, 1 << 16).decode()
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 0 and done.stdout.startswith("samples.png: 4 images of tiny") and "steps" in shown
    assert shown.rsplit("\r", 2)[-2].strip() == "" and "Traceback" not in shown
