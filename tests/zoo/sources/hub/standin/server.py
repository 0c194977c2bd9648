"""The server: sockets, the log of requests, and the faults between the routes and the wire."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from standin import routes
from standin.answers import Answer, Call
from standin.faults import Fault
from standin.store import File, Repo

CHUNK = 2**16
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close at once and drop what is not sent


@dataclass
class Request:
    """A line of the log: what was asked with which headers, and what was sent back."""

    method: str
    path: str  # unquoted, without the query
    headers: dict[str, str]
    status: int = 0  # 0: no answer
    sent: int = 0  # bytes of the body
    received: int = 0

    def __str__(self) -> str:
        return f"{self.method} {self.path} -> {self.status}, {self.sent} bytes"


class StandIn:
    """A Hub at `url` while the `with` block lasts.

    Attributes:
        url: what HF_ENDPOINT shall be; the port stays the same over `stop` and `start`.
        repos: the repositories by name; change them as you like.
        objects: the large files that were uploaded, by sha256.
        requests: all requests so far.
    """

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.requests: list[Request] = []
        self.stopping = threading.Event()
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    # ---- what a test sets ----

    def add_repo(
        self,
        name: str,
        files: Mapping[str, bytes],
        *,
        private: bool = False,
        gated: bool = False,
        tag: str | None = None,
        title: str = "Upload files",
    ) -> str:
        """Puts files on top of a repository, which is made if need be; returns the commit's id."""
        with self._lock:
            repo = self.repos.setdefault(name, Repo(name, private, gated))
            commit = repo.commit({path: File.at(path, content) for path, content in files.items()}, title)
            if tag is not None:
                repo.tags[tag] = commit.id
            return commit.id

    def fail(self, fault: Fault) -> Fault:
        """Adds a fault; the first that fits a request is the one that happens."""
        with self._lock:
            self._faults.append(fault)
        return fault

    def heal(self) -> None:
        """Takes all faults away."""
        with self._lock:
            self._faults.clear()

    # ---- what a test asks ----

    def asked(self, method: str = "*", path: str = "*") -> list[Request]:
        """The requests that fit two shell patterns."""
        return [
            request
            for request in self.requests
            if fnmatchcase(request.method, method) and fnmatchcase(request.path, path)
        ]

    @property
    def fetched(self) -> list[str]:
        """The files whose content was asked for, sorted; a name comes twice if it was asked for twice."""
        return sorted(request.path.split("/", 5)[5] for request in self.asked("GET", "/*/resolve/*"))

    @property
    def bytes_sent(self) -> int:
        """Bytes of the bodies that were sent."""
        return sum(request.sent for request in self.requests)

    def forget(self) -> None:
        """Empties the log."""
        self.requests.clear()

    # ---- what the handler needs ----

    def answer(self, call: Call) -> tuple[Answer, Fault]:
        """The answer, and what shall go wrong while it is sent."""
        with self._lock:
            fault = next((fault for fault in self._faults if fault.fits(call)), Fault())
            refused = fault.status is not None and call.method not in ("GET", "HEAD")
            answer = Answer() if refused else routes.answer(self, fault.before(call))
            return fault.spoil(call, answer), fault

    # ---- life ----

    def start(self) -> None:
        """Listens again at the same address."""
        self.stopping.clear()
        self._server = _Server(("127.0.0.1", self._port), _Handler)
        self._server.hub = self
        self._port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), name="hub")
        self._thread.start()

    def stop(self) -> None:
        """Hangs up; connections are refused from now on."""
        if self._server is None or self._thread is None:
            return
        self.stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.hang_up()
        self._server.server_close()
        self._server = self._thread = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _Server(ThreadingTCPServer):
    """A thread for each connection; all are joined at the end."""

    allow_reuse_address = True
    request_queue_size = 64
    hub: StandIn

    def __init__(self, *args: Any) -> None:
        self._connections: set[socket.socket] = set()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def handle(self) -> None:
        with suppress(ConnectionError):  # the client may hang up when it likes
            super().handle()

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _serve(self) -> None:
        url, body = urlsplit(self.path), self._body()
        headers = {name.lower(): value for name, value in self.headers.items()}
        call = Call(self.command, url.path, parse_qs(url.query), headers, body)
        log = Request(self.command, unquote(url.path), headers, received=len(body))
        hub = self.server.hub
        hub.requests.append(log)
        answer, fault = hub.answer(call)
        if fault.delay:
            hub.stopping.wait(fault.delay)
        if fault.silent or hub.stopping.is_set():
            self.close_connection = True
            return
        log.status = answer.status
        self.send_response(answer.status)
        for name, value in ({"Content-Length": str(len(answer.body))} | answer.headers).items():
            self.send_header(name, value)
        self.end_headers()
        if call.method != "HEAD":
            self._send(answer.body, fault, log)

    def _send(self, body: bytes, fault: Fault, log: Request) -> None:
        step = CHUNK if fault.rate is None else max(1, int(fault.rate / 20))
        for start in range(0, len(body[: fault.cut]), step):
            part = body[: fault.cut][start : start + step]
            log.sent += len(part)  # before the client can see it
            self.wfile.write(part)
            if fault.rate is not None and self.server.hub.stopping.wait(len(part) / fault.rate):
                self.close_connection = True
                return
        if fault.cut is not None and fault.cut < len(body):
            if fault.reset:
                time.sleep(0.05)  # or else the client loses what it has not read yet
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                self.rfile.close()  # holds the socket too
                self.connection.close()
            self.close_connection = True

    do_HEAD = do_GET = do_POST = do_PUT = do_DELETE = _serve

    def log_message(self, *args: Any) -> None:
        """Says nothing: the log is `StandIn.requests`."""
