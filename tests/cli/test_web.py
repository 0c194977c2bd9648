"""``web``: the page on this machine, or as files."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from pvae_zoo.web import site

PAGE = "<!doctype html><title>page</title>"


@pytest.fixture
def page(tmp_path_factory, monkeypatch):
    """A built page, as far as the command cares."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "index.html").write_text(PAGE)
    monkeypatch.setattr(site, "built_page", lambda: folder)
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
    monkeypatch.setattr(site.resources, "files", lambda package: tmp_path)
    result = run("web", model)
    assert result.exit_code == 1 and "npm run build --prefix web" in result.stderr
    assert len(result.stderr.splitlines()) == 1


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
        "import sys, pathlib\nfrom pvae_zoo.sources import registry\nfrom pvae_zoo.web import site\n"
        f"registry.pinned_configs = lambda: frozenset({{{eight.bundle.config_sha256!r}}})\n"
        f"site.built_page = lambda: pathlib.Path({str(page)!r})\n"
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
