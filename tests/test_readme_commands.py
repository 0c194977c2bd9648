"""Every command of the README as it stands, in order, in one folder."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")

# What begins so is not run: why.
LEFT_OUT = {
    "pip install": "changes the installation; .ci/run installs",
    "npm ": "needs a network",
    "node ": "needs onnxruntime-node; tests/zoo/explain runs the program",
    "pytest": "is what runs this",
    "python benchmarks/": "takes minutes",
    "pvae-zoo sample --n 256 --device cuda": "needs a GPU; tests/gpu",
    "pvae-zoo nll images/ --ray": "starts Ray; tests/cli/test_ray.py",
    "pvae-zoo conformance mnist": "takes minutes; tests/cli/test_conformance.py",
    "pvae-zoo web": "serves until it is interrupted, and needs the built page; tests/cli/test_web.py",
    "pvae-zoo evaluate": "needs a data set",
    "pvae-zoo reproduce": "needs data sets and hours",
    "pvae-zoo train": "needs a data set and hours",
    "pvae-zoo finetune": "needs photos and half an hour; tests/cli/test_finetune.py",
    "pvae-zoo calibrate": "needs known images, a hundred and more; tests/cli/test_screen.py",
    "pvae-zoo screen": "needs a calibration; tests/cli/test_screen.py",
    "pvae-zoo export": "needs a trained model",
    "pvae-zoo register": "names no bundle; tests/zoo/sources/hub/test_push.py",
    "pvae-zoo push": "needs a network; tests/zoo/sources/hub/test_push.py",
    "pvae-zoo pull NAME": "names no model",
    "pvae-zoo pull someone/": "needs a network; tests/zoo/sources/hub/test_pull.py",
    "pvae-zoo sample --model someone/": "needs a network; tests/zoo/sources/hub/test_pull.py",
    "pvae-zoo merge DIR": "names no folder; merge parts/ is run",
    "pvae-zoo convert MODEL": "names no model; convert mnist is run",
}
# What other machines, or the user, have done before.
BEFORE = {"pvae-zoo merge parts/": [f"pvae-zoo nll images/ --shard {i}/8 --out parts/" for i in (1, 2, 4, 5, 6, 7, 8)]}

_COMMAND = r"(?:pvae-zoo|pip install|npm|node|pytest|python benchmarks)"
_ANYWHERE = re.compile(
    rf"^    (?:\$ )?(?P<block>{_COMMAND}\b.*)$|`(?P<inline>{_COMMAND}\b[^`]*)`|^```python\n(?P<program>(?s:.*?))^```",
    re.MULTILINE,
)


def found():
    """Commands and Python programs in the order of the README, without the words beside them."""
    for match in _ANYWHERE.finditer(README):
        if match["program"]:
            yield f"python - <<'END'\n{match['program']}END"
        else:
            yield re.split(r" {2,}", match["block"] or match["inline"])[0].strip()


def test_what_is_left_out_is_there():
    assert all(any(command.startswith(start) for command in found()) for start in LEFT_OUT)


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_every_command_does_what_it_says(tmp_path):
    scripts = Path(sys.executable).parent
    environment = os.environ | {
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_OFFLINE": "1",
    }
    (tmp_path / "work").mkdir()

    def run(line):
        return subprocess.run(
            ["bash", "-c", line], cwd=tmp_path / "work", env=environment, capture_output=True, text=True, timeout=120
        )

    assert run("pvae-zoo sample --n 2 --seed 3 --out images/").returncode == 0  # images of your own
    failures, count = [], 0
    for command in found():
        if any(command.startswith(start) for start in LEFT_OUT):
            continue
        for line in [*BEFORE.get(command, []), command]:
            done = run(line)
            count += 1
            if done.returncode:
                failures.append(f"$ {line}\n{done.stderr}")
    assert not failures, "\n".join(failures)
    assert count > 20
    left = {path.name for path in (tmp_path / "work").iterdir()}
    assert {"samples.png", "rooms", "parts", "mnist", "sample.mjs"} <= left
