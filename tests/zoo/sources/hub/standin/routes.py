"""The part of the Hub's HTTP interface that the client uses for models."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote

from standin import answers, rights
from standin.answers import Answer, Call, HubError
from standin.card import problems
from standin.store import Commit, ConflictError, File, Repo, is_large


class State(Protocol):
    """What the routes read and change."""

    url: str
    repos: dict[str, Repo]
    objects: dict[str, bytes]  # large files that were put, by sha256


Route = Callable[..., Answer]
ROUTES: list[tuple[str, re.Pattern[str], Route]] = []
NAME = r"(?P<name>[^/]+/[^/]+)"
REVISION = r"(?P<revision>[^/]+)"


def route(method: str, pattern: str) -> Callable[[Route], Route]:
    """Registers a function of the state, the call and the unquoted parts of the path."""

    def register(function: Route) -> Route:
        ROUTES.append((method, re.compile(pattern), function))
        return function

    return register


def answer(state: State, call: Call) -> Answer:
    """What the Hub answers."""
    try:
        for method, pattern, function in ROUTES:
            match = pattern.fullmatch(call.path)
            if match and call.method == method:
                return function(state, call, **{key: unquote(value) for key, value in match.groupdict("").items()})
        raise HubError(404, "Sorry, we can't find the page you are looking for.")
    except HubError as error:
        return error.answer


def _at(state: State, call: Call, name: str, revision: str, content: bool = False) -> tuple[Repo, Commit]:
    repo = rights.may_read(call, state.repos.get(name), content)
    commit = repo.resolve(revision)
    if commit is None:
        raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
    return repo, commit


# ---- accounts and repositories ----


@route("GET", "/api/whoami-v2")
def whoami(state: State, call: Call) -> Answer:
    who = rights.user(call)
    if who is None:
        raise HubError(401, "Invalid username or password.")
    role = "write" if who == "owner" else "read"
    token = {"displayName": "tests", "role": role}
    return answers.of_json(
        {"type": "user", "name": who, "orgs": [], "auth": {"type": "access_token", "accessToken": token}}
    )


@route("POST", "/api/repos/create")
def create_repo(state: State, call: Call) -> Answer:
    who, wanted = rights.user(call), call.json()
    if who is None:
        raise HubError(401, "Invalid username or password.")
    if who != "owner":
        raise HubError(403, f'You don\'t have the rights to create a model under the namespace "{wanted["name"]}"')
    name = f"{wanted.get('organization') or who}/{wanted['name']}"
    url = f"{state.url}/{name}"
    if name in state.repos:
        return answers.of_json({"error": "You already created this model repo", "url": url}, 409)
    state.repos[name] = Repo(name, private=wanted.get("visibility") == "private")
    return answers.of_json({"url": url, "name": name, "id": name})


@route("DELETE", "/api/repos/delete")
def delete_repo(state: State, call: Call) -> Answer:
    wanted = call.json()
    name = f"{wanted.get('organization') or rights.user(call)}/{wanted['name']}"
    rights.may_write(call, state.repos.get(name))
    del state.repos[name]
    return answers.of_json({})


@route("GET", f"/api/models/{NAME}(?:/revision/{REVISION})?")
def info(state: State, call: Call, name: str, revision: str) -> Answer:
    repo, commit = _at(state, call, name, revision or "main")
    return answers.of_json(
        {
            "id": name,
            "modelId": name,
            "author": name.split("/")[0],
            "sha": commit.id,
            "private": repo.private,
            "gated": "manual" if repo.gated else False,
            "disabled": False,
            "tags": [],
            "siblings": [{"rfilename": path} for path in commit.files],
        }
    )


# ---- refs and files ----


@route("GET", f"/api/models/{NAME}/refs")
def refs(state: State, call: Call, name: str) -> Answer:
    repo = rights.may_read(call, state.repos.get(name))

    def listed(kind: str, names: dict[str, str]) -> list[dict[str, str]]:
        return [{"name": key, "ref": f"refs/{kind}/{key}", "targetCommit": id} for key, id in names.items()]

    return answers.of_json(
        {"branches": listed("heads", repo.branches), "tags": listed("tags", repo.tags), "converts": []}
    )


@route("POST", f"/api/models/{NAME}/tag/{REVISION}")
def create_tag(state: State, call: Call, name: str, revision: str) -> Answer:
    repo = rights.may_write(call, state.repos.get(name))
    _, commit = _at(state, call, name, revision)
    tag = call.json()["tag"]
    if tag in repo.tags:
        raise HubError(409, f"Tag reference exists already: refs/tags/{tag}")
    repo.tags[tag] = commit.id
    return answers.of_json({})


@route("DELETE", f"/api/models/{NAME}/tag/{REVISION}")
def delete_tag(state: State, call: Call, name: str, revision: str) -> Answer:
    repo = rights.may_write(call, state.repos.get(name))
    if repo.tags.pop(revision, None) is None:
        raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
    return answers.of_json({})


@route("GET", f"/api/models/{NAME}/commits/{REVISION}")
def commits(state: State, call: Call, name: str, revision: str) -> Answer:
    repo, commit = _at(state, call, name, revision)
    date = "2026-01-01T00:00:00.000Z"
    return answers.of_json(
        [
            {"id": past.id, "title": past.title, "message": "", "date": date, "authors": [{"user": "owner"}]}
            for past in repo.history(commit.id)
        ]
    )


def _described(path: str, file: File) -> dict[str, Any]:
    described = {"type": "file", "path": path, "size": file.size, "oid": file.oid}
    if file.large:
        described["lfs"] = {"oid": file.sha256, "size": file.size, "pointerSize": len(file.pointer)}
    return described


def _folder(path: PurePosixPath) -> dict[str, Any]:
    return {"type": "directory", "path": str(path), "size": 0, "oid": hashlib.sha1(str(path).encode()).hexdigest()}


@route("GET", f"/api/models/{NAME}/tree/{REVISION}(?:/(?P<under>.+))?")
def tree(state: State, call: Call, name: str, revision: str, under: str) -> Answer:
    _, commit = _at(state, call, name, revision)
    top, recursive = PurePosixPath(under), call.query.get("recursive") == ["true"]
    entries: dict[PurePosixPath, dict[str, Any]] = {}
    for text, file in commit.files.items():
        path = PurePosixPath(text)
        entries |= {folder: _folder(folder) for folder in path.parents if folder != top and top in folder.parents}
        if top in path.parents:
            entries[path] = _described(text, file)
    if under and not entries:
        raise HubError(404, f"{under} does not exist on {revision}", "EntryNotFound")
    return answers.of_json([entry for path, entry in entries.items() if recursive or path.parent == top])


@route("POST", f"/api/models/{NAME}/paths-info/{REVISION}")
def paths_info(state: State, call: Call, name: str, revision: str) -> Answer:
    _, commit = _at(state, call, name, revision)
    paths = parse_qs(call.body.decode()).get("paths", [])
    return answers.of_json([_described(path, commit.files[path]) for path in paths if path in commit.files])


def resolve(state: State, call: Call, name: str, revision: str, path: str) -> Answer:
    _, commit = _at(state, call, name, revision, content=True)
    if path not in commit.files:
        raise HubError(404, "Entry not found", "EntryNotFound", **{"X-Repo-Commit": commit.id})
    return answers.of_file(call, commit, commit.files[path])


for verb in ("HEAD", "GET"):
    route(verb, f"/{NAME}/resolve/{REVISION}/(?P<path>.+)")(resolve)


# ---- upload ----


@route("POST", "/api/validate-yaml")
def validate_yaml(state: State, call: Call) -> Answer:
    errors, warnings = problems(call.json()["content"])
    listed = {"errors": [{"message": text} for text in errors], "warnings": [{"message": text} for text in warnings]}
    return answers.of_json(listed, 400 if errors else 200)


@route("POST", f"/api/models/{NAME}/preupload/{REVISION}")
def preupload(state: State, call: Call, name: str, revision: str) -> Answer:
    rights.may_write(call, state.repos.get(name))
    _, commit = _at(state, call, name, revision)

    def mode(path: str, size: int) -> dict[str, Any]:
        present = commit.files.get(path)
        kind = "lfs" if is_large(path, size) else "regular"
        return {"path": path, "uploadMode": kind, "shouldIgnore": False, "oid": present.etag if present else None}

    return answers.of_json({"files": [mode(file["path"], file["size"]) for file in call.json()["files"]]})


@route("POST", f"/{NAME}\\.git/info/lfs/objects/batch")
def batch(state: State, call: Call, name: str) -> Answer:
    rights.may_write(call, state.repos.get(name))
    objects = [{"oid": wanted["oid"], "size": wanted["size"]} for wanted in call.json()["objects"]]
    for wanted in objects:
        if wanted["oid"] not in state.objects:
            upload, verify = f"{state.url}/lfs/{wanted['oid']}", f"{state.url}/{name}.git/info/lfs/verify"
            wanted["actions"] = {"upload": {"href": upload}, "verify": {"href": verify}}
    return answers.of_json({"transfer": "basic", "objects": objects})


@route("PUT", "/lfs/(?P<oid>[0-9a-f]{64})")
def put(state: State, call: Call, oid: str) -> Answer:
    if hashlib.sha256(call.body).hexdigest() != oid:
        raise HubError(400, "The content does not have the sha256 that it was announced with")
    state.objects[oid] = call.body
    return Answer()


@route("POST", f"/{NAME}\\.git/info/lfs/verify")
def verify(state: State, call: Call, name: str) -> Answer:
    rights.may_write(call, state.repos.get(name))
    wanted = call.json()
    if len(state.objects.get(wanted["oid"], b"")) != wanted["size"]:
        raise HubError(404, "Object not found")
    return answers.of_json({})


def _change(state: State, commit: Commit, key: str, value: dict[str, Any]) -> dict[str, File | None]:
    path = value["path"]
    if key == "file":
        return {path: File(base64.b64decode(value["content"], validate=True), large=False)}
    if key == "lfsFile":
        if value["oid"] not in state.objects:
            raise HubError(400, "LFS pointer pointed to a file that does not exist")
        return {path: File(state.objects[value["oid"]], large=True)}
    gone = [name for name in commit.files if name == path or (key == "deletedFolder" and name.startswith(path))]
    if not gone:
        raise HubError(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
    return dict.fromkeys(gone)


@route("POST", f"/api/models/{NAME}/commit/{REVISION}")
def create_commit(state: State, call: Call, name: str, revision: str) -> Answer:
    repo = rights.may_write(call, state.repos.get(name))
    if revision not in repo.branches:
        raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
    lines = [json.loads(line) for line in call.body.splitlines()]
    header = next(line["value"] for line in lines if line["key"] == "header")
    head = repo.commits[repo.branches[revision]]
    changes: dict[str, File | None] = {}
    for line in lines:
        if line["key"] != "header":
            changes |= _change(state, head, line["key"], line["value"])
    try:
        commit = repo.commit(changes, header["summary"], revision, header.get("parentCommit"))
    except ConflictError as error:
        raise HubError(412, str(error)) from error
    url = f"{state.url}/{name}/commit/{commit.id}"
    return answers.of_json({"success": True, "commitOid": commit.id, "commitUrl": url})
