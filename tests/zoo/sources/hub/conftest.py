"""Hubs on this machine: our own stand-in, which can fail on demand, and olah, which none of us wrote."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

import pytest
from standin import OWNER, StandIn


@pytest.fixture
def hub() -> Iterator[StandIn]:
    """A running Hub without repositories."""
    with StandIn() as running:
        yield running


@pytest.fixture
def hub_env(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """A function from a Hub's address to the environment of a process whose client talks to it, and to nobody else."""

    def environment(url: str, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(("HF_", "HUGGING"))}
        return kept | {
            "HF_ENDPOINT": url,
            "HF_HOME": str(tmp_path / "hf"),
            "HF_TOKEN": OWNER,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "NO_PROXY": "*",
            **more,
        }

    return environment


# ---- the client in this process ----


@dataclass
class Client:
    """What the client in this process was set to.

    Attributes:
        home: its HF_HOME.
        waits: the seconds that it would have slept between attempts.
    """

    home: Path
    set: Callable[[str, object], None]
    waits: list[float] = field(default_factory=list)

    @property
    def cache(self) -> Path:
        return self.home / "hub"

    def offline(self, on: bool = True) -> None:
        """As HF_HUB_OFFLINE does."""
        self.set("HF_HUB_OFFLINE", on)


@pytest.fixture
def point_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Client]]:
    """A function that points huggingface_hub in this process to a Hub, with an empty cache and no pauses."""
    from huggingface_hub import constants, file_download, hf_api
    from huggingface_hub.utils import _http, close_session

    bars = importlib.import_module("huggingface_hub.utils.tqdm")  # a class of this name hides the module

    def constant(name: str, value: object) -> None:
        assert hasattr(constants, name)
        monkeypatch.setattr(constants, name, value)

    def point(url: str) -> Client:
        client = Client(tmp_path / "hf", constant)
        paths = {
            "HF_HOME": client.home,
            "HF_HUB_CACHE": client.cache,
            "HUGGINGFACE_HUB_CACHE": client.cache,
            "HF_ASSETS_CACHE": client.home / "assets",
            "HF_XET_CACHE": client.home / "xet",
            "HF_TOKEN_PATH": client.home / "token",
            "HF_STORED_TOKENS_PATH": client.home / "stored_tokens",
        }
        others = {
            "ENDPOINT": url,
            "HUGGINGFACE_CO_URL_TEMPLATE": url + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_OFFLINE": False,
            "HF_HUB_DISABLE_XET": True,
            "HF_HUB_DISABLE_TELEMETRY": True,
            "HF_HUB_DISABLE_IMPLICIT_TOKEN": False,
            "HF_HUB_DISABLE_SYMLINKS": False,
            "HF_HUB_DOWNLOAD_TIMEOUT": 10,
            "HF_HUB_ETAG_TIMEOUT": 10,
            "HF_DEBUG": False,
        }
        for name, value in ({name: str(path) for name, path in paths.items()} | others).items():
            constant(name, value)
        # copies that modules took when they were imported
        monkeypatch.setattr(_http, "_HUB_ORIGINS", frozenset({_http._url_origin(url)}))
        monkeypatch.setattr(bars, "HF_HUB_DISABLE_PROGRESS_BARS", None)
        monkeypatch.setattr(hf_api.api, "endpoint", url)
        for module in (_http, file_download):
            monkeypatch.setattr(module, "time", SimpleNamespace(sleep=client.waits.append))
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_OIDC_RESOURCE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HF_TOKEN", OWNER)
        monkeypatch.setenv("NO_PROXY", "*")
        close_session()  # it keeps connections and proxies
        return client

    yield point
    close_session()


@pytest.fixture
def client(hub: StandIn, point_client: Callable[[str], Client]) -> Client:
    """The real client, in this process, at the stand-in."""
    return point_client(hub.url)


# ---- olah ----


@dataclass(frozen=True)
class Olah:
    """A read-only Hub over plain git repositories."""

    url: str
    mirrors: Path

    def add(self, name: str, folder: Path, tag: str) -> str:
        """Makes a repository of a folder's files, with branch main and a tag; returns the commit's id."""
        place = self.mirrors / "models" / name
        shutil.copytree(folder, place)

        def git(*arguments: str) -> str:
            who = ["-c", "user.name=tests", "-c", "user.email=tests@localhost", "-c", "commit.gpgsign=false"]
            done = subprocess.run(["git", *who, *arguments], cwd=place, check=True, capture_output=True, text=True)
            return done.stdout.strip()

        git("init", "--quiet", "--initial-branch=main")
        git("add", "--all")
        git("commit", "--quiet", "--message=Upload files")
        git("tag", tag)
        return git("rev-parse", "HEAD")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _answers(url: str) -> bool:
    try:
        build_opener(ProxyHandler({})).open(url, timeout=5).close()
    except HTTPError as error:
        error.close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="session")
def olah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Olah]:
    """An olah server of this session, offline."""
    if shutil.which("git") is None:
        pytest.skip("needs git")
    if importlib.util.find_spec("olah") is None:
        pytest.skip("needs olah")
    folder, port = tmp_path_factory.mktemp("olah"), _free_port()
    mirrors = folder / "mirrors"
    mirrors.mkdir()
    settings = f"""
        [basic]
        host = "127.0.0.1"
        port = {port}
        repos-path = "{(folder / "cache").as_posix()}"
        mirrors-path = ["{mirrors.as_posix()}"]
        [accessibility]
        offline = true
    """
    (folder / "olah.toml").write_text(settings)
    command = [sys.executable, "-m", "olah.server", "--config", "olah.toml", "--log-path", "logs"]
    with (folder / "output").open("w") as output:
        server = subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
    try:
        until = time.monotonic() + 60
        while not _answers(f"http://127.0.0.1:{port}/"):
            if server.poll() is not None or time.monotonic() > until:
                pytest.fail(f"olah did not start:\n{(folder / 'output').read_text()}")
            time.sleep(0.1)
        yield Olah(f"http://127.0.0.1:{port}", mirrors)
    finally:
        server.terminate()
        server.wait(timeout=30)
