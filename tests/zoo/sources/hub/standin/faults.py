"""Faults on demand: what a network, a proxy or a broken server does to an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from urllib.parse import unquote

from standin.answers import Answer, Call, HubError

MESSAGES = {
    401: "Invalid credentials in Authorization header",
    403: "Access to this model is restricted",
    404: "Entry not found",
    429: "Too many requests",
    503: "Service unavailable",
}
CODES = {403: "GatedRepo", 404: "EntryNotFound"}


@dataclass
class Fault:
    """What goes wrong with the next requests whose path fits a pattern.

    Attributes:
        path: a shell pattern for the unquoted path, such as `*/resolve/*/decoder.onnx`.
        method: HEAD, GET, POST, PUT or `*`.
        times: how often; None for always. Requests that do not fit are not counted.
        after: how many that fit go well first.
        status: answer with this error: 401, 403 (gated), 404 (no such file), 429, 503, ...; a write is not done.
        retry_after: seconds, for the Retry-After header.
        headers: headers to replace; None takes one away.
        cut: bytes of the body after which the connection is closed.
        reset: the cut resets the connection instead.
        flip: the position of a byte that arrives wrong; the length is right.
        delay: seconds before the answer.
        rate: bytes of the body per second.
        whole: a Range header is ignored: 200 and everything.
        redirect: the address of another server that has the same path.
        silent: the connection is closed without an answer; a write is done all the same.
    """

    path: str = "*"
    method: str = "*"
    times: int | None = 1
    after: int = 0
    status: int | None = None
    retry_after: int | None = None
    headers: Mapping[str, str | None] = field(default_factory=dict)
    cut: int | None = None
    reset: bool = False
    flip: int | None = None
    delay: float = 0.0
    rate: float | None = None
    whole: bool = False
    redirect: str | None = None
    silent: bool = False
    seen: int = 0

    def fits(self, call: Call) -> bool:
        """Whether this request is hit; counts it."""
        if not fnmatchcase(call.method, self.method) or not fnmatchcase(unquote(call.path), self.path):
            return False
        self.seen += 1
        return self.seen > self.after and (self.times is None or self.seen <= self.after + self.times)

    def before(self, call: Call) -> Call:
        """The request as the server understands it."""
        if not self.whole:
            return call
        kept = {name: value for name, value in call.headers.items() if name not in ("range", "if-range")}
        return Call(call.method, call.path, call.query, kept, call.body)

    def spoil(self, call: Call, answer: Answer) -> Answer:
        """The answer as it is sent."""
        status, body, headers = answer.status, answer.body, dict(answer.headers)
        if self.status is not None:
            error = HubError(self.status, MESSAGES.get(self.status, "Something went wrong"), CODES.get(self.status))
            kept = {name: headers[name] for name in ("X-Repo-Commit",) if name in headers}
            status, body, headers = self.status, error.answer.body, kept | error.answer.headers
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        if self.redirect is not None:
            status, body = 302, b""
            headers["Location"] = self.redirect + call.path
        if self.flip is not None and self.flip < len(body):
            body = body[: self.flip] + bytes([body[self.flip] ^ 0xFF]) + body[self.flip + 1 :]
        for name, value in self.headers.items():
            headers.pop(name, None)
            if value is not None:
                headers[name] = value
        return Answer(status, body, headers)
