"""The examples in the docstrings of the public interface are run, and every public name has one."""

import doctest
import inspect

import numpy as np
import pytest

import pvae_zoo
from pvae_zoo.runtime.model import Model

FUNCTIONS = {"load": pvae_zoo.load, "list_models": pvae_zoo.list_models, "calibrate": pvae_zoo.calibrate}
METHODS = {name: value for name, value in inspect.getmembers(Model, inspect.isfunction) if not name.startswith("_")}


@pytest.fixture(scope="module")
def names():
    """What an example may take for granted."""
    model = pvae_zoo.load("mnist", device="cpu")
    return {
        "pvae_zoo": pvae_zoo,
        "np": np,
        "model": model,
        "images": model.sample(2, seed=0),
        "known": model.sample(40),
    } | FUNCTIONS


@pytest.mark.parametrize("name", [*FUNCTIONS, *METHODS])
def test_the_example_runs(name, names):
    (test,) = doctest.DocTestFinder(recurse=False).find((FUNCTIONS | METHODS)[name], name, globs=dict(names))
    assert test.examples, f"{name} has no example"
    said = []
    assert doctest.DocTestRunner().run(test, out=said.append).failed == 0, "".join(said)
