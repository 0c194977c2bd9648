"""A site of tiny bundles, and Chromium to look at it."""

import json
import shutil
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.sources.registry import model_names, open_bundle
from pvae_zoo.web.server import SiteServer
from pvae_zoo.web.site import built_page, make_site

WEB = Path(__file__).parents[3] / "web"
DRIVER = WEB / "drive.mjs"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture
def page(tmp_path):
    """What stands in for the built page where only files matter."""
    folder = tmp_path / "page"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>page</title>")
    (folder / "assets" / "index.js").write_text("//")
    (folder / "assets" / "ort.wasm").write_bytes(b"\0asm")
    return folder


@pytest.fixture(scope="session")
def served():
    """A function from a site to its address while it is served, as a context."""

    @contextmanager
    def serve(site):
        with SiteServer(site, "127.0.0.1", 0) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            try:
                yield server.url
            finally:
                server.shutdown()
                thread.join()

    return serve


@pytest.fixture(scope="session")
def browser():
    """A function that does a list of actions on a page and gives their answers."""
    node, chromium = shutil.which("node"), next(filter(None, map(shutil.which, BROWSERS)), None)
    if node is None or not (WEB / "node_modules" / "playwright-core").is_dir():
        pytest.skip("needs node and npm ci --prefix web")
    if chromium is None:
        pytest.skip(f"needs a browser: one of {', '.join(BROWSERS)}")
    try:
        built_page()
    except PvaeZooError as error:
        pytest.skip(str(error))

    def drive(*actions):
        command = [node, str(DRIVER), chromium]
        result = subprocess.run(command, input=json.dumps(actions), capture_output=True, text=True, timeout=240)
        assert result.returncode == 0, result.stderr
        found = json.loads(result.stdout)
        assert found["failed"] is None, found["failed"]
        return found["answers"]

    return drive


@pytest.fixture(scope="session")
def mnist_url(browser, served):
    """The address of the page with the models of the zoo."""
    with served(make_site([open_bundle(name) for name in model_names()])) as url:
        yield url
