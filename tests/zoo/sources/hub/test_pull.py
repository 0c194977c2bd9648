"""`pull` through the real client, over real HTTP."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from huggingface_hub import constants
from standin import Fault

import pvae_zoo
from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.cli.app import cli
from pvae_zoo.contract.folder import CONFIG, Bundle
from pvae_zoo.publishing.push import contents_of
from pvae_zoo.sources.hub import fetch
from pvae_zoo.sources.pull import plan, pull
from pvae_zoo.sources.registry import open_bundle, register, resolve

GRAPHS = ["decoder.onnx", "decoder_context.onnx", "decoder_step.onnx", "encoder.onnx", "prior.onnx"]
ALL = sorted([*GRAPHS, "LICENSE", "README.md", "config.json", "golden.npz"])


@pytest.fixture
def files(gates):
    """The bundle as it is published."""
    return contents_of(gates.bundle)


@pytest.fixture
def published(hub, client, files):
    """The commit of org/tiny, which has the tag v1."""
    return hub.add_repo("org/tiny", files, tag="v1")


@pytest.fixture
def other(make_tiny):
    """A later version, whose prior and encoder's golden vectors are its own."""
    return contents_of(make_tiny(image=(1, 7, 6, 2), latents=3, input_rows=2, rows=2, reach=2).bundle)


def error_of(model="org/tiny", **options):
    with pytest.raises(PvaeZooError) as caught:
        pull(model, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def run(*args):
    return CliRunner().invoke(cli, list(args), prog_name="pvae-zoo")


def damage(folder, name):
    path = (folder / name).resolve()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def visible():
    """Every file that the cache shows under its name, with its content."""
    cache = Path(constants.HF_HUB_CACHE)
    return {path.name: path.read_bytes() for path in cache.glob("models--*/snapshots/*/*")}


# ---- what a pull brings ----


@pytest.mark.parametrize("name", ["org/tiny", "hf://org/tiny", "org/tiny@v1", "hf://org/tiny@main"])
def test_a_pull_brings_every_file_once(hub, published, gates, name):
    pulled = pull(name)
    assert hub.fetched == ALL == sorted(pulled.downloaded)
    assert pulled.source.revision == published and pulled.bundle.digest == gates.bundle.digest
    hub.forget()
    assert pull(name).downloaded == () and hub.fetched == []
    assert resolve(name) == pulled.bundle.folder
    assert pvae_zoo.load(name).sample(1).shape == (1, 1, 7, 6)


def test_a_commit_is_a_revision(hub, published, files, other):
    newer = hub.add_repo("org/tiny", other)
    assert pull(f"org/tiny@{published}").source.revision == published
    assert pull("org/tiny").source.revision == newer
    assert {resolve(f"org/tiny@{c}").name for c in (published, newer)} == {published, newer}


def test_an_update_fetches_what_has_changed(hub, published, other, files):
    pull("org/tiny")
    newer = hub.add_repo("org/tiny", other)
    hub.forget()
    assert pull("org/tiny").source.revision == newer and resolve("org/tiny").name == newer
    assert hub.fetched == [name for name in ALL if files[name] != other[name]]


def test_an_update_that_fails_leaves_the_last_version(hub, published, other):
    pull("org/tiny")
    hub.add_repo("org/tiny", other)
    hub.fail(Fault("*/decoder.onnx", "GET", times=None, status=404))
    assert "org/tiny" in error_of()
    assert resolve("org/tiny").name == published and pvae_zoo.load("org/tiny").sample(1).shape == (1, 1, 7, 6)


def test_a_branch_that_moves_during_the_pull_is_followed(hub, published, other, monkeypatch):
    real, moved = fetch.note_revision, []

    def note(name):
        if not moved:
            moved.append(hub.add_repo("org/tiny", other))
        return real(name)

    monkeypatch.setattr(fetch, "note_revision", note)
    assert pull("org/tiny").source.revision == moved[0] == resolve("org/tiny").name


def test_a_plan_downloads_nothing(hub, client, published, files):
    planned = plan("org/tiny")
    assert planned.bytes_missing == sum(map(len, files.values())) and sorted(planned.missing) == ALL
    result = run("pull", "org/tiny", "--dry-run", "--json")
    assert json.loads(result.stdout)["download_bytes"] == planned.bytes_missing
    assert hub.fetched == [] and not [path for path in client.home.rglob("*") if path.is_file()]
    pull("org/tiny")
    hub.forget()
    assert plan("org/tiny").missing == () and "nothing to download" in run("pull", "org/tiny", "--dry-run").stdout
    assert hub.fetched == []


def test_a_plan_of_what_is_no_bundle(hub, client):
    hub.add_repo("org/tiny", {"model.bin": b"x"})
    result = run("pull", "org/tiny", "--dry-run")
    assert result.exit_code == 1 and "is no bundle, or not a whole one: it has no config.json" in result.stderr


def test_the_command_says_what_it_did(hub, published, tmp_path):
    result = run("pull", "org/tiny@v1", "--to", str(tmp_path / "copy"), "--json")
    found = json.loads(result.stdout)
    assert found["repo"] == "org/tiny" and found["commit"] == published and not result.stderr
    assert sorted(found["downloaded"]) == ALL and found["path"] == str(tmp_path / "copy")
    assert (tmp_path / "copy" / "README.md").read_text().startswith("---\n")
    line = run("pull", "org/tiny@v1").stdout
    assert line.startswith(f"tiny (org/tiny@{published}) is at ") and "all hashes hold)" in line
    assert line.endswith("hf://org/tiny@v1 is the current model now: commands mean it when none is named\n")


def test_list_and_doctor_know_what_was_pulled(hub, published):
    pull("org/tiny")
    assert f"org/tiny@{published[:8]}" in run("list").stdout
    assert "all hashes hold" in run("doctor").stdout and f"{hub.url} answers" in run("doctor").stdout
    damage(resolve("org/tiny"), "decoder.onnx")
    result = run("doctor", "--offline")
    assert result.exit_code == 1 and f"run pvae-zoo pull org/tiny@{published} --repair" in result.stdout


def test_a_model_of_the_zoo_is_pulled_from_where_it_is_published(hub, published, gates, tmp_path, monkeypatch):
    from pvae_zoo.sources import registry

    shutil.copytree(gates.bundle.folder, tmp_path / "zoo" / "birds")
    monkeypatch.setattr(registry, "bundles_folder", lambda: tmp_path / "zoo")
    register(open_bundle("birds"), license="mit", repo="org/tiny", commit=published)
    shutil.rmtree(tmp_path / "zoo" / "birds")
    assert pull("birds").source.revision == published and pvae_zoo.load("birds").name == "tiny"


# ---- without a network ----


def test_offline_asks_nobody(hub, published):
    pull("org/tiny")
    hub.forget()
    assert pull("org/tiny", offline=True).source.revision == published and hub.requests == []
    assert pull("org/tiny@v1").source.revision == published
    assert f"is not in the cache at {constants.HF_HUB_CACHE}" in error_of("org/other", offline=True)


def test_a_hub_that_is_down_is_a_note_where_the_cache_will_do(hub, published):
    pull("org/tiny")
    hub.stop()
    result = run("pull", "org/tiny")
    assert (
        result.exit_code == 0 and "cannot be reached" in result.stderr and "this is what the cache has" in result.stderr
    )
    assert f"org/other: {hub.url} cannot be reached" in error_of("org/other")
    assert f"{hub.url} cannot be reached" in error_of(repair=True)


def test_the_clients_offline_setting_is_kept(hub, client, published):
    client.offline()
    assert "HF_HUB_OFFLINE is set" in error_of() and hub.requests == []


# ---- damage ----


@pytest.mark.parametrize("name", [*GRAPHS, "golden.npz", CONFIG])
def test_damage_is_noticed_offline_and_repair_fetches_that_file_alone(hub, published, gates, name):
    folder = pull("org/tiny").bundle.folder
    damage(folder, name)
    hub.forget()
    for options in ({"offline": True}, {}):
        assert name in error_of(**options) and "run pvae-zoo pull org/tiny" in error_of(**options)
    assert hub.fetched == []
    assert pull("org/tiny", repair=True).downloaded == (name,) and hub.fetched == [name]
    assert pull("org/tiny", offline=True).bundle.digest == gates.bundle.digest


def test_a_damaged_graph_never_reaches_onnxruntime(hub, published, monkeypatch):
    damage(pull("org/tiny").bundle.folder, "encoder.onnx")
    monkeypatch.setattr("pvae_zoo.runtime.networks.open_session", lambda *a: pytest.fail("a session was made"))
    model = pvae_zoo.load("org/tiny")
    with pytest.raises(PvaeZooError, match=r"encoder\.onnx is not what was published"):
        model.encode(np.zeros((1, *model.image.chw), np.uint8))


def test_a_deleted_file_is_fetched_again(hub, published):
    folder = pull("org/tiny").bundle.folder
    (folder / "prior.onnx").resolve().unlink()
    assert "missing or damaged: prior.onnx" in error_of(offline=True)
    assert pull("org/tiny").downloaded == ("prior.onnx",)


def test_a_byte_that_arrives_wrong_once_is_fetched_again(hub, published, files):
    hub.fail(Fault("*/encoder.onnx", "GET", flip=100))
    pull("org/tiny")
    assert hub.fetched.count("encoder.onnx") == 2 and visible()["encoder.onnx"] == files["encoder.onnx"]


def test_a_repository_that_gives_other_bytes_is_refused_and_forgotten(hub, published):
    hub.fail(Fault("*/encoder.onnx", "GET", times=None, flip=100))
    assert "gives other bytes for encoder.onnx than its config.json says" in error_of()
    assert "encoder.onnx" not in visible()
    hub.heal()
    assert "encoder.onnx" in pull("org/tiny").downloaded


def test_swapped_files_are_refused(hub, client, files):
    swapped = {**files, "prior.onnx": files["encoder.onnx"], "encoder.onnx": files["prior.onnx"]}
    hub.add_repo("org/tiny", swapped)
    assert "its config.json says" in error_of() and not set(visible()) - {CONFIG}


@pytest.mark.parametrize(
    "name", ["../encoder.onnx", "/etc/passwd", "a/../../b.onnx", "..\\x.onnx", "con", "x\0.onnx", ""]
)
def test_a_hostile_name_in_a_config_brings_nothing(hub, client, files, name):
    config = json.loads(files[CONFIG])
    config["graphs"]["encoder"]["file"] = name
    hub.add_repo("org/tiny", {**files, CONFIG: json.dumps(config).encode()})
    assert CONFIG in error_of() and hub.fetched == [CONFIG]


def test_a_repository_that_is_not_whole_is_refused_before_the_download(hub, client, files):
    hub.add_repo("org/tiny", {name: data for name, data in files.items() if name != "prior.onnx"})
    assert "lacks prior.onnx, which its config.json names" in error_of() and hub.fetched == [CONFIG]
    hub.add_repo("org/short", {**files, "prior.onnx": files["prior.onnx"][:-1]})
    assert "not downloaded" in error_of("org/short")


def test_what_is_no_bundle_is_said_to_be_none(hub, client):
    hub.add_repo("org/tiny", {"model.bin": b"x"})
    assert "is no bundle, or not a whole one: it has no config.json" in error_of()


def test_repair_mends_what_repositories_share(hub, client, published, gates):
    folder = pull("org/tiny").bundle.folder
    blob = (folder / "encoder.onnx").resolve()
    shared = client.cache / "blobs" / "ab" / "shared"
    shared.parent.mkdir(parents=True)
    blob.rename(shared)
    blob.symlink_to(shared)
    damage(folder, "encoder.onnx")
    assert pull("org/tiny", repair=True).downloaded == ("encoder.onnx",)
    assert not shared.exists() and pull("org/tiny", offline=True).bundle.digest == gates.bundle.digest


# ---- what servers do ----


def test_a_server_that_gives_another_commit_is_not_believed(hub, published):
    hub.fail(Fault("*/config.json", times=None, headers={"X-Repo-Commit": "d" * 40}))
    assert f"gives the commit {'d' * 40} for org/tiny@{published}: do not use it" in error_of()


def test_a_server_that_never_answers_is_given_up(hub, published, monkeypatch):
    monkeypatch.setattr(fetch, "_PATIENCE", 0.3)
    hub.fail(Fault(delay=20, times=None))
    assert "cannot be reached" in error_of()


def test_a_body_that_is_cut_is_taken_up_where_it_broke(hub, published, files):
    hub.fail(Fault("*/decoder.onnx", "GET", cut=2000))
    pull("org/tiny")
    assert visible()["decoder.onnx"] == files["decoder.onnx"]


def test_a_server_that_says_when_to_come_back_is_waited_for(hub, client, published):
    hub.fail(Fault("*/encoder.onnx", "GET", status=429, retry_after=7))
    assert sorted(pull("org/tiny").downloaded) == ALL and 7 <= sum(client.waits) < 10


def test_a_server_that_is_down_for_a_while_costs_no_file_twice(hub, published):
    hub.fail(Fault("*/encoder.onnx", "GET", status=503))
    assert "answers 503: try again" in error_of()
    pull("org/tiny")
    assert sorted({*hub.fetched}) == ALL and len(hub.fetched) == len(ALL) + 1


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        (Fault(times=None, status=429), "answers 429: try again in a few minutes"),
        (Fault(times=None, status=503), "answers 503: try again in a few minutes"),
        (Fault(times=None, status=403), "asks for its terms to be accepted: do so at"),
        (Fault(times=None, silent=True), "cannot be reached"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_server_that_refuses_is_one_line(hub, published, fault, line):
    hub.fail(fault)
    assert line in error_of() and "org/tiny" in error_of()


def test_what_does_not_exist_is_one_line(hub, published):
    assert error_of("org/none").startswith(f"no repository org/none at {hub.url}, or it is private: check the spelling")
    assert "has no revision 'v9'" in error_of("org/tiny@v9")


def test_a_private_repository_needs_a_token(hub, client, files, monkeypatch):
    hub.add_repo("org/secret", files, private=True)
    assert pull("org/secret").bundle.name == "tiny"
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    shutil.rmtree(constants.HF_HUB_CACHE)
    assert "HF_TOKEN" in error_of("org/secret")


# ---- disks ----


def _no_half_file(files):
    assert all(files[name] == data for name, data in visible().items())


@pytest.fixture
def full_disk(small_disk):
    """A disk with room for the config and hardly more."""
    (small_disk / "other").write_bytes(bytes(40 << 10))
    return small_disk


def test_a_disk_without_space_is_said_before_the_download(hub, published, full_disk, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(full_disk / "hub"))
    assert "free some space, or set HF_HOME to another disk" in error_of() and hub.fetched == [CONFIG]


@pytest.mark.filterwarnings("ignore:Not enough free disk space")
def test_a_disk_that_fills_up_leaves_no_half_file(hub, published, full_disk, files, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(full_disk / "hub"))
    monkeypatch.setattr(fetch, "_check_space", lambda needed: None)
    assert "the disk is full" in error_of()
    _no_half_file(files)


def test_a_read_only_cache_is_used_and_not_written(hub, published, small_disk, files, monkeypatch):
    cache = small_disk / "hub"
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    pull("org/tiny")
    hub.add_repo("org/other", files)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert pull("org/tiny").downloaded == () and pull("org/tiny", offline=True).downloaded == ()
    assert "read-only" in error_of("org/other") and str(cache) in error_of("org/other")


def test_a_server_that_none_of_us_wrote(olah, point_client, files, gates, tmp_path):
    folder = tmp_path / "published"
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    olah.add("org/tiny", folder, "v1")
    point_client(olah.url)
    for name in ("org/tiny", "org/tiny@v1"):
        assert pull(name).bundle.digest == gates.bundle.digest
    assert Bundle(resolve("org/tiny")).digest == gates.bundle.digest
    assert "no repository org/none" in error_of("org/none") or "cannot" in error_of("org/none")
    assert os.path.islink(resolve("org/tiny") / "encoder.onnx")


@pytest.mark.parametrize(
    "setting",
    [
        {"HTTPS_PROXY": "foo://x:1", "HTTP_PROXY": "foo://x:1"},
        {"HTTP_PROXY": "http://x:port", "HTTPS_PROXY": "http://x:port"},
        {"HF_TOKEN": "\u00e9"},
        {"SSL_CERT_FILE": "/etc/passwd", "HF_ENDPOINT": "https://127.0.0.1:9"},
        {"SSL_CERT_FILE": "/nonexistent", "HF_ENDPOINT": "https://127.0.0.1:9"},
        {"HF_ENDPOINT": "ht!tp:/x"},
    ],
    ids=lambda setting: " ".join(map("=".join, setting.items())),
)
def test_a_network_that_is_set_up_wrongly_is_one_line(hub, hub_env, setting):
    environment = hub_env(hub.url) | {"NO_PROXY": ""} | setting
    command = [sys.executable, "-m", "pvae_zoo", "pull", "org/tiny"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and done.stdout == "" and done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"Error: org/tiny: {environment['HF_ENDPOINT']} cannot be ")
    assert "check the network, the proxy" in done.stderr or "check HF_ENDPOINT, HF_TOKEN" in done.stderr


def test_a_warning_of_a_server_is_spelled_out(hub, hub_env, published):
    hub.fail(Fault("*/api/models/*", times=None, headers={"X-HF-Warning": "news; \x1b[31mowned"}))
    command = [sys.executable, "-m", "pvae_zoo", "pull", "org/tiny"]
    done = subprocess.run(command, env=hub_env(hub.url), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "\\x1b[31mowned" in done.stderr and "\x1b" not in done.stderr


def test_what_a_server_says_of_an_error_is_spelled_out(hub, published):
    hub.fail(Fault(times=None, status=418, headers={"X-Error-Message": "\x1b[31mowned"}))
    assert error_of().isprintable()
