"""Imports point one way: a package imports those that stand before it in this list, and no others."""

import ast
from pathlib import Path

import pytest

import pvae_zoo

ORDER = (
    *("base", "contract", "graphs", "data", "models", "training", "runtime", "sources", "checks", "trust", "screening"),
    "__init__",  # `pvae_zoo.load`
    *("conformance", "explain", "scale", "web", "reporting", "conversion", "publishing", "export", "tuning", "paper"),
    *("cli", "__main__"),
)
USE_TORCH = {"models", "training", "export", "paper"}
ROOT = Path(pvae_zoo.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))


def imported(path):
    """The modules that a file imports anywhere, in functions too, and what it takes from packages."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def package(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def test_every_package_has_its_place():
    assert {package(path) for path in FILES} == {*ORDER, "model_cards"}


@pytest.mark.parametrize("name", ORDER)
def test_a_package_imports_those_below_it(name):
    below = {*ORDER[: ORDER.index(name) + 1], "__version__"}
    for path in (path for path in FILES if package(path) == name):
        ours = [module.split(".") for module in imported(path) if module.split(".")[0] == "pvae_zoo"]
        found = {parts[1] if parts[1:] and parts[1] in {*ORDER, "__version__"} else "__init__" for parts in ours}
        upward = sorted(found - below)
        assert upward == [], f"{path.relative_to(ROOT)} imports what stands above {name}"


def test_what_runs_a_model_needs_no_torch():
    users = {package(path) for path in FILES if any(module.split(".")[0] == "torch" for module in imported(path))}
    assert users == USE_TORCH
