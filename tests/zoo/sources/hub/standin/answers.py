"""A request as the routes see it, and what they answer."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from standin.store import Commit, File

JSON = {"Content-Type": "application/json; charset=utf-8"}


@dataclass(frozen=True)
class Call:
    """A request: its path without the query, still quoted, and header names in lower case."""

    method: str
    path: str
    query: dict[str, list[str]] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def token(self) -> str | None:
        kind, _, token = self.headers.get("authorization", "").partition(" ")
        return token if kind == "Bearer" else None

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Answer:
    """A status, headers and a body; of a HEAD request the body is only measured."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class HubError(Exception):
    """An answer that is an error, with the headers by which the client knows what kind."""

    def __init__(self, status: int, message: str, code: str | None = None, **headers: str) -> None:
        super().__init__(message)
        named = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {}), **headers}
        self.answer = Answer(status, json.dumps({"error": message}).encode(), JSON | named)


def of_json(data: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(data).encode(), dict(JSON))


def of_file(call: Call, commit: Commit, file: File) -> Answer:
    """A file, or the part that a Range header asks for; nothing is ever compressed."""
    headers = {
        "Content-Type": "application/octet-stream",
        "Accept-Ranges": "bytes",
        "X-Repo-Commit": commit.id,
        "ETag": f'"{file.etag}"',
    }
    if file.large:
        headers |= {"X-Linked-Etag": f'"{file.etag}"', "X-Linked-Size": str(file.size)}
    part = re.fullmatch(r"bytes=(\d*)-(\d*)", call.headers.get("range", ""))
    if not part or call.headers.get("if-range", headers["ETag"]) != headers["ETag"]:
        return Answer(200, file.content, headers)
    first, last = part.groups()
    start = int(first) if first else max(file.size - int(last or 0), 0)
    stop = min(int(last) + 1, file.size) if first and last else file.size
    if start >= stop:
        return Answer(416, b"", headers | {"Content-Range": f"bytes */{file.size}"})
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{file.size}"
    return Answer(206, file.content[start:stop], headers)
