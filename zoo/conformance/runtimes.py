"""The runtimes: what each is called, where it is found on this machine, how it is installed."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.runtime.sessions import installed_distributions

REFERENCE = "onnxruntime"
"""The runtime that the zoo samples with: what the others' pixels and times are compared with."""

FLOOR, FLOOR_VERSION = "onnxruntime-floor", "1.23.0"
"""The oldest onnxruntime that this package takes. Two versions cannot be installed side by side: it has a folder."""

NODE_FOLDER = "PVAE_ZOO_NODE_FOLDER"
"""Environment variable with the folder whose ``node_modules`` are looked into first."""

PYTHON_FOLDER = "PVAE_ZOO_PYTHON_FOLDER"
"""Environment variable with a folder that has one more for each runtime that is not installed beside this package.

Each is made by ``pip install --target FOLDER/NAME PACKAGE``, and seen by the worker of that runtime alone.
"""


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


def _pypi(name: str, package: str, extra: str = "conformance") -> Runtime:
    return Runtime(name, package, f'pip install "pvae-zoo[{extra}]"')


def _npm(name: str) -> Runtime:
    return Runtime(name, name, f"npm install {name}", npm=True)


_ALONE = "pip install --no-deps --target DIR/{name} {package} (DIR being the folder of --python-folder)"

RUNTIMES = {
    runtime.name: runtime
    for runtime in (
        _pypi(REFERENCE, "onnxruntime", "cpu"),
        Runtime(FLOOR, "onnxruntime", _ALONE.format(name=FLOOR, package=f"onnxruntime=={FLOOR_VERSION}")),
        Runtime("reference", "onnx", "pip install onnx"),
        _pypi("tract", "tract"),
        _pypi("openvino", "openvino"),
        _pypi("opencv", "opencv-python-headless"),
        Runtime("nxrt", "nxrt", "pip install nxrt"),  # no release yet but of its development: in no extra
        _pypi("mnn", "MNN"),
        _pypi("iree", "iree-base-compiler", "compilers"),
        _pypi("tvm", "apache-tvm", "compilers"),
        _npm("onnxruntime-node"),
        _npm("onnxruntime-web"),
    )
}


@dataclass(frozen=True)
class Found:
    """A runtime on this machine: its version and the folder that it has for itself, an npm package's or Python's."""

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


def find(runtime: Runtime, node_folder: Path | None = None, python_folder: Path | None = None) -> Found | str:
    """Where a runtime is, or what installs it. Nothing is imported: what does not load is for its worker to say."""
    if runtime.npm:
        return _find_npm(runtime, node_folder)
    if runtime.name == REFERENCE:
        versions = list(installed_distributions().values())
        return Found(runtime, versions[0]) if versions else runtime.remedy
    named = python_folder or os.environ.get(PYTHON_FOLDER)
    if named:
        folder = Path(named).absolute() / runtime.name
        version = _version(runtime.package, [str(folder)])
        # Another version in the floor's folder is not the floor.
        if version is not None and (runtime.name != FLOOR or version == FLOOR_VERSION):
            return Found(runtime, version, folder)
    version = _version(runtime.package, sys.path) if runtime.name != FLOOR else None
    return runtime.remedy if version is None else Found(runtime, version)


def _version(package: str, path: list[str]) -> str | None:
    """Of a distribution that lies in one of these folders."""
    found = importlib.metadata.distributions(name=package, path=path)
    return next((distribution.version for distribution in found), None)


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
