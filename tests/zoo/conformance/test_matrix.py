"""Runtimes agree, and one that does not is a row of the matrix and never its end."""

import os
import signal
import time
import tomllib
from pathlib import Path

import pytest

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.conformance import matrix
from pvae_zoo.conformance.matrix import measure
from pvae_zoo.conformance.runtimes import FLOOR, FLOOR_VERSION, RUNTIMES, Found, chosen, find
from pvae_zoo.contract.folder import Bundle
from pvae_zoo.sources.registry import open_bundle

FIRST_TIER = "onnxruntime,reference,tract"
COMPILERS = ["iree", "tvm"]
OTHERS = [name for name in RUNTIMES if name not in [*FIRST_TIER.split(","), *COMPILERS]]
MODELS = ["gates", "colour", "levels"]


def assert_passes(row, bundle):
    assert (row.state, row.problem, row.equal) == ("passed", None, 1.0), row
    assert [graph.role for graph in row.graphs] == list(bundle.config.roles)
    assert all(graph.ok and graph.difference <= 2e-4 for graph in row.graphs) and row.time_ratio > 0


@pytest.mark.parametrize("model", MODELS)
def test_the_first_tier_passes(request, model):
    bundle = request.getfixturevalue(model).bundle
    found = measure(bundle, chosen(FIRST_TIER))
    assert found.ok and [row.name for row in found.runtimes] == FIRST_TIER.split(",")
    for row in found.runtimes:
        assert_passes(row, bundle)


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("model", MODELS)
def test_the_other_runtimes_pass(request, model, name):
    found = find(RUNTIMES[name])
    if isinstance(found, str):
        pytest.skip(f"needs {name}: {found}")
    bundle = request.getfixturevalue(model).bundle
    (row,) = measure(bundle, [RUNTIMES[name]]).runtimes
    assert_passes(row, bundle)


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("name", COMPILERS)
def test_the_compilers_pass(levels, name):
    found = find(RUNTIMES[name])
    if isinstance(found, str):
        pytest.skip(f"needs {name}: {found}")
    (row,) = measure(levels.bundle, [RUNTIMES[name]]).runtimes
    assert_passes(row, levels.bundle)


def test_a_runtime_with_a_folder_of_its_own(square, tmp_path, monkeypatch):
    """Its worker sees what lies there, in place of what is installed, and no other worker does."""
    monkeypatch.delenv("PVAE_ZOO_PYTHON_FOLDER", raising=False)
    folder = tmp_path / "onnxruntime-floor"
    (folder / "onnxruntime").mkdir(parents=True)
    (folder / "onnxruntime" / "__init__.py").write_text("raise ImportError('the one in the folder')")
    assert find(RUNTIMES[FLOOR], python_folder=tmp_path).startswith("pip install --no-deps --target ")
    for version, is_there in [("1.24.0", False), (FLOOR_VERSION, True)]:
        info = folder / "onnxruntime-0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: onnxruntime\nVersion: {version}\n")
        assert isinstance(find(RUNTIMES[FLOOR], python_folder=tmp_path), Found) == is_there
    base, row, other = measure(
        square.bundle, chosen("onnxruntime,onnxruntime-floor,tract"), python_folder=tmp_path
    ).runtimes
    assert (row.version, row.state) == (FLOOR_VERSION, "failed") and "the one in the folder" in row.problem
    assert base.state == other.state == "passed"


def test_the_floor_is_what_the_package_asks_for():
    extras = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    assert extras["cpu"] == [f"onnxruntime>={FLOOR_VERSION.removesuffix('.0')}"]


def test_the_first_tier_draws_digits():
    bundle = open_bundle("mnist")
    found = measure(bundle, chosen(FIRST_TIER))
    assert found.values == 4 * 784
    for row in found.runtimes:
        assert_passes(row, bundle)


def tract_row(square):
    found = measure(square.bundle, chosen("onnxruntime,tract"))
    base, row = found.runtimes
    assert base.state == "passed" and not found.ok and row.state == "failed"
    return row, {graph.role: graph for graph in row.graphs}


def test_a_crash_is_one_graph_and_the_rest_goes_on(square, misbehave):
    misbehave("decoder", "os.kill(os.getpid(), signal.SIGFPE)")
    row, graphs = tract_row(square)
    assert graphs["decoder"].problem == "it crashes (SIGFPE)" and graphs["decoder"].difference is None
    assert [role for role, graph in graphs.items() if not graph.ok] == ["decoder"]
    assert row.equal == 1.0 and row.difference is None  # the sample does not need that graph


def test_a_crash_of_the_step_leaves_no_sample(square, misbehave):
    misbehave("decoder_step", "os.kill(os.getpid(), signal.SIGSEGV)")
    row, graphs = tract_row(square)
    assert row.equal is None and row.problem == "it crashes (SIGSEGV)" and not graphs["decoder_step"].ok
    assert graphs["decoder"].ok


def test_an_error_names_its_operator(square, misbehave):
    misbehave("decoder_step", "raise ValueError('no ScatterND here')")
    row, graphs = tract_row(square)
    assert graphs["decoder_step"].operator == "ScatterND" and graphs["decoder_step"].problem == "no ScatterND here"
    assert row.problem == "decoder_step: no ScatterND here"


def test_wrong_values_are_a_failure(square, misbehave):
    misbehave("encoder", "outputs[0] = outputs[0] + np.float32(1e-3)")
    _, graphs = tract_row(square)
    assert not graphs["encoder"].ok and graphs["encoder"].difference == pytest.approx(1e-3, rel=1e-2)
    assert graphs["encoder"].problem == "differs by 1.0e-03"


def test_small_differences_that_add_up_are_a_failure(square, misbehave):
    misbehave("decoder", "outputs[0] = outputs[0] + np.float32(1.5e-4)")
    _, graphs = tract_row(square)
    assert not graphs["decoder"].ok and "bits per dimension" in graphs["decoder"].problem


@pytest.mark.parametrize(
    "behaviour", ["outputs[0] = outputs[0][..., :1, :1]", "outputs[0] = outputs[0] * np.float32('nan')"]
)
def test_values_that_cannot_be_compared_are_a_failure(square, misbehave, behaviour):
    misbehave("decoder", behaviour)
    _, graphs = tract_row(square)
    assert not graphs["decoder"].ok and graphs["decoder"].difference is None
    assert "no numbers" in graphs["decoder"].problem


def test_other_pixels_are_a_failure(square, misbehave):
    misbehave("decoder_step", "outputs[0] = 1 - outputs[0]")  # its log-probabilities are right
    row, graphs = tract_row(square)
    assert [role for role, graph in graphs.items() if not graph.ok] == ["decoder_step"] and row.equal < 0.99


def test_a_runtime_that_does_not_load_is_a_row(square, misbehave):
    misbehave("", "", module="raise ImportError('libtract.so: cannot open shared object file')\n")
    row, graphs = tract_row(square)
    assert {graph.problem for graph in graphs.values()} == {"libtract.so: cannot open shared object file"}
    assert row.equal is None and "cannot open shared object file" in row.problem


def test_a_runtime_that_hangs_is_ended(square, misbehave, tmp_path):
    pid = tmp_path / "pid"
    misbehave("", "", module=f"import os, time\nopen({str(pid)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)\n")
    start = time.monotonic()
    ran = matrix._run(square.bundle, Found(RUNTIMES["tract"], "1"), 12)
    assert time.monotonic() - start < 60 and ran.ended == "it takes longer than its time limit" and ran.images is None
    if pid.is_file():
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid.read_text()), signal.SIGCONT)


def test_what_is_not_installed_says_how_to_install_it(square, tmp_path, monkeypatch):
    monkeypatch.setattr("pvae_zoo.conformance.runtimes.shutil.which", lambda name: "/usr/bin/node")
    monkeypatch.delenv("PVAE_ZOO_NODE_FOLDER", raising=False)
    monkeypatch.chdir(tmp_path)
    (row,) = measure(square.bundle, chosen("onnxruntime-node"), node_folder=tmp_path).runtimes
    assert row.state == "not installed" and row.remedy.startswith("npm install onnxruntime-node ")
    monkeypatch.setattr("pvae_zoo.conformance.runtimes.shutil.which", lambda name: None)
    assert find(RUNTIMES["onnxruntime-web"]).startswith("install Node.js 20 or later")


def test_npm_packages_are_found_above_the_folder(tmp_path):
    package = tmp_path / "node_modules" / "onnxruntime-node"
    package.mkdir(parents=True)
    (package / "package.json").write_text('{"version": "9.9.9"}')
    (tmp_path / "below").mkdir()
    found = find(RUNTIMES["onnxruntime-node"], tmp_path / "below")
    if isinstance(found, str):
        pytest.skip("needs node")
    assert found.version == "9.9.9" and found.folder == package


@pytest.mark.parametrize("names", ["tensorrt", "tract,nope", "", " , "])
def test_a_name_that_is_no_runtime(names):
    with pytest.raises(PvaeZooError, match="choose from onnxruntime, onnxruntime-floor, reference, tract"):
        chosen(names)


def test_runtimes_have_one_order():
    assert [runtime.name for runtime in chosen("tract, onnxruntime")] == ["onnxruntime", "tract"]


def test_a_damaged_graph_stops_onnxruntime_with_one_line(gates, copy_bundle):
    folder = copy_bundle(gates.bundle)
    (folder / "decoder_step.onnx").write_bytes(b"cut")
    with pytest.raises(PvaeZooError, match=r"onnxruntime draws no sample to compare with: .*decoder_step\.onnx has 3"):
        measure(Bundle(folder), chosen("onnxruntime"))
