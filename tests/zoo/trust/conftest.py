"""Bundles as an attacker would leave them: altered, with a config that vouches for the alteration."""

import json
from pathlib import Path

import onnx
import pytest

from pvae_zoo.contract.folder import CONFIG, Bundle, file_spec


def _write(folder: Path, name: str, data: bytes) -> Bundle:
    (folder / name).write_bytes(data)
    config = json.loads((folder / CONFIG).read_text())
    spec = file_spec(folder / name)
    stated = [*config["graphs"].values(), config["golden"]]
    next(entry for entry in stated if entry["file"] == name).update(size=spec.size, sha256=spec.sha256)
    (folder / CONFIG).write_text(json.dumps(config))
    return Bundle(folder)


@pytest.fixture
def altered(gates, copy_bundle):
    """A function from a file's name and new bytes to a bundle whose config states their hash."""
    folder = copy_bundle(gates.bundle)

    def alter(name: str, data: bytes) -> Bundle:
        return _write(folder, name, data)

    return alter


@pytest.fixture
def altered_graph(altered, gates):
    """A function from a role and a change of its parsed graph to a bundle that holds the changed one."""

    def alter(role: str, change) -> Bundle:
        model = onnx.load_from_string(gates.bundle.read_graph(role))
        change(model)
        return altered(f"{role}.onnx", model.SerializeToString(deterministic=True))

    return alter


@pytest.fixture
def unpinned(monkeypatch):
    """A registry that vouches for nothing."""
    monkeypatch.setattr("pvae_zoo.sources.registry.pinned_configs", frozenset)
