"""``convert`` through the command line: a whole bundle comes out, and one line where none can."""

import json
import shutil

import numpy as np
import pytest

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.folder import CARD, CONFIG, CONVERSION, Bundle, file_spec
from pvae_zoo.export.weights import checkpoint_of
from pvae_zoo.runtime.model import Model


@pytest.fixture(scope="module")
def source(make_tiny, tmp_path_factory):
    """Grey 6 x 6 images of 8 levels, layers that are worth products in integers, called "tiny"; its folder."""
    tiny = make_tiny(image=(1, 6, 6, 8), latents=3, channels=64, head=16, stem=16, embedding=2, reach=2, rows=2)
    return tiny.bundle.folder


@pytest.fixture
def int8(run, source, tmp_path):
    assert run("convert", source, "--precision", "int8", "--out", "small").exit_code == 0
    return tmp_path / "small"


def test_a_whole_bundle_comes_out_and_commands_take_it(run, source, int8, files):
    bundle = Bundle(int8)
    names = {*(spec.file for spec in bundle.files()), CONFIG, CARD, CONVERSION}
    assert {path.name for path in int8.iterdir()} >= names and not [name for name in files() if name[0] == "."]
    assert (bundle.name, bundle.config.precision) == ("tiny-int8", "int8")
    assert bundle.config.conversion.source_sha256 == Bundle(source).digest
    verified = run("verify", int8)
    assert verified.exit_code == 0 and "not compared: the graphs compute in int8" in verified.stdout
    assert "as int8" in run("info", int8).stdout
    assert run("sample", "--model", int8, "--n", "2", "--out", "drawn/").exit_code == 0
    assert run("nll", "--model", int8, "drawn/").exit_code == 0
    matrix = run("conformance", int8, "--runtimes", "onnxruntime,reference")
    assert matrix.exit_code == 0, matrix.stdout + matrix.stderr


def test_what_changed_is_printed_stored_and_on_the_card(run, source, tmp_path):
    result = run("convert", source, "--precision", "int8", "--out", "small")
    rows = [line for line in result.stdout.splitlines() if line.startswith(("size", "bits/dim", "pixels", "sampling"))]
    assert len(rows) == 5 and all(row.endswith(("x", "%", "none")) for row in rows if "bits" not in row)
    stored = json.loads((tmp_path / "small" / CONVERSION).read_text())["differences"][0]
    card = (tmp_path / "small" / CARD).read_text("utf-8")
    for before, after in (stored["bits_per_dim"], stored["step_bits_per_dim"]):
        assert 0 < abs(after - before) < 0.01 and f"| {after:.4f} |" in card
    assert stored["bytes"][1] < stored["bytes"][0] and "drawn by tiny itself, seed 0" in card
    assert "--model ./tiny-int8" in card


def test_an_image_does_not_depend_on_those_beside_it(int8):
    networks, rng = Model(Bundle(int8), "cpu", 1).networks, np.random.default_rng(0)
    z1, given = rng.standard_normal((5, 3)).astype(np.float32) * 3, rng.integers(0, 8, (5, 1, 6, 6))
    uniforms = np.zeros(given.shape, np.float32)
    together = networks.draw_pixels(z1, uniforms, given, 1.0).log_prob
    for order in ("wavefront", "raster"):
        alone = networks.draw_pixels(z1[3:4], uniforms[3:4], given[3:4], 1.0, order=order).log_prob
        np.testing.assert_allclose(alone, together[3:4], rtol=0, atol=1e-5)


def test_verify_notices_what_the_steps_no_longer_give(run, int8):
    with np.load(int8 / "golden.npz") as stored:
        golden = dict(stored)
    np.savez_compressed(int8 / "golden.npz", **golden | {"step_log_prob": golden["step_log_prob"] - 0.5})
    config = json.loads((int8 / CONFIG).read_text())
    spec = file_spec(int8 / "golden.npz")
    config["golden"] |= {"size": spec.size, "sha256": spec.sha256}
    (int8 / CONFIG).write_text(json.dumps(config))
    result = run("verify", int8, "--trust")
    assert result.exit_code == 1 and "PROBLEM          decoder_step: differs by" in result.stdout


def test_float16_weights_and_float32_are_checkpoints_still(run, source, tmp_path):
    assert run("convert", source, "--precision", "float16-weights", "--out", "half").exit_code == 0
    assert run("convert", "half", "--precision", "float32", "--out", "whole").exit_code == 0
    half, whole = (checkpoint_of(Bundle(tmp_path / name)).tensors for name in ("half", "whole"))
    assert all((half[name].float() == whole[name]).all() for name in half)
    assert run("verify", "./whole").exit_code == 0
    assert Bundle(tmp_path / "whole").name == "tiny-float32"


def test_images_may_be_floats_and_score_the_same(run, source, tmp_path):
    line = ("convert", source, "--precision", "float32", "--images", "float32", "--out", "floats")
    assert run(*line).exit_code == 0  # float32 it was: the images alone change
    assert run("verify", "./floats").exit_code == 0
    images = np.random.default_rng(0).integers(0, 8, (3, 1, 6, 6), np.uint8)
    own, other = (Model(Bundle(folder), "cpu", 1).nll(images).nll_nats for folder in (source, tmp_path / "floats"))
    np.testing.assert_array_equal(own, other)
    assert "Images are float32 (N, 1, 6, 6)" in (tmp_path / "floats" / CARD).read_text("utf-8")
    assert "nothing to convert" in refused(
        run, "./floats", "--precision", "float32", "--images", "float32", "--out", "b"
    )


def test_rounded_weights_are_no_checkpoint(int8):
    with pytest.raises(PvaeZooError, match="rounded to int8: take tiny, which it was converted from"):
        checkpoint_of(Bundle(int8))


def refused(run, *line):
    result = run("convert", *line)
    assert result.exit_code == 1 and result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1
    return result.stderr


def test_bad_input_is_one_line(run, source, int8, tmp_path, files):
    before = files()
    assert "is int8, and what was rounded does not come back" in refused(
        run, int8, "--precision", "float32", "--out", "new"
    )
    assert "float32 already" in refused(run, source, "--precision", "float32", "--out", "new")
    assert "is the bundle that is converted" in refused(run, source, "--precision", "int8", "--out", source)
    assert "holds something already" in refused(run, source, "--precision", "int8", "--out", int8)
    assert "is a file" in refused(run, source, "--precision", "int8", "--out", int8 / CONFIG)
    assert "no bundle" in refused(run, tmp_path, "--precision", "int8", "--out", "new")
    assert "no data at" in refused(run, source, "--precision", "int8", "--out", "new", "--data", "nowhere")
    assert files() == before


def test_a_damaged_or_foreign_graph_leaves_nothing(run, source, tmp_path):
    damaged = shutil.copytree(source, tmp_path / "damaged")
    (damaged / "decoder.onnx").write_bytes(b"no graph")
    assert "decoder.onnx has 8 bytes" in refused(run, damaged, "--trust", "--precision", "int8", "--out", "new")
    config = json.loads((damaged / CONFIG).read_text())
    spec = file_spec(damaged / "decoder.onnx")
    config["graphs"]["decoder"] |= {"size": spec.size, "sha256": spec.sha256}
    (damaged / CONFIG).write_text(json.dumps(config))
    assert "is no graph" in refused(run, damaged, "--trust", "--precision", "int8", "--out", "new")
    assert not (tmp_path / "new").exists() and sorted(path.name for path in tmp_path.iterdir()) == ["damaged"]


def test_a_config_of_an_unknown_precision_is_refused(run, int8):
    config = json.loads((int8 / CONFIG).read_text())
    config["conversion"]["precision"] = "int4"
    (int8 / CONFIG).write_text(json.dumps(config))
    result = run("info", int8)
    assert result.exit_code == 1 and "has the precision 'int4'; this version reads float32," in result.stderr
