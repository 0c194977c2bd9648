"""The guide says enough: what was written from it alone draws, scores and completes as this package does."""

import ast
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.checks.gaps import tolerance_words
from pvae_zoo.checks.step_vectors import chosen_steps
from pvae_zoo.checks.verification import read_golden
from pvae_zoo.contract.folder import CONFIG
from pvae_zoo.explain.guide import guide, guide_text
from pvae_zoo.reporting.card import render_card
from pvae_zoo.runtime.model import Model
from pvae_zoo.sources.registry import open_bundle

SCRIPT = Path(__file__).parent / "readme_loop.py"
SEED, SAMPLES = 5, 3


def by_the_readme(bundle, images, keep, candidates, folder):
    """What the script makes of images, in a process of its own that has not this package in its path."""
    given, out = folder / "in.npz", folder / "out.npz"
    np.savez(given, images=images, keep=keep, seed=SEED, samples=SAMPLES, candidates=candidates)
    command = [sys.executable, "-W", "error", "-P", SCRIPT, bundle.folder, given, out]
    subprocess.run(command, check=True, timeout=250, cwd=folder)
    with np.load(out) as found:
        return dict(found)


def check(bundle, keep, candidates, folder):
    model, count = Model(bundle, "cpu", 1), 2
    images = model.sample(count, seed=SEED + 1)
    found = by_the_readme(bundle, images, keep, candidates, folder)
    scores = model.nll(images, samples=SAMPLES, seed=SEED)
    np.testing.assert_allclose(found["bound"], scores.nll_nats, rtol=1e-5)
    np.testing.assert_allclose(found["iwae"], scores.iwae_nll_nats, rtol=1e-5)
    np.testing.assert_allclose(found["bits"], scores.bits_per_dim, rtol=1e-5)
    assert np.array_equal(found["sample"], model.sample(count, seed=SEED))
    assert np.array_equal(found["colder"], model.sample(1, seed=SEED, temperature=0.5, latent_temperature=0.7)[0])
    completed = model.complete(images, keep, seed=SEED, candidates=candidates)
    assert np.array_equal(found["complete"], completed) and (completed == images)[:, :, keep].all()


@pytest.mark.parametrize("name", ["gates", "colour", "levels"])
def test_what_is_written_from_the_readme_alone_gives_what_the_package_gives(request, tmp_path, name):
    bundle = request.getfixturevalue(name).bundle
    image = bundle.config.image
    keep = np.zeros((image.height, image.width), bool)
    keep[: image.height // 2 + 1] = True
    keep[-1, 0] = True
    check(bundle, keep, 6, tmp_path)


def test_on_a_model_of_the_zoo_too(tmp_path):
    keep = np.arange(28)[:, None].repeat(28, 1) < 14
    check(open_bundle("mnist"), keep, 8, tmp_path)


def test_the_script_has_nothing_of_this_package():
    found = [node for node in ast.walk(ast.parse(SCRIPT.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert all(isinstance(node, ast.Import) for node in found)
    names = {alias.name for node in found for alias in node.names}
    assert names == {"hashlib", "json", "math", "sys", "numpy", "onnxruntime"}


def test_readme_config_and_command_say_the_same(tiny):
    config = tiny.bundle.config
    sections, text = guide(config), guide_text(config)
    assert json.loads((tiny.bundle.folder / CONFIG).read_text())["guide"] == sections == config.guide
    assert text.strip() in render_card(tiny.bundle)
    titles = ["Images", "Noise", "Positions", "Drawing a grid", "Sampling", "Scoring", "Completing", "Checking a port"]
    assert list(sections) == titles
    assert all(len(line) <= 80 and line.isascii() for lines in sections.values() for line in lines)
    assert "@@" not in text and tolerance_words(2e-4) in " ".join(text.split())


def test_the_example_in_numbers_is_that_of_the_golden_vectors(tiny):
    config, problems = tiny.bundle.config, []
    golden = read_golden(tiny.bundle, problems)
    words = " ".join(guide(config)["Positions"])
    step, g = chosen_steps(config.steps["decoder_step"])["middle"], config.steps["decoder_step"].geometry
    y, x, row = step.rows[0], step.columns[0], golden["decoder_step.middle.positions"][0]
    assert f"({y} + {g.top}) * {g.stride} + {g.left} + {x} = {row} and context row" in words
    assert f"= {golden['decoder_step.middle.context_rows'][0]}." in words or "context row 0." in words


def test_no_config_writes_words(gates):
    with pytest.raises(PvaeZooError, match="not safe to explain"):
        guide_text(replace(gates.bundle.config, name="\x1b[2J"))
