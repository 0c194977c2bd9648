"""The command line on a tiny bundle, in this process and in one of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pvae_zoo.cli.app import cli
from pvae_zoo.contract.folder import Bundle
from pvae_zoo.sources import registry


@pytest.fixture(scope="session")
def eight(make_tiny):
    """Binary 8 x 8 images."""
    return make_tiny(image=(1, 8, 8, 2), latents=3)


PLAIN = {
    "pull": ["mnist"],
    "nll": ["images"],
    "merge": ["parts"],
    "calibrate": ["images", "--out", "x.screen.json"],
    "screen": ["images", "--with", "x.screen.json"],
    "reconstruct": ["images"],
    "complete": ["images", "--rows", "4"],
    "train": ["mnist", "--data", "data"],
    "finetune": ["mnist", "images", "--name", "mine"],
    "evaluate": ["--data", "data"],
    "export": ["run", "--out", "bundle"],
    "convert": ["mnist", "--precision", "int8", "--out", "bundle"],
    "reproduce": ["figure4"],
    "register": ["bundle"],
    "push": ["bundle", "org/repo"],
    "use": ["mnist"],
    "conformance": ["--runtimes", "onnxruntime"],
    "web": ["--out", "site"],
}


@pytest.fixture
def plain():
    """A function from a command's name to a line that click accepts, as short as may be."""
    return lambda name: [name, *PLAIN.get(name, [])]


@pytest.fixture
def model(eight):
    """The bundle's folder, for ``--model``."""
    return str(eight.bundle.folder)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A function that runs a command line in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*args):
        result = CliRunner().invoke(cli, [str(arg) for arg in args], prog_name="pvae-zoo")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture
def spawn(tmp_path, eight):
    """A function that runs a command line in a process of its own; ``before`` is Python code to run there first."""

    def spawn(*args, before="", stdout=subprocess.PIPE):
        vouched = repr({Bundle(eight.bundle.folder).config_sha256})
        vouch = f"from pvae_zoo.sources import registry\nregistry.pinned_configs = lambda: frozenset({vouched})"
        code = f"import sys\n{vouch}\n{before}\nfrom pvae_zoo.cli.app import main\nmain(sys.argv[1:])"
        command = [sys.executable, "-W", "error", "-c", code, *map(str, args)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.run(
            command, cwd=tmp_path, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=120, env=environment
        )

    return spawn


@pytest.fixture
def zoo(eight, tmp_path_factory, monkeypatch):
    """A zoo that holds the tiny bundle under the name mnist; its folder."""
    folder = tmp_path_factory.mktemp("zoo")
    shutil.copytree(eight.bundle.folder, folder / "mnist")
    monkeypatch.setattr(registry, "bundles_folder", lambda: folder)
    return folder


@pytest.fixture
def digits():
    """Five black-and-white images ``(5, 1, 8, 8)``."""
    return np.random.default_rng(0).integers(0, 2, (5, 1, 8, 8), np.uint8)


@pytest.fixture
def folder(tmp_path, digits):
    """The images as a.png ... e.png."""
    path = tmp_path / "digits"
    path.mkdir()
    for name, image in zip("abcde", digits, strict=True):
        Image.fromarray(image[0] * 255).save(path / f"{name}.png")
    return path


@pytest.fixture
def flipped(eight, tmp_path):
    """A copy of the bundle with one bit of the step graph changed."""
    path = Path(shutil.copytree(eight.bundle.folder, tmp_path / "flipped"))
    data = bytearray((path / "decoder_step.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (path / "decoder_step.onnx").write_bytes(data)
    return path


def left_behind(folder):
    """Files below a folder, hidden ones too."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def files(tmp_path):
    """A function that names the files in the folder of the run."""
    return lambda: left_behind(tmp_path)
