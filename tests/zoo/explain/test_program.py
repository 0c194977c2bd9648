"""The programs need nothing of this package and give its pixels."""

import runpy
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.conformance.runtimes import RUNTIMES, find
from pvae_zoo.explain.program import program
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


@pytest.mark.parametrize("language", ["python", "javascript"])
def test_a_program_stands_alone(tiny, language):
    text = program(tiny.bundle.config, language)
    assert "pvae_zoo" not in text and "@@" not in text and len(text.splitlines()) < 130
    assert all(len(line) <= 120 for line in text.splitlines())
    for canvas in tiny.bundle.config.steps["decoder_step"].canvases:
        assert f'"{canvas.name}"' in text
    assert ("prior_step" in text) == (len(tiny.bundle.config.latents) == 2)


@pytest.mark.parametrize("language", ["python", "javascript"])
@pytest.mark.parametrize("name", ['x"""; import os', "x\nprocess.exit(1)", "../x"])
def test_no_config_writes_code(gates, language, name):
    with pytest.raises(PvaeZooError, match="not safe to write a program from"):
        program(replace(gates.bundle.config, name=name), language)
