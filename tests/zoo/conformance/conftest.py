"""Runtimes that misbehave: a module named tract that the worker imports in place of the real one."""

import sys

import pytest

FAKE = """
import os, signal, time
import numpy as np
import onnxruntime

class DatumType:
    I64 = 0

class Tensor:
    def __init__(self, array): self.array = array
    def to_numpy(self): return self.array
    def convert_to(self, kind): return self

class Graph:
    def __init__(self, path):
        self.path = str(path)
        self.session = onnxruntime.InferenceSession(self.path)
    def into_model(self): return self
    def into_runnable(self): return self
    def run(self, inputs):
        feed = dict(zip([i.name for i in self.session.get_inputs()], inputs))
        outputs = self.session.run(None, feed)
        if self.path.endswith("ROLE.onnx"):
            BEHAVIOUR
        return [Tensor(output) for output in outputs]

class onnx:
    def load(self, path): return Graph(path)
"""


@pytest.fixture
def misbehave(tmp_path, monkeypatch):
    """A function that has tract do something in the runs of one graph: ``BEHAVIOUR``, a line of Python."""

    def misbehave(role, behaviour, module=FAKE):
        folder = tmp_path / "fake"
        folder.mkdir()
        (folder / "tract.py").write_text(module.replace("ROLE", f"/{role}").replace("BEHAVIOUR", behaviour))
        monkeypatch.setenv("PYTHONPATH", str(folder))
        assert sys.flags.ignore_environment == 0

    return misbehave
