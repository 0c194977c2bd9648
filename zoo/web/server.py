"""A site on a port of this machine.

The server knows a fixed table of addresses and nothing of the file system, so there is nothing to escape from. On a
loopback address it answers only requests that were sent to a loopback name: a page elsewhere cannot reach it by having
its own name point here.
"""

from __future__ import annotations

import errno
import ipaddress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.web.site import Site

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".wasm": "application/wasm",
    ".onnx": "application/octet-stream",
}


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


class SiteServer(ThreadingHTTPServer):
    """Serves a site until it is shut down.

    Args:
        site: what is at which address.
        host: to listen on.
        port: to listen on; 0 for any that is free.

    Raises:
        PvaeZooError: if that is not possible, in one line.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, site: Site, host: str, port: int) -> None:
        self.site = site
        self.loopback = is_loopback(host)
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PvaeZooError(f"port {port} is taken: choose another with --port, or 0 for any") from error
            raise PvaeZooError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error

    @property
    def url(self) -> str:
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader that leaves early is no error of ours."""


class _Handler(BaseHTTPRequestHandler):
    server: SiteServer
    server_version = "pvae-zoo"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        host = urlsplit(f"//{self.headers.get('Host', '')}").hostname or ""
        if self.server.loopback and not is_loopback(host):
            self.send_error(HTTPStatus.FORBIDDEN, "sent to a name that is not this machine's")
            return
        address = unquote(urlsplit(self.path).path).lstrip("/") or "index.html"
        try:
            data = self.server.site.read(address)
        except PvaeZooError:
            data = None
        if data is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        suffix = address[address.rfind(".") :]
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", TYPES.get(suffix, "application/octet-stream"))
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if with_body:
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not news."""
