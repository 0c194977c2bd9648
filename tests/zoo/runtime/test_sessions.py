import importlib.metadata
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from pvae_zoo.base import devices
from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.base.nvidia import Driver, Gpu
from pvae_zoo.runtime import sessions
from pvae_zoo.runtime.sessions import CPU, CUDA, active_provider, cores, device_of, import_onnxruntime, open_session


@pytest.fixture
def installed(monkeypatch):
    """A function that pretends that just these distributions are installed."""

    def pretend(**versions):
        def version(name):
            if name.replace("-", "_") not in versions:
                raise importlib.metadata.PackageNotFoundError(name)
            return versions[name.replace("-", "_")]

        monkeypatch.setattr(importlib.metadata, "version", version)

    return pretend


@pytest.fixture
def fake_cuda(monkeypatch):
    """A function that pretends that onnxruntime lists CUDA, and that it loads or does not."""
    asked = []

    class Session:
        def __init__(self, model, options, providers, **settings):
            asked.append(providers)
            self.providers = providers
            if providers != [CPU] and self.fails is not None:
                raise self.fails

        def get_provider_options(self):
            return dict(provider for provider in self.providers if not isinstance(provider, str))

        def get_providers(self):
            names = [p if isinstance(p, str) else p[0] for p in self.providers]
            return [name for name in names if name != CUDA or self.loads]

    def pretend(*, loads, fails=None):
        ort = import_onnxruntime()
        Session.loads, Session.fails = loads, fails
        fake = SimpleNamespace(
            SessionOptions=ort.SessionOptions,
            InferenceSession=Session,
            get_available_providers=lambda: [CUDA, CPU],
            set_default_logger_severity=lambda severity: None,
        )
        monkeypatch.setattr(sessions, "import_onnxruntime", lambda: fake)
        return asked

    return pretend


def test_installed_distributions_are_named_with_their_versions(installed):
    installed(onnxruntime="1.2", onnxruntime_gpu="1.3")
    assert sessions.installed_distributions() == {"onnxruntime": "1.2", "onnxruntime-gpu": "1.3"}
    installed()
    assert sessions.installed_distributions() == {}


def test_both_distributions_at_once_are_refused_with_the_remedy(installed, gates):
    installed(onnxruntime="1.2", onnxruntime_gpu="1.2")
    with pytest.raises(PvaeZooError) as caught:
        open_session(gates.bundle.read_graph("prior"), "cpu")
    assert str(caught.value) == (
        "onnxruntime and onnxruntime-gpu are both installed and overwrite each other's files: run\n"
        "    pip uninstall -y onnxruntime onnxruntime-gpu\n"
        '    pip install "pvae-zoo[cpu]"    (or "pvae-zoo[gpu]")'
    )


@pytest.mark.parametrize("broken", [None, ModuleType("onnxruntime")], ids=["absent", "an empty folder left by pip"])
def test_no_distribution_is_an_error_with_the_remedy(installed, monkeypatch, broken):
    installed()
    monkeypatch.setitem(sys.modules, "onnxruntime", broken)
    with pytest.raises(PvaeZooError) as caught:
        import_onnxruntime()
    assert str(caught.value) == (
        'onnxruntime is not installed: run pip install "pvae-zoo[cpu]" (or "pvae-zoo[gpu]" on an NVIDIA GPU)'
    )


def test_a_library_that_onnxruntime_misses_is_named(monkeypatch, tmp_path):
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('libfoo.so.1: cannot open shared object file')")
    monkeypatch.delitem(sys.modules, "onnxruntime")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PvaeZooError, match=r"onnxruntime does not load: libfoo\.so\.1"):
        import_onnxruntime()


@pytest.mark.skipif(CUDA in import_onnxruntime().get_available_providers(), reason="this onnxruntime has CUDA")
def test_cuda_on_a_cpu_build_is_an_error_with_the_remedy(gates):
    with pytest.raises(PvaeZooError) as caught:
        open_session(gates.bundle.read_graph("prior"), "cuda")
    assert str(caught.value) == (
        "--device cuda: the installed onnxruntime has no CUDA: run pip uninstall -y onnxruntime, then "
        'pip install "pvae-zoo[gpu]"; or use --device cpu'
    )


def test_cuda_that_does_not_load_is_an_error_and_never_a_silent_cpu_run(fake_cuda):
    fake_cuda(loads=False)
    with pytest.raises(PvaeZooError, match=r"CUDA does not load on this machine .* run pvae-zoo doctor .*--device cpu"):
        open_session(b"", "cuda")
    assert active_provider(open_session(b"", "auto")) == CPU


def test_cuda_that_loads_is_used_without_tf32(fake_cuda):
    asked = fake_cuda(loads=True)
    for device in ("cuda", "auto"):
        assert active_provider(open_session(b"", device)) == CUDA
    plain = {"device_id": "0", "use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
    assert all(providers[0] == (CUDA, plain) for providers in asked)
    assert active_provider(open_session(b"", "cpu")) == CPU


def test_a_number_is_the_provider_s_and_the_session_s(fake_cuda, monkeypatch):
    asked = fake_cuda(loads=True)
    monkeypatch.setattr(devices, "nvidia_driver", lambda: Driver((13, 0), (Gpu(0, "a", 1), Gpu(1, "b", 1))))
    assert [device_of(open_session(b"", device)) for device in ("cuda:1", "cuda:0", "auto", "cpu")] == [
        "cuda:1", "cuda", "cuda", "cpu",
    ]  # fmt: skip
    assert asked[0][0][1]["device_id"] == "1"
    with pytest.raises(PvaeZooError, match=r"--device cuda:2: this machine has 2 GPUs, cuda:0 to cuda:1"):
        open_session(b"", "cuda:2")
    assert len(asked) == 4


def test_cuda_that_fails_while_it_opens_is_an_error_and_auto_is_the_cpu(fake_cuda):
    fake_cuda(loads=True, fails=RuntimeError("x.cc CUDA failure 35: CUDA driver version is insufficient ; GPU=0 ; "))
    with pytest.raises(PvaeZooError, match=r"fails there \(CUDA failure 35: CUDA driver version is insufficient\)"):
        open_session(b"", "cuda")
    assert active_provider(open_session(b"", "auto")) == CPU
    fake_cuda(loads=True, fails=KeyError("a fault of ours"))
    with pytest.raises(KeyError):
        open_session(b"", "auto")


def test_a_session_has_the_threads_asked_for_and_they_do_not_spin(gates):
    session = open_session(gates.bundle.read_graph("prior"), "cpu", 3)
    options = session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert active_provider(session) == CPU
    z = np.ones((2, 3), np.float32)
    assert np.array_equal(session.run(None, {"z1_noise": z})[0], z)


def test_cores_are_those_that_this_process_may_use():
    assert cores() >= 1
