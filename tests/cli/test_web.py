"""``web``: the page on this machine, or as files."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

import pytest

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.web import building, site

PAGE = "<!doctype html><title>page</title>"


@pytest.fixture
def page(tmp_path_factory, monkeypatch):
    """A built page, as far as the command cares."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "index.html").write_text(PAGE)
    monkeypatch.setattr(building, "built_page", lambda: folder)
    return folder


def test_it_writes_a_site_for_a_static_host(run, model, page, files):
    result = run("web", model, "--out", "public")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("public: the page with tiny, ")
    assert "public/index.html" in files() and "public/bundles/tiny/decoder_step.onnx" in files()
    assert run("web", model, "--out", "public").exit_code == 0  # made again in its place


def test_all_installed_models_unless_told_otherwise(run, page, zoo, files):
    assert "the page with tiny" in run("web", "--out", "public").stdout
    assert "public/bundles/tiny/config.json" in files()


def test_json(run, model, page, files):
    report = json.loads(run("web", model, "--out", "public", "--json").stdout)
    assert (report["path"], report["models"]) == ("public", ["tiny"]) and report["bytes"] > 1000


def test_writing_is_not_serving(run, model, page):
    result = run("web", model, "--out", "public", "--open")
    assert result.exit_code == 2 and "--out writes files and serves nothing" in result.stderr


def test_a_folder_that_holds_something_else(run, model, page, tmp_path):
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / "thesis.txt").write_text("mine")
    result = run("web", model, "--out", "public")
    assert result.exit_code == 1 and "choose an empty folder" in result.stderr


def test_a_page_that_was_not_built(run, model, tmp_path, monkeypatch):
    monkeypatch.setattr(site, "__file__", str(tmp_path / "site.py"))
    monkeypatch.setattr(site.resources, "files", lambda package: tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))  # no npm
    result = run("web", model)
    assert result.exit_code == 1 and "npm run build --prefix web" in result.stderr
    assert len(result.stderr.splitlines()) == 1


FAKE_NPM = """#!/bin/sh
echo "$PWD $*" >> {log}
if [ "$1" = run ]; then {build}; fi
"""


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """A function that puts a program in the place of npm; what it was called with is in the file that it gives."""

    def npm(build):
        log, folder = tmp_path / "npm.log", tmp_path / "programs"
        folder.mkdir()
        (folder / "npm").write_text(FAKE_NPM.format(log=log, build=build))
        (folder / "npm").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        return log

    return npm


def test_a_checkout_builds_the_page_once(npm, tmp_path, monkeypatch):
    static = tmp_path / "static"
    monkeypatch.setattr(site, "__file__", str(tmp_path / "site.py"))
    monkeypatch.setattr(site.resources, "files", lambda package: tmp_path / "installed")
    log, said = npm(f"mkdir {static}; echo page > {static}/index.html"), []
    for _ in range(2):
        assert building.ready_page(said.append, tmp_path) == static
    assert log.read_text().splitlines() == [f"{tmp_path} ci --no-audit --no-fund", f"{tmp_path} run build"]
    assert len(said) == 1


def test_a_build_that_fails_is_one_line(npm, tmp_path, monkeypatch):
    monkeypatch.setattr(site, "__file__", str(tmp_path / "site.py"))
    monkeypatch.setattr(site.resources, "files", lambda package: tmp_path / "installed")
    npm("echo 'npm error network'; exit 1")
    with pytest.raises(PvaeZooError, match=r"npm run build failed in .*: npm error network: see npm ci"):
        building.ready_page(lambda line: None, tmp_path)


@pytest.mark.parametrize("has_npm", [True, False])
def test_a_wheel_carries_the_page(npm, tmp_path, monkeypatch, has_npm):
    root = Path(__file__).parents[2]
    tree = tmp_path / "tree"
    for name in ("zoo", "cli", "export", "model_cards", "web"):
        left_out = shutil.ignore_patterns("bundles", "static", "node_modules", "__pycache__", "pictures")
        shutil.copytree(root / name, tree / name, ignore=left_out)
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "constraints.txt"):
        shutil.copy(root / name, tree)
    if has_npm:
        npm("cd ../zoo/web; mkdir -p static/assets; echo page > static/index.html; echo > static/assets/x.js")
    else:
        monkeypatch.setenv("PATH", str(tmp_path))
    command = [sys.executable, "-c", "from setuptools import build_meta; build_meta.build_wheel('.')"]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(tree.glob("*.whl"))) as wheel:
        found = {name for name in wheel.namelist() if name.startswith("pvae_zoo/web/static/")}
        assert "pvae_zoo/web/building.py" in wheel.namelist()
    page = {"pvae_zoo/web/static/index.html", "pvae_zoo/web/static/assets/x.js"}
    assert found == (page if has_npm else set())
    assert has_npm or "npm is not installed, so the page" in done.stdout


def test_an_unknown_model(run, page):
    result = run("web", "mnits")
    assert result.exit_code == 1 and "did you mean 'mnist'?" in result.stderr


def test_a_damaged_bundle(run, flipped, page):
    result = run("web", flipped)
    assert result.exit_code == 1 and "SHA-256 differs" in result.stderr


def test_a_port_that_is_taken(run, model, page):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = run("web", model, "--port", taken.getsockname()[1])
    assert result.exit_code == 1 and "is taken: choose another with --port" in result.stderr


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_it_serves_until_interrupted(eight, page, tmp_path, host):
    code = (
        "import sys, pathlib\nfrom pvae_zoo.sources import registry\nfrom pvae_zoo.web import building\n"
        f"registry.pinned_configs = lambda: frozenset({{{eight.bundle.config_sha256!r}}})\n"
        f"building.built_page = lambda: pathlib.Path({str(page)!r})\n"
        "from pvae_zoo.cli.app import main\nmain(sys.argv[1:])"
    )
    arguments = ["web", str(eight.bundle.folder), "--port", "0", "--host", host]
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *arguments], cwd=tmp_path, text=True, env=os.environ,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        line = process.stdout.readline()
        assert line.startswith(f"http://{host}:") and line.endswith(" (Ctrl-C ends it)\n") and "/ with " in line
        url = line.split()[0].replace("0.0.0.0", "127.0.0.1")
        with urllib.request.urlopen(url, timeout=20) as answer:
            assert answer.read().decode() == PAGE
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert (process.returncode, out) == (130, "")
    reachable = "Other machines can reach this page" in err
    assert reachable == (host == "0.0.0.0") and err.endswith("Interrupted\n")
    shutil.rmtree(page)
