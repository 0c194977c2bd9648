"""A bundle looked into and run in a process of its own, with little memory and time.

The child screens the graphs and then runs `pvae_zoo.checks.verification.verify_bundle`, so that every graph is opened
and run by the code that will drive it later. Graphs that pass have no control flow, and all that decides a shape in
them is constant: a run costs the same for all inputs of the same shapes, so what the golden vectors cost is what later
images cost, each. (More images at once cost more.)

The limits are 4 GiB of address space and 10 s of computing, more for bundles of hundreds of MiB. The parent's clock
allows three times as long, because a machine that is busy with other things makes no bundle bad. Where the system has
no such limits (Windows; of memory, macOS) the clock alone ends a trial.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading

from pvae_zoo.base.printable import shown
from pvae_zoo.contract.folder import Bundle
from pvae_zoo.trust.limits import seconds_for

_WORKER = "pvae_zoo.trust.worker"
_ANSWER = 1 << 20
"""Bytes of an answer, at most."""
_PATIENCE = 3
_LINE = 300

_KEPT = {
    "APPDATA", "CONDA_PREFIX", "DYLD_FALLBACK_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "HOME", "LANG", "LC_ALL",
    "LD_LIBRARY_PATH", "PATH", "PYTHONHOME", "PYTHONPATH", "PYTHONUSERBASE", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR",
    "VIRTUAL_ENV", "WINDIR",
}  # fmt: skip
"""What Python and its libraries are found by. Tokens of the user, and whatever steers onnxruntime, stay here."""
_SET = {
    "HF_HUB_OFFLINE": "1",
    # Each thread of a library would reserve some of the address space, on a large machine all of it.
    "MALLOC_ARENA_MAX": "2",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONIOENCODING": "utf-8",
}


def try_bundle(bundle: Bundle, seconds: int | None = None) -> list[str]:
    """Screen and run a bundle in a child process.

    Args:
        bundle: its config is within bounds (`pvae_zoo.trust.configuration.screen_config`).
        seconds: of computing; by itself what the size of the bundle asks for.

    Returns:
        What is wrong, a line each; empty if nothing is. However the child ends, nothing is raised.
    """
    limit = seconds or seconds_for(sum(spec.size for spec in bundle.files()))
    # -P: the current directory may be the bundle's, and hold a json.py.
    command = [sys.executable, "-P", "-m", _WORKER, str(bundle.folder.absolute()), bundle.config_sha256, str(limit)]
    try:
        answer, code, late = _run(command, _PATIENCE * limit)
    except (OSError, ValueError) as error:
        return [f"it cannot be tried, for no other process starts: {shown(error)}"]
    if late or (code and -code == getattr(signal, "SIGXCPU", None)):
        return [f"it takes longer than {limit} s to check"]
    if code:
        return [f"the process that checks it {_ending(code)}"]
    return _problems(answer)


def _run(command: list[str], patience: float) -> tuple[bytes, int, bool]:
    """What the child said, its exit code, and whether it was stopped by the clock."""
    late = threading.Event()

    def stop() -> None:
        late.set()
        child.kill()

    environment = {name: value for name, value in os.environ.items() if name.upper() in _KEPT} | _SET
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    ) as child:
        assert child.stdout is not None
        clock = threading.Timer(patience, stop)
        clock.start()
        try:
            answer = child.stdout.read(_ANSWER + 1)
            if len(answer) > _ANSWER:
                child.kill()
            code = child.wait()
        except BaseException:
            child.kill()
            raise
        finally:
            clock.cancel()
    return answer, code, late.is_set()


def _ending(code: int) -> str:
    if code > 0:
        return f"ends with code {code}"
    try:
        return f"dies of {signal.Signals(-code).name}"
    except ValueError:
        return f"dies of signal {-code}"


def _problems(answer: bytes) -> list[str]:
    """The child's answer; it has seen the bundle, so it is believed no more than that."""
    try:
        problems = json.loads(answer)
    except (ValueError, RecursionError):
        problems = None
    if not isinstance(problems, list) or not all(isinstance(problem, str) for problem in problems):
        return ["the process that checks it gives no answer"]
    return [shown(problem, _LINE) for problem in problems]
