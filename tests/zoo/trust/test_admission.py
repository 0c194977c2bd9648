import json
import shutil
import stat
import subprocess
import sys

import pytest
from huggingface_hub.utils import _cache_assets
from onnx import helper

import pvae_zoo
from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.folder import CONFIG, Bundle
from pvae_zoo.sources.registry import bundles_folder
from pvae_zoo.trust import admission, trial
from pvae_zoo.trust.admission import admit


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """The folder where verdicts are kept."""
    monkeypatch.setattr(_cache_assets, "HF_ASSETS_CACHE", str(tmp_path / "assets"))
    return tmp_path / "assets" / "pvae-zoo" / "admitted" / "default"


@pytest.fixture
def tried(monkeypatch):
    """The bundles that were tried, and a problem to be found in each."""

    class Tried(list):
        problems: list[str] = []  # noqa: RUF012

    tried = Tried()

    def try_bundle(bundle):
        tried.append(bundle.folder)
        return tried.problems

    monkeypatch.setattr(trial, "try_bundle", try_bundle)
    return tried


def error_of(call):
    with pytest.raises(PvaeZooError) as caught:
        call()
    return str(caught.value)


def test_a_bundle_that_the_registry_pins_passes_untried(gates, tried, monkeypatch, cache):
    pinned = frozenset({gates.bundle.config_sha256})
    monkeypatch.setattr("pvae_zoo.sources.registry.pinned_configs", lambda: pinned)
    admit(gates.bundle)
    assert not tried and not cache.exists()


def test_a_bundle_of_the_zoo_passes_wherever_it_was_copied(tried, tmp_path):
    folder = shutil.copytree(bundles_folder() / "mnist", tmp_path / "copy")
    admit(Bundle(folder))
    assert not tried
    (folder / CONFIG).write_text((folder / CONFIG).read_text() + "\n")
    admit(Bundle(folder))
    assert tried == [folder]


def test_a_bundle_that_the_user_trusts_passes_untried(gates, tried, unpinned):
    tried.problems = ["poison"]
    admit(gates.bundle, trust=True)
    assert not tried
    error_of(lambda: admit(gates.bundle))
    assert tried


def test_a_sound_bundle_is_tried_once(gates, unpinned, monkeypatch, cache):
    runs = []
    run = trial._run
    monkeypatch.setattr(trial, "_run", lambda *args: runs.append(1) or run(*args))
    admit(gates.bundle)
    admit(gates.bundle)
    assert len(runs) == 1
    (verdict,) = cache.iterdir()
    assert verdict.name.startswith(f"{gates.bundle.config_sha256}-onnxruntime-")
    assert verdict.name.endswith(f"-pvae-zoo-{pvae_zoo.__version__}")


def test_a_bundle_is_tried_again_when_anything_that_matters_changes(gates, colour, tried, unpinned, monkeypatch):
    import onnxruntime

    admit(gates.bundle)
    admit(gates.bundle)
    assert len(tried) == 1
    admit(colour.bundle)
    assert len(tried) == 2
    monkeypatch.setattr(onnxruntime, "__version__", "99.0")
    admit(gates.bundle)
    assert len(tried) == 3
    monkeypatch.setattr(admission, "__version__", "99.0")
    admit(gates.bundle)
    admit(gates.bundle)
    assert len(tried) == 4


def test_a_refusal_is_one_line_and_is_not_remembered(gates, tried, unpinned, cache):
    tried.problems = ["first", "second", "third"]
    expected = (
        f"{gates.bundle.folder} is not pinned by the registry and not safe to load: first (and 2 more); get it from a "
        "source you trust, or add --trust if you know what it holds"
    )
    assert error_of(lambda: admit(gates.bundle)) == expected
    assert error_of(lambda: admit(gates.bundle)) == expected
    assert len(tried) == 2 and not list(cache.iterdir())
    tried.problems = ["alone"]
    assert "not safe to load: alone; get it" in error_of(lambda: admit(gates.bundle))


def test_a_config_out_of_bounds_is_refused_before_anything_is_tried(gates, copy_bundle, tried, unpinned, monkeypatch):
    folder = copy_bundle(gates.bundle)
    config = json.loads((folder / CONFIG).read_text())
    config["steps"]["decoder_step"]["geometry"]["rows_per_image"] = 10**12
    (folder / CONFIG).write_text(json.dumps(config))
    bundle = Bundle(folder)
    monkeypatch.setattr(Bundle, "read", lambda *_: pytest.fail("a file was read"))
    assert "rows_per_image is 1000000000000, not 1 to " in error_of(lambda: admit(bundle))
    assert not tried


def test_a_hostile_graph_is_refused(altered_graph, unpinned):
    def loop(model):
        model.graph.node.append(helper.make_node("Loop", ["", "true"], ["y"], name="\x1b[2J"))

    bundle = altered_graph("prior", loop)
    message = error_of(lambda: admit(bundle))
    assert "not safe to load: prior: node '\\x1b[2J' is the operator 'Loop', which no graph of ours uses; " in message
    assert message.isprintable()


def test_a_child_that_dies_is_a_refusal(gates, unpinned, monkeypatch, tmp_path):
    (tmp_path / "stand_in.py").write_text("import os\nos.abort()")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(trial, "_WORKER", "stand_in")
    assert "the process that checks it " in error_of(lambda: admit(gates.bundle))


@pytest.mark.parametrize("obstacle", ["a file", "no permission", "full"])
def test_a_cache_that_cannot_be_written_is_no_error(gates, tried, unpinned, monkeypatch, tmp_path, obstacle):
    if obstacle == "a file":
        (tmp_path / "assets").write_text("in the way")
    elif obstacle == "no permission":

        def refuse(*_args, **_more):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("huggingface_hub.cached_assets_path", refuse)
    else:

        def full(*_):
            raise PvaeZooError("the disk is full")

        monkeypatch.setattr(admission, "atomic_write", full)
    admit(gates.bundle)
    admit(gates.bundle)
    assert len(tried) == 2


def test_a_read_only_disk_is_no_error(gates, tried, unpinned, monkeypatch, small_disk):
    monkeypatch.setattr(_cache_assets, "HF_ASSETS_CACHE", str(small_disk))
    (small_disk / "filler").write_bytes(b"")
    with (small_disk / "filler").open("wb", 0) as filler, pytest.raises(OSError, match="No space"):
        while True:
            filler.write(bytes(4096))
    admit(gates.bundle)
    assert len(tried) == 1


def test_a_verdict_is_whole_or_absent(gates, tried, unpinned, cache):
    admit(gates.bundle)
    (verdict,) = cache.iterdir()
    assert stat.S_ISREG(verdict.lstat().st_mode) and verdict.read_bytes()


def test_a_pinned_bundle_loads_without_the_means_to_look_into_others():
    program = (
        "import sys\n"
        "from pvae_zoo.sources.registry import open_bundle\n"
        "from pvae_zoo.trust.admission import admit\n"
        "bundle = open_bundle('mnist')\n"
        "admit(bundle)\n"
        "loaded = {'onnx', 'huggingface_hub', 'subprocess', 'google.protobuf'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
        "from pvae_zoo.runtime.model import Model\n"
        "Model(bundle, 'cpu', 1)\n"
        "loaded = {'onnx', 'huggingface_hub', 'google.protobuf', 'pvae_zoo.trust.screening'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_importing_the_package_imports_no_part_of_this():
    program = "import sys, pvae_zoo; assert not [m for m in sys.modules if m.startswith('pvae_zoo.trust')]"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
