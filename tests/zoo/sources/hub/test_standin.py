"""The stand-in as the real client sees it, in good days and bad; and olah, to see that we agree with another server."""

import hashlib
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    IncompleteSnapshotError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from standin import OWNER, READER, Fault, StandIn

CARD = b"---\nlicense: mit\n---\n# A model\n"
GRAPH = bytes(range(256)) * 500
FILES = {"README.md": CARD, "config.json": b"{}\n", "graphs/decoder.onnx": GRAPH}
DECODER = "*/resolve/*/decoder.onnx"


@pytest.fixture
def commit(hub, client):
    """The commit of org/model, which has the tag v1."""
    return hub.add_repo("org/model", FILES, tag="v1")


@pytest.fixture
def fetch(commit):
    """A function that downloads the decoder's content by commit."""

    def download(**options):
        return Path(hf_hub_download("org/model", "graphs/decoder.onnx", revision=commit, **options)).read_bytes()

    return download


@pytest.fixture
def folder(tmp_path):
    """The files on disk."""
    for name, content in FILES.items():
        path = tmp_path / "model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "model"


def contents(folder):
    paths = [path for path in Path(folder).rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def without_attributes(files):
    return {path: content for path, content in files.items() if path != ".gitattributes"}


# ---- upload ----


def test_upload_and_download(hub, client, folder):
    api = HfApi()
    for _ in range(2):
        assert api.create_repo("org/new", exist_ok=True) == f"{hub.url}/org/new"
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_repo("org/new")

    first = api.upload_folder(repo_id="org/new", folder_path=folder, commit_message="First")
    repo = hub.repos["org/new"]
    assert first.oid == repo.branches["main"] and [past.title for past in repo.history()] == ["First", "initial commit"]
    assert hub.objects == {hashlib.sha256(GRAPH).hexdigest(): GRAPH}
    assert api.upload_folder(repo_id="org/new", folder_path=folder).oid == first.oid  # nothing new
    assert len(hub.asked("PUT")) == len(hub.asked("POST", "*/commit/*")) == 1

    api.create_tag("org/new", tag="v1", revision=first.oid)
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_tag("org/new", tag="v1")
    assert [(tag.name, tag.target_commit) for tag in api.list_repo_refs("org/new").tags] == [("v1", first.oid)]
    assert sorted(api.list_repo_files("org/new", revision="v1")) == sorted([".gitattributes", *FILES])
    assert without_attributes(contents(snapshot_download("org/new", revision="v1"))) == FILES


def test_the_parent_and_deleted_files(hub, commit):
    api = HfApi()
    delete = api.create_commit("org/model", [CommitOperationDelete("config.json")], commit_message="Less")
    assert "config.json" not in hub.repos["org/model"].files and hub.repos["org/model"].tags["v1"] == commit
    more = [CommitOperationAdd("config.json", b"{}")]
    with pytest.raises(HfHubHTTPError, match="412"):
        api.create_commit("org/model", more, commit_message="Late", parent_commit=commit)
    api.create_commit("org/model", more, commit_message="More", parent_commit=delete.oid)
    assert [past.title for past in api.list_repo_commits("org/model")][:2] == ["More", "Less"]
    with pytest.raises(EntryNotFoundError):
        api.create_commit("org/model", [CommitOperationDelete("none")], commit_message="No")


@pytest.mark.parametrize(
    ("card", "says"),
    [
        ("---\nlicense: [mit\n---\n", "YAML metadata is invalid"),
        ("---\nmodel-index:\n- name: x\n  results:\n  - task: {type: x}\n---\n", r"results\[0\].metrics"),
    ],
)
def test_a_bad_card_is_refused(hub, commit, card, says):
    with pytest.raises(ValueError, match=says):
        HfApi().create_commit("org/model", [CommitOperationAdd("README.md", card.encode())], commit_message="Card")
    assert hub.repos["org/model"].branches["main"] == commit


def test_a_card_without_metadata_is_a_warning(commit):
    with pytest.warns(UserWarning, match="empty or missing yaml metadata"):
        HfApi().create_commit("org/model", [CommitOperationAdd("README.md", b"# Hello")], commit_message="Card")


def test_an_upload_with_a_wrong_byte_is_refused(hub, commit, tmp_path):
    path = tmp_path / "new.onnx"
    path.write_bytes(b"graph")
    addition = CommitOperationAdd("new.onnx", str(path))
    assert addition.upload_info.sha256 == hashlib.sha256(b"graph").digest()
    path.write_bytes(b"grapf")
    with pytest.raises(RuntimeError, match=r"new\.onnx"):
        HfApi().create_commit("org/model", [addition], commit_message="New")
    assert not hub.objects and hub.repos["org/model"].branches["main"] == commit


# ---- download ----


@pytest.mark.parametrize("revision", ["main", "v1", None])
def test_a_snapshot_offline(hub, client, commit, revision):
    folder = snapshot_download("org/model", revision=revision or commit)
    assert Path(folder).name == commit and without_attributes(contents(folder)) == FILES
    assert len(hub.asked("GET", "/api/*/revision/*")) == (revision is not None)
    assert hub.fetched == sorted([".gitattributes", *FILES])
    hub.stop()
    assert snapshot_download("org/model", revision=revision or commit) == folder
    client.offline()
    assert snapshot_download("org/model", revision=revision or commit) == folder


def test_only_what_is_missing_is_fetched(hub, client, commit):
    folder = Path(snapshot_download("org/model"))
    (folder / "config.json").unlink()
    with pytest.raises(IncompleteSnapshotError, match=r"config\.json"):
        snapshot_download("org/model", local_files_only=True)
    hub.add_repo("org/model", {"config.json": b'{"version": 2}'})
    hub.forget()
    assert Path(snapshot_download("org/model", revision=commit)) == folder and not hub.fetched  # the blob was there
    newer = contents(snapshot_download("org/model"))
    assert hub.fetched == ["config.json"] and without_attributes(newer) == FILES | {"config.json": b'{"version": 2}'}


def test_dry_run(hub, commit):
    plan = {file.filename: file for file in snapshot_download("org/model", dry_run=True, ignore_patterns=".*")}
    assert {name: file.file_size for name, file in plan.items()} == {name: len(data) for name, data in FILES.items()}
    assert all(file.will_download and file.commit_hash == commit for file in plan.values()) and not hub.fetched


def test_a_process_of_its_own(hub, hub_env):
    hub.add_repo("org/model", FILES)
    code = "import huggingface_hub as hub; print(hub.snapshot_download('org/model'), hub.whoami()['name'])"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=hub_env(hub.url), capture_output=True, text=True, check=True)
    folder, who = done.stdout.split()
    assert without_attributes(contents(folder)) == FILES and who == "owner"


# ---- what is not there, or not yours ----


@pytest.mark.parametrize(
    ("error", "name", "revision", "path"),
    [
        (RepositoryNotFoundError, "org/none", "main", "config.json"),
        (RevisionNotFoundError, "org/model", "v2", "config.json"),
        (RevisionNotFoundError, "org/model", "0" * 40, "config.json"),
        (EntryNotFoundError, "org/model", "v1", "none.json"),
    ],
)
def test_not_found(commit, error, name, revision, path):
    with pytest.raises(error):
        hf_hub_download(name, path, revision=revision)
    if error is not EntryNotFoundError:
        with pytest.raises(error):
            snapshot_download(name, revision=revision)


@pytest.mark.parametrize(("token", "status"), [(OWNER, 200), (READER, 404), (False, 401)])
def test_a_private_repository(hub, client, token, status):
    hub.add_repo("org/secret", FILES, private=True)
    if status == 200:
        assert snapshot_download("org/secret", token=token)
    else:
        with pytest.raises(RepositoryNotFoundError) as caught:
            snapshot_download("org/secret", token=token)
        assert caught.value.response.status_code == status


@pytest.mark.parametrize(("token", "status"), [(READER, 403), (False, 401)])
def test_a_gated_repository(hub, client, token, status):
    hub.add_repo("org/gated", FILES, gated=True)
    with pytest.raises(GatedRepoError) as caught:
        snapshot_download("org/gated", token=token)
    assert caught.value.response.status_code == status and not hub.fetched


@pytest.mark.parametrize(("token", "status"), [(READER, 403), (False, 401), ("hf_nobody", 401)])
def test_who_may_write(hub, commit, token, status):
    additions = [CommitOperationAdd("config.json", b"{}")]
    for write in (
        lambda: HfApi(token=token).create_commit("org/model", additions, commit_message="Mine"),
        lambda: HfApi(token=token).create_repo("org/mine"),
        lambda: HfApi(token=token).create_tag("org/model", tag="mine"),
    ):
        with pytest.raises(HfHubHTTPError) as caught:
            write()
        assert caught.value.response.status_code == status
    assert list(hub.repos) == ["org/model"] and hub.repos["org/model"].branches["main"] == commit


# ---- faults ----


def test_a_cut_is_resumed_where_it_was(hub, client, fetch):
    client.set("DOWNLOAD_CHUNK_SIZE", 500)  # it forgets what is less than a chunk, and a chunk has 10 MiB
    hub.fail(Fault(DECODER, "GET", cut=1000))
    assert fetch() == GRAPH and client.waits == [1]
    first, second = hub.asked("GET", DECODER)
    assert (first.status, first.sent) == (200, 1000)
    assert (second.status, second.sent, second.headers["range"]) == (206, len(GRAPH) - 1000, "bytes=1000-")


def test_a_server_that_ignores_ranges(hub, client, fetch):
    client.set("DOWNLOAD_CHUNK_SIZE", 500)
    hub.fail(Fault(DECODER, "GET", cut=1000))
    hub.fail(Fault(DECODER, "GET", whole=True))
    assert fetch() == GRAPH
    _, second = hub.asked("GET", DECODER)
    assert second.headers["range"] == "bytes=1000-" and (second.status, second.sent) == (200, len(GRAPH))


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"cut": 0}, "peer closed connection"),
        ({"cut": 1000, "reset": True}, "reset by peer"),
        ({"silent": True}, "without sending a response"),
        ({"status": 503}, "503"),
        ({"status": 429}, "429"),
        ({"status": 403}, "gated"),
        ({"status": 401}, "401"),
        ({"status": 404}, "Entry Not Found"),
    ],
)
def test_a_download_that_fails_leaves_no_file(hub, client, fetch, fault, error):
    hub.fail(Fault(DECODER, "GET", times=None, **fault))
    with pytest.raises(Exception, match=re.compile(error, re.IGNORECASE)):
        fetch()
    assert not list((client.cache / "models--org--model/blobs").glob("*"))
    hub.heal()
    assert fetch() == GRAPH


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after(hub, client, fetch, status):
    hub.fail(Fault(DECODER, "HEAD", times=3, status=status, retry_after=7))
    assert fetch() == GRAPH and client.waits == [8.0, 8.0]  # the first time it does not wait at all


def test_a_wrong_byte_goes_unnoticed(hub, fetch):
    hub.fail(Fault(DECODER, "GET", flip=1234))
    wrong = fetch()
    assert len(wrong) == len(GRAPH) and [i for i in range(len(GRAPH)) if wrong[i] != GRAPH[i]] == [1234]
    assert fetch() == wrong and fetch(force_download=True) == GRAPH


def test_headers_that_contradict(hub, client, fetch):
    hub.fail(Fault(DECODER, "GET", headers={"ETag": '"other"'}))
    assert fetch() == GRAPH  # the client compares nothing
    hub.fail(Fault(DECODER, "HEAD", headers={"X-Repo-Commit": None}))
    with pytest.raises(ValueError, match="Force download failed"):
        fetch(force_download=True)
    hub.fail(Fault(DECODER, "HEAD", headers={"X-Repo-Commit": "0" * 40}))
    path = hf_hub_download("org/model", "graphs/decoder.onnx", revision="v1")
    assert f"/{'0' * 40}/" in path and (client.cache / "models--org--model/refs/v1").read_text() == "0" * 40


def test_a_slow_body(hub, fetch):
    hub.fail(Fault(DECODER, "GET", rate=4 * len(GRAPH)))
    start = time.monotonic()
    assert fetch() == GRAPH and time.monotonic() - start > 0.2


def test_a_late_answer(hub, client, fetch):
    client.set("HF_HUB_DOWNLOAD_TIMEOUT", 0.1)
    hub.fail(Fault(DECODER, "GET", delay=0.3))
    assert fetch() == GRAPH and client.waits == [1]


def test_nobody_listens(hub, client, fetch):
    hub.stop()
    with pytest.raises(LocalEntryNotFoundError, match="refused"):
        snapshot_download("org/model")
    hub.start()
    assert fetch() == GRAPH


def test_the_token_stays_here(hub, client, fetch):
    with StandIn() as other:
        other.repos = hub.repos
        hub.fail(Fault(DECODER, times=None, redirect=other.url.replace("127.0.0.1", "localhost")))
        assert fetch() == GRAPH
        assert {request.headers.get("authorization") for request in hub.requests} == {f"Bearer {OWNER}"}
        assert [(request.method, request.headers.get("authorization")) for request in other.requests] == [("GET", None)]


@pytest.mark.parametrize(("fault", "commits"), [({"status": 503}, 0), ({"silent": True}, 1)])
def test_a_commit_that_fails_or_whose_answer_is_lost(hub, commit, fault, commits):
    hub.fail(Fault("*/commit/*", "POST", **fault))
    with pytest.raises(Exception, match=r"503|without sending a response"):
        HfApi().create_commit("org/model", [CommitOperationAdd("more.json", b"{}")], commit_message="More")
    history = [past.id for past in hub.repos["org/model"].history()]
    assert history.index(commit) == commits


# ---- another server ----


@pytest.mark.parametrize("revision", ["main", "v1"])
def test_olah_serves_the_same(olah, client, folder, revision):
    commit = olah.add(f"org/{revision}", folder, tag="v1")
    found = snapshot_download(f"org/{revision}", revision=revision, endpoint=olah.url)
    assert Path(found).name == commit and contents(found) == FILES
