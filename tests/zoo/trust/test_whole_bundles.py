"""Bundles altered by chance or on purpose, and what loading one may not do."""

import builtins
import pickle
import random
import subprocess
import sys

import numpy as np
import pytest

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.checks.verification import verify_bundle
from pvae_zoo.contract.folder import CONFIG, Bundle
from pvae_zoo.runtime.model import Model
from pvae_zoo.trust import trial
from pvae_zoo.trust.admission import admit


def use(folder, seed):
    """What a user does: open, admit, read, sample, score."""
    bundle = Bundle(folder)
    admit(bundle)
    for spec in bundle.files():
        bundle.read(spec)
    model = Model(bundle, "cpu", 1)
    model.nll(model.sample(1, seed=seed))


def test_a_hundred_flipped_bits_are_all_found_before_a_session_is_made(gates, copy_bundle, monkeypatch):
    """Of a pinned bundle: whatever bit of whatever file it is, config.json included."""
    monkeypatch.setattr("pvae_zoo.sources.registry.pinned_configs", lambda: frozenset({gates.bundle.config_sha256}))
    monkeypatch.setattr(trial, "_run", lambda *_: (b'["altered"]', 0, False))
    folder = copy_bundle(gates.bundle)
    use(folder, 0)

    def no_session(*_args, **_more):
        pytest.fail("a session was made of an altered bundle")

    for module in ("networks", "grid", "sessions"):
        monkeypatch.setattr(f"pvae_zoo.runtime.{module}.open_session", no_session)
    monkeypatch.setattr("pvae_zoo.checks.verification.open_session", no_session)
    chance = random.Random(0)
    files = [CONFIG, *(spec.file for spec in gates.bundle.files())]
    refused = 0
    for number in range(104):
        path = folder / files[number % len(files)]
        sound = path.read_bytes()
        altered = bytearray(sound)
        altered[chance.randrange(len(sound))] ^= 1 << chance.randrange(8)
        path.write_bytes(altered)
        with pytest.raises(PvaeZooError) as caught:
            use(folder, number)
        assert str(folder) in str(caught.value)
        assert path.name == CONFIG or not verify_bundle(Bundle(folder)).ok
        path.write_bytes(sound)
        refused += 1
    assert refused >= 100


def test_no_use_of_a_bundle_unpickles_or_loads_a_library(levels, monkeypatch):
    """As a program of its own, so that nothing is imported yet and the hooks see everything."""
    program = f"""
import builtins, pickle, sys, _pickle

def forbidden(*_args, **_more):
    raise SystemExit("forbidden: unpickling")

for module in (pickle, _pickle):
    for name in ("Unpickler", "load", "loads"):
        setattr(module, name, forbidden)
pickle._Unpickler = forbidden

class Guard:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "dill", "cloudpickle", "joblib", "shelve"):
            raise SystemExit(f"forbidden: {{name}}")

sys.meta_path.insert(0, Guard())
import onnxruntime
onnxruntime.SessionOptions.register_custom_ops_library = forbidden
import pvae_zoo
from pathlib import Path
from pvae_zoo.contract.folder import Bundle
from pvae_zoo.runtime.model import Model
from pvae_zoo.trust.configuration import screen_config
from pvae_zoo.trust.worker import problems_of
from pvae_zoo.checks.verification import verify_bundle

bundle = Bundle(Path({str(levels.bundle.folder)!r}))
assert not screen_config(bundle.config)
assert not problems_of(bundle.folder, bundle.config_sha256)
assert verify_bundle(bundle).ok
model = Model(bundle, "cpu", 1)
model.nll(model.sample(1))
try:
    pickle.loads(b"")
except SystemExit:
    print("guarded")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "guarded", "")


class Poison:
    """Unpickled, it calls `print`."""

    def __reduce__(self):
        return builtins.print, ("unpickled",)


def test_pickles_among_the_golden_vectors_are_not_unpickled(gates, altered, tmp_path, capsys):
    with np.load(gates.bundle.folder / "golden.npz", allow_pickle=False) as stored:
        golden = dict(stored)
    golden["uniforms"] = np.array([Poison()], dtype=object)
    path = tmp_path / "golden.npz"
    np.savez_compressed(path, allow_pickle=True, **golden)
    bundle = altered("golden.npz", path.read_bytes())
    (problem,) = verify_bundle(bundle).problems
    assert "Object arrays cannot be loaded when allow_pickle=False" in problem
    assert "unpickled" not in capsys.readouterr().out
    assert pickle.loads(pickle.dumps(Poison())) is None and "unpickled" in capsys.readouterr().out
