import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import pvae_zoo

MODULES = sorted(
    f"{package}.{path.stem}"
    for package in ("base", "contract", "data", "runtime", "sources", "screening", "reporting")
    for path in (Path(pvae_zoo.__file__).parent / package).glob("[!_]*.py")
)


def python(code, *arguments):
    """Run code in a fresh interpreter; its output."""
    command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_the_package_imports_neither_numpy_nor_onnxruntime():
    code = "import sys, pvae_zoo; print([m for m in ('numpy', 'onnxruntime', 'torch', 'dacite') if m in sys.modules])"
    assert python(code) == "[]"


def test_what_runs_a_model_needs_neither_torch_nor_onnx(gates):
    """Every module below the export, in use: torch and onnx cannot be imported here."""
    assert {"data.datasets", "runtime.model", "runtime.sampler", "reporting.card"} <= set(MODULES)
    code = f"""
import sys
for name in ("torch", "onnx", "safetensors", "matplotlib"):
    sys.modules[name] = None
import importlib
for name in {MODULES!r}:
    importlib.import_module("pvae_zoo." + name)
import pvae_zoo
from pvae_zoo.reporting.card import render_card
model = pvae_zoo.load(sys.argv[1], device="cpu", threads=1)
images = model.sample(2)
print(images.shape, len(model.nll(images, samples=2)), "Measured" in render_card(model.bundle))
"""
    assert python(code, gates.bundle.folder) == "(2, 1, 7, 6) 2 True"


def test_the_public_names_are_those_listed():
    assert pvae_zoo.__all__ == ["PvaeZooError", "__version__", "calibrate", "list_models", "load"]
    assert all(hasattr(pvae_zoo, name) for name in pvae_zoo.__all__)


def test_the_version_is_that_of_the_project():
    assert re.fullmatch(r"\d+\.\d+\.\d+", pvae_zoo.__version__)
    project = Path(__file__).parents[2] / "pyproject.toml"
    assert tomllib.loads(project.read_text())["project"]["version"] == pvae_zoo.__version__


def test_an_unknown_model_is_an_error_of_the_package(tmp_path):
    with pytest.raises(pvae_zoo.PvaeZooError, match="is no bundle"):
        pvae_zoo.load(str(tmp_path))
