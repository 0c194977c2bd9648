"""The programs need nothing of this package and give its pixels."""

import importlib.util
import os
import runpy
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.conformance.runtimes import RUNTIMES, find
from pvae_zoo.explain.program import LANGUAGES, program
from pvae_zoo.runtime.model import Model
from pvae_zoo.sources.registry import open_bundle

SEED = 11


def picture(path, image):
    """A PGM or PPM as ``(C, H, W)``."""
    head, data = path.read_bytes().split(b"\n", 1)
    kind = "P5" if image.channels == 1 else "P6"
    assert head.decode() == f"{kind} {image.width} {image.height} {image.levels - 1}"
    return np.frombuffer(data, np.uint8).reshape(image.height, image.width, image.channels).transpose(2, 0, 1)


def sampled(bundle):
    return Model(bundle, "cpu", 1).sample(1, seed=SEED)[0]


@pytest.mark.parametrize("seed", [0, SEED])
def test_the_python_program_draws_what_sample_draws(tiny, tmp_path, monkeypatch, seed):
    script, out = tmp_path / "sample.py", tmp_path / "picture"
    script.write_text(program(tiny.bundle.config, "python"))
    monkeypatch.setattr(sys, "argv", [str(script), str(seed), str(out), str(tiny.bundle.folder)])
    runpy.run_path(str(script))
    expected = Model(tiny.bundle, "cpu", 1).sample(1, seed=seed)[0]
    assert np.array_equal(picture(out, tiny.bundle.config.image), expected)


def test_the_python_program_runs_alone_with_what_it_says(tmp_path):
    bundle = open_bundle("mnist")
    (tmp_path / "sample.py").write_text(program(bundle.config, "python"))
    (tmp_path / "mnist").symlink_to(bundle.folder)
    subprocess.run([sys.executable, "-W", "error", "sample.py", str(SEED)], cwd=tmp_path, check=True, timeout=120)
    assert np.array_equal(picture(tmp_path / "mnist.pgm", bundle.config.image), sampled(bundle))


def test_run_where_the_graphs_are_not_the_python_program_says_what_brings_them(gates, tmp_path):
    (tmp_path / "sample.py").write_text(program(gates.bundle.config, "python"))
    for arguments, folder in ((["0", "x.pgm", "there"], "there"), ([], "tiny")):
        ended = subprocess.run([sys.executable, "sample.py", *arguments], cwd=tmp_path, capture_output=True, text=True)
        assert ended.returncode == 1 and ended.stdout == ""
        assert ended.stderr == f"{folder} has no graphs: pvae-zoo pull tiny --to {folder} brings them\n"


def test_run_where_the_graphs_are_not_the_javascript_program_says_what_brings_them(gates, tmp_path):
    found = find(RUNTIMES["onnxruntime-node"])
    if isinstance(found, str):
        pytest.skip(f"needs onnxruntime-node: {found}")
    (tmp_path / "node_modules").symlink_to(found.folder.parent)
    (tmp_path / "sample.mjs").write_text(program(gates.bundle.config, "javascript"))
    ended = subprocess.run(["node", "sample.mjs"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1
    assert ended.stderr == "tiny has no graphs: pvae-zoo pull tiny --to tiny brings them\n"


@pytest.mark.parametrize("package", ["onnxruntime-node", "onnxruntime-web"])
@pytest.mark.parametrize("model", ["gates", "colour", "levels", "mnist"])
def test_the_javascript_program_draws_what_sample_draws(request, tmp_path, model, package):
    found = find(RUNTIMES[package])
    if isinstance(found, str):
        pytest.skip(f"needs {package}: {found}")
    bundle = open_bundle(model) if model == "mnist" else request.getfixturevalue(model).bundle
    (tmp_path / "node_modules").symlink_to(found.folder.parent)
    (tmp_path / "sample.mjs").write_text(
        program(bundle.config, "javascript").replace('"onnxruntime-node"', f'"{package}"')
    )
    command = ["node", "sample.mjs", str(SEED), "picture", str(bundle.folder)]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=120)
    assert np.array_equal(picture(tmp_path / "picture", bundle.config.image), sampled(bundle))


HEADER = "onnxruntime_cxx_api.h"


def onnxruntime_headers():
    """The folder of the C++ API's headers: named, or where an installation of onnxruntime leaves them."""
    named = os.environ.get("PVAE_ZOO_ONNXRUNTIME_INCLUDE")
    prefixes = ["/usr/include", "/usr/local/include"]
    folders = [named] if named else [f"{prefix}{part}" for prefix in prefixes for part in ("", "/onnxruntime")]
    return next((folder for folder in folders if (Path(folder) / HEADER).is_file()), None)


@pytest.mark.parametrize("model", ["gates", "levels"])
def test_the_cpp_program_draws_what_sample_draws(request, tmp_path, model):
    compiler, headers = shutil.which("g++") or shutil.which("clang++"), onnxruntime_headers()
    if compiler is None or headers is None:
        pytest.skip(f"needs g++ and {HEADER}, whose folder PVAE_ZOO_ONNXRUNTIME_INCLUDE names")
    bundle, out = request.getfixturevalue(model).bundle, tmp_path / "picture"
    (tmp_path / "sample.cpp").write_text(program(bundle.config, "cpp"))
    capi = Path(onnxruntime.__file__).parent / "capi"
    library = next(capi.glob("libonnxruntime.so.*"))
    (tmp_path / "libonnxruntime.so.1").symlink_to(library)
    flags = ["-std=c++20", "-O1", "-Wall", "-Wextra", "-Werror", "-isystem", headers, str(library), "-o", "sample"]
    subprocess.run([compiler, "sample.cpp", *flags], cwd=tmp_path, check=True, timeout=250)
    environment = os.environ | {"LD_LIBRARY_PATH": str(tmp_path)}
    command = ["./sample", str(SEED), str(out), str(bundle.folder)]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=120)
    assert np.array_equal(picture(out, bundle.config.image), sampled(bundle))


@pytest.mark.parametrize("model", ["gates", "levels"])
def test_the_rust_program_draws_what_sample_draws(request, tmp_path, model):
    compiler, tract = shutil.which("rustc"), importlib.util.find_spec("tract")
    if compiler is None or tract is None or tract.origin is None:
        pytest.skip("needs rustc and tract")
    bundle, out = request.getfixturevalue(model).bundle, tmp_path / "picture"
    (tmp_path / "sample.rs").write_text(program(bundle.config, "rust"))
    (library,) = Path(tract.origin).parent.glob("tract.*.so")
    flags = ["--edition", "2021", "-D", "warnings", "-C", f"link-arg={library}"]
    subprocess.run([compiler, "sample.rs", *flags], cwd=tmp_path, check=True, timeout=250)
    subprocess.run(["./sample", str(SEED), str(out), str(bundle.folder)], cwd=tmp_path, check=True, timeout=120)
    assert np.array_equal(picture(out, bundle.config.image), sampled(bundle))
    lost = subprocess.run(["./sample", "1", "x", "nowhere"], cwd=tmp_path, capture_output=True, text=True)
    assert lost.returncode == 1
    assert lost.stderr == f"nowhere has no graphs: pvae-zoo pull {bundle.config.name} --to nowhere brings them\n"


LINES = {"python": 130, "javascript": 130, "cpp": 200, "rust": 250}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_program_stands_alone(tiny, language):
    text = program(tiny.bundle.config, language)
    assert "pvae_zoo" not in text and "@@" not in text and len(text.splitlines()) < LINES[language]
    assert all(len(line) <= 120 for line in text.splitlines())
    for canvas in tiny.bundle.config.steps["decoder_step"].canvases:
        assert f'"{canvas.name}"' in text
    assert ("prior_step" in text) == (len(tiny.bundle.config.latents) == 2)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", ['x"""; import os', "x\nprocess.exit(1)", "../x"])
def test_no_config_writes_code(gates, language, name):
    with pytest.raises(PvaeZooError, match="not safe to write a program from"):
        program(replace(gates.bundle.config, name=name), language)
