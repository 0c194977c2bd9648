"""Every option of every command, once with a wrong, an empty, a huge and a repeated value: one line, no traceback.

The options are read off the click tree, so that a new one is tried too. What is asked for would take long or go out to
the network if it began, so the work of each command is cut off where it begins: what comes before is what is tried.
"""

import sys
from importlib import import_module

import click
import numpy as np
import pytest
from PIL import Image

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.cli import app

CODES = {0, 1, 2, 3, 130}
HUGE = str(10**30)
REACHED = "the work begins"

# What a command cannot do without; {} is the folder of a tiny bundle, digit.png an image for it.
NEEDED = {
    "use": ["{}"],
    "pull": ["mnist"],
    "nll": ["digit.png"],
    "reconstruct": ["digit.png"],
    "complete": ["digit.png", "--rows", "4"],
    "merge": ["parts"],
    "train": ["mnist", "--data", "data", "--out", "run"],
    "evaluate": ["{}", "--data", "data"],
    "export": ["run", "--out", "out"],
    "reproduce": ["figure3", "--data", "data"],
    "register": ["{}"],
    "push": ["{}", "org/repo"],
    "finetune": ["{}", "--data", "data", "--out", "run"],
    "convert": ["{}", "--out", "out"],
    "screen": ["digit.png"],
}
TAKES_MODEL = {"sample", "nll", "reconstruct", "vary", "interpolate", "complete"}
VALUES = {"wrong": "%n\x1b[31m no such", "empty": "", "huge": HUGE}


def options(name):
    command = app.cli.get_command(click.Context(app.cli), name)
    return [parameter for parameter in command.params if isinstance(parameter, click.Option)]


def lines(parameter):
    """Values for an option, and the option twice."""
    flag = parameter.opts[-1]
    if parameter.is_flag:
        return {"with a value": [f"{flag}=9"], "repeated": [flag, flag]}
    twice = "1" if not isinstance(parameter.type, click.Choice) else parameter.type.choices[-1]
    return {kind: [flag, value] for kind, value in VALUES.items()} | {"repeated": [flag, twice, flag, twice]}


@pytest.fixture(autouse=True)
def cut(run, model, tmp_path, monkeypatch):
    """Where the work would begin, it ends; and there is an image, a folder of data and one of parts."""
    from pvae_zoo.runtime.model import Model

    for taker in ("pvae_zoo.export.proven", "pvae_zoo.checks.selftest"):  # they take names from places that are cut
        import_module(taker)

    def reached(*args, **options):
        raise PvaeZooError(REACHED)

    for method in ("sample", "nll", "reconstruct", "vary", "interpolate", "complete"):
        monkeypatch.setattr(Model, method, reached)
    for place in (
        "pvae_zoo.publishing.push.push_bundle",
        "pvae_zoo.sources.registry.register",
        "pvae_zoo.conformance.matrix.measure",
        "pvae_zoo.checks.selftest.self_test",
        "pvae_zoo.checks.verification.verify_bundle",
        "pvae_zoo.web.building.ready_page",
        "pvae_zoo.checks.diagnosis.diagnose",
        "pvae_zoo.paper.reproduce.Reproduction.make",
    ):
        monkeypatch.setattr(place, reached)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setitem(sys.modules, "ray", None)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "digit.png")
    for name in ("data", "parts", "run"):
        (tmp_path / name).mkdir()


def faults(result, parameter, kind):
    """What is wrong with what the user sees."""
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    found = [text for text in ("Traceback", "(unexpected", "\x1b") if text in result.stderr]
    if result.exit_code not in CODES:
        found.append(f"exit code {result.exit_code}")
    if len(errors) != (result.exit_code != 0):
        found.append(f"{len(errors)} errors with exit code {result.exit_code}")
    if kind == "with a value" and result.exit_code != 2:
        found.append("a flag took a value")
    if kind == "empty" and f"the value of {parameter.opts[-1]} is empty" not in result.stderr:
        found.append("an empty value is taken for one")
    return found


@pytest.mark.parametrize("name", app.COMMANDS)
def test_a_strange_value_is_one_clear_line(run, model, name):
    needed = [word.format(model) for word in NEEDED.get(name, [])]
    named = ["--model", model] if name in TAKES_MODEL else []
    wrong = []
    for parameter in options(name):
        for kind, strange in lines(parameter).items():
            line = [name, *needed, *named, *strange]
            result = run(*line)
            if found := faults(result, parameter, kind):
                wrong.append(f"{kind}: pvae-zoo {' '.join(line)}: {', '.join(found)}\n{result.stderr}")
    assert not wrong, "\n".join(wrong)
