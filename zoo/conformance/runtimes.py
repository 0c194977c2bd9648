"""The runtimes: what each is called, where it is found on this machine, how it is installed."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.runtime.sessions import installed_distributions

REFERENCE = "onnxruntime"
"""The runtime that the zoo samples with: what the others' pixels and times are compared with."""

NODE_FOLDER = "PVAE_ZOO_NODE_FOLDER"
"""Environment variable with the folder whose ``node_modules`` are looked into first."""


@dataclass(frozen=True)
class Runtime:
    """A runtime that a matrix can have a row for.

    Attributes:
        name: as the command line knows it.
        package: on PyPI, or in npm's registry.
        remedy: what installs it.
        npm: whether node runs it.
    """

    name: str
    package: str
    remedy: str
    npm: bool = False


def _pypi(name: str, package: str, remedy: str = 'pip install "pvae-zoo[conformance]"') -> Runtime:
    return Runtime(name, package, remedy)


def _npm(name: str) -> Runtime:
    return Runtime(name, name, f"npm install {name}", npm=True)


RUNTIMES = {
    runtime.name: runtime
    for runtime in (
        _pypi(REFERENCE, "onnxruntime", 'pip install "pvae-zoo[cpu]"'),
        _pypi("reference", "onnx", "pip install onnx"),
        _pypi("tract", "tract"),
        _pypi("openvino", "openvino"),
        _pypi("opencv", "opencv-python-headless"),
        _npm("onnxruntime-node"),
        _npm("onnxruntime-web"),
    )
}


@dataclass(frozen=True)
class Found:
    """A runtime on this machine: its version and, of an npm package, its folder."""

    runtime: Runtime
    version: str
    folder: Path | None = None


def chosen(names: str | None) -> list[Runtime]:
    """The runtimes of a comma-separated list, all without one, in the order of `RUNTIMES`.

    Raises:
        PvaeZooError: for a name that is none.
    """
    if names is None:
        return list(RUNTIMES.values())
    asked = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in asked if name not in RUNTIMES]
    if unknown or not asked:
        raise PvaeZooError(f"no runtime {unknown[0] if unknown else names!r}: choose from {', '.join(RUNTIMES)}")
    return [runtime for name, runtime in RUNTIMES.items() if name in asked]


def find(runtime: Runtime, node_folder: Path | None = None) -> Found | str:
    """Where a runtime is, or what installs it. Nothing is imported: what does not load is for its worker to say."""
    if runtime.npm:
        return _find_npm(runtime, node_folder)
    if runtime.name == REFERENCE:
        versions = list(installed_distributions().values())
        return Found(runtime, versions[0]) if versions else runtime.remedy
    try:
        return Found(runtime, importlib.metadata.version(runtime.package))
    except importlib.metadata.PackageNotFoundError:
        return runtime.remedy


def _find_npm(runtime: Runtime, node_folder: Path | None) -> Found | str:
    """The package in ``node_folder``, or where node would find it from here: in this folder or one above it."""
    if shutil.which("node") is None:
        return f"install Node.js 20 or later, then {runtime.remedy}"
    named = node_folder or os.environ.get(NODE_FOLDER)
    start = Path(named) if named else Path.cwd()
    for folder in (start, *start.absolute().parents):
        package = folder / "node_modules" / runtime.package
        try:
            version = json.loads((package / "package.json").read_text("utf-8"))["version"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        return Found(runtime, str(version), package.absolute())
    return f"{runtime.remedy} (here, or in the folder of --node-folder)"
