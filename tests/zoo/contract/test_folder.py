import hashlib
import json
import os
import stat
import sys
from dataclasses import asdict

import pytest

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.base.regular_files import open_regular
from pvae_zoo.checks.verification import verify_bundle
from pvae_zoo.contract import folder as folder_module
from pvae_zoo.contract.config import ROLES
from pvae_zoo.contract.folder import CONFIG, CONFIG_BYTES, EVALUATION, GOLDEN, WEIGHTS, Bundle, file_spec
from pvae_zoo.runtime import grid, networks
from pvae_zoo.runtime.model import Model

AGAIN = "pull or export the bundle again"


@pytest.fixture
def folder(gates, copy_bundle):
    return copy_bundle(gates.bundle)


@pytest.fixture
def older(folder):
    """A bundle as older versions exported it: no recipe, a checkpoint beside the graphs."""
    (folder / WEIGHTS).write_bytes(b"the weights")

    def change(data):
        del data["recipe"], data["progress"]
        data["weights"] = asdict(file_spec(folder / WEIGHTS))

    edit(folder, change)
    return folder


def edit(folder, change):
    """Change the parsed config; a value returned stands in place of the config."""
    path = folder / CONFIG
    data = json.loads(path.read_text())
    path.write_text(json.dumps(change(data) or data))


def error_of(call):
    with pytest.raises(PvaeZooError) as caught:
        call()
    return str(caught.value)


def test_a_bundle_is_its_config_and_the_files_it_names(gates, folder):
    bundle = Bundle(folder)
    assert bundle.config == gates.bundle.config and bundle.name == "tiny"
    assert [spec.file for spec in bundle.files()] == [*(f"{role}.onnx" for role in ROLES), GOLDEN]
    for role in ROLES:
        assert bundle.read_graph(role) == (folder / f"{role}.onnx").read_bytes()


def test_a_config_survives_its_own_json(gates, tmp_path):
    (tmp_path / CONFIG).write_text(gates.bundle.config.to_json())
    assert Bundle(tmp_path).config == gates.bundle.config


def test_nothing_is_stated_that_is_not_there(gates, folder, older):
    assert not {"weights"} & json.loads(gates.bundle.config.to_json()).keys()
    assert not {"recipe", "progress"} & json.loads(Bundle(older).config.to_json()).keys()


def test_a_bundle_of_an_older_make_is_read_verified_and_used(older):
    bundle = Bundle(older)
    assert bundle.files()[-1].file == WEIGHTS and bundle.read(bundle.config.weights) == b"the weights"
    assert verify_bundle(bundle).ok and len(Model(bundle, "cpu", 1).sample(1)) == 1
    (older / WEIGHTS).write_bytes(b"other weight")
    assert not verify_bundle(bundle).ok


def test_a_folder_without_a_config_is_no_bundle(tmp_path):
    assert error_of(lambda: Bundle(tmp_path)) == f"{tmp_path} is no bundle: it has no config.json"


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"format": 1', b"[" * 200_000])
def test_a_config_that_is_no_json_is_refused(folder, content):
    (folder / CONFIG).write_bytes(content)
    message = error_of(lambda: Bundle(folder))
    assert message.startswith(f"{folder / CONFIG} cannot be read: ") and message.endswith(AGAIN)


@pytest.mark.parametrize(("found", "shown"), [(2, "2"), ("1", "1"), (None, "None")])
def test_another_format_is_refused(folder, found, shown):
    edit(folder, lambda data: data.update(format=found))
    expected = f"{folder / CONFIG} has bundle format {shown}; this version reads format 1"
    assert error_of(lambda: Bundle(folder)) == expected


def test_json_that_is_no_object_is_refused(folder):
    (folder / CONFIG).write_text("[1]")
    assert "has bundle format None; this version reads format 1" in error_of(lambda: Bundle(folder))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda data: data.update(surprise=1), "surprise"),
        (lambda data: data["steps"]["decoder_step"]["geometry"].update(tilt=1), "tilt"),
        (lambda data: data["steps"]["decoder_step"].pop("geometry"), "geometry"),
        (lambda data: data["steps"]["decoder_step"]["geometry"].pop("slope"), "slope"),
        (lambda data: data["steps"]["decoder_step"]["geometry"].update(slope="3"), "slope"),
        (lambda data: data["image"].update(levels=1000), "levels"),
        (lambda data: data.update(graphs=[1]), "graphs"),
        (lambda data: data["graphs"]["decoder"].pop("sha256"), "sha256"),
        (lambda data: data["graphs"]["decoder"].update(size="big"), "size"),
    ],
)
def test_a_config_with_a_wrong_key_is_refused_and_the_key_named(folder, change, named):
    edit(folder, lambda data: change(data) and None)
    message = error_of(lambda: Bundle(folder))
    assert message.startswith(f"{folder / CONFIG} is not valid: ") and named in message and message.endswith(AGAIN)


@pytest.mark.parametrize("role", ROLES)
def test_a_config_without_a_graph_is_refused(folder, role):
    edit(folder, lambda data: data["graphs"].pop(role) and None)
    assert error_of(lambda: Bundle(folder)) == f"{folder / CONFIG} names no graph for {role}; export the bundle again"


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


TAMPERINGS = {
    "flipped bit": (flip, "is not what was published (SHA-256 differs): " + AGAIN),
    "cut short": (lambda path: path.write_bytes(path.read_bytes()[:-1]), "bytes, expected"),
    "longer": (lambda path: path.write_bytes(path.read_bytes() + b"\0"), "bytes, expected"),
    "empty": (lambda path: path.write_bytes(b""), "has 0 bytes, expected"),
    "missing": (lambda path: path.unlink(), "cannot be read (No such file or directory); " + AGAIN),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "cannot be read (Is a directory); " + AGAIN),
}


@pytest.mark.parametrize(("tamper", "expected"), TAMPERINGS.values(), ids=TAMPERINGS.keys())
@pytest.mark.parametrize("role", ROLES)
def test_a_tampered_graph_is_refused_before_a_session_is_made_of_it(folder, monkeypatch, role, tamper, expected):
    opened, open_session = [], networks.open_session

    def record(data, *rest):
        opened.append(data)
        return open_session(data, *rest)

    monkeypatch.setattr(networks, "open_session", record)
    monkeypatch.setattr(grid, "open_session", record)
    tamper(folder / f"{role}.onnx")

    def use_everything():
        model = Model(Bundle(folder), "cpu", 1)
        model.nll(model.sample(1))

    message = error_of(use_everything)
    assert message.startswith(str(folder / f"{role}.onnx")) and expected in message and AGAIN in message
    whole = {hashlib.sha256(data).hexdigest() for data in opened}
    assert whole <= {spec.sha256 for spec in Bundle(folder).files()}
    assert Bundle(folder).config.graphs[role].sha256 not in whole


@pytest.mark.parametrize("name", [GOLDEN, WEIGHTS])
def test_every_other_file_is_verified_too(folder, older, name):
    flip(folder / name)
    bundle = Bundle(folder)
    (spec,) = [spec for spec in bundle.files() if spec.file == name]
    assert error_of(lambda: bundle.read(spec)).startswith(f"{folder / name} is not what was published")


HOSTILE_NAMES = {
    "parent": "../decoder.onnx",
    "parent in the middle": "a/../decoder.onnx",
    "parents": "../../../../etc/passwd",
    "absolute": "/etc/passwd",
    "home": "~/decoder.onnx",
    "drive": "C:\\decoder.onnx",
    "drive, relative": "C:decoder.onnx",
    "share": "\\\\host\\share\\decoder.onnx",
    "parent of Windows": "..\\decoder.onnx",
    "folder": "a/decoder.onnx",
    "here": "./decoder.onnx",
    "slash at the end": "decoder.onnx/",
    "device of Windows": "con",
    "device of Unix": "/dev/zero",
    "stream": "decoder.onnx:hidden",
    "NUL": "decoder.onnx\0",
    "NUL alone": "\0",
    "line end": "decoder.onnx\n",
    "dot at the end": "decoder.onnx.",
    "space at the end": "decoder.onnx ",
    "empty": "",
    "dot": ".",
    "dots": "..",
    "very long": "d" * 100_000,
    "Cyrillic": "dec\u043eder.onnx",
    "full width": "\uff44ecoder.onnx",
    "reversed": "\u202exnno.redoced",
    "escape": "\x1b[2Jdecoder.onnx",
    "surrogate": "\ud800",
    "upper case": "DECODER.ONNX",
    "another graph": "encoder.onnx",
    "the config": "config.json",
    "URL": "https://example.org/decoder.onnx",
}


@pytest.mark.parametrize("name", HOSTILE_NAMES.values(), ids=HOSTILE_NAMES.keys())
@pytest.mark.parametrize("which", ["graph", "golden", "weights"])
def test_a_file_of_any_other_name_is_refused_before_one_is_opened(folder, older, monkeypatch, name, which):
    file = {"graph": "decoder.onnx", "golden": GOLDEN, "weights": WEIGHTS}[which]
    edit(folder, lambda data: (data["graphs"]["decoder"] if which == "graph" else data[which]).update(file=name))
    opened = []
    monkeypatch.setattr(folder_module, "open_regular", lambda path: opened.append(path.name) or open_regular(path))
    message = error_of(lambda: Bundle(folder))
    assert opened == [CONFIG]
    assert message.startswith(f"{folder / CONFIG} calls {file} '") and message.endswith(f"'; {AGAIN}")
    assert message.isprintable() and len(message) < 200 + len(str(folder))


def test_two_graphs_with_each_others_names_are_refused(folder):
    def swap(data):
        graphs = data["graphs"]
        graphs["encoder"], graphs["decoder"] = graphs["decoder"], graphs["encoder"]

    edit(folder, swap)
    assert "calls encoder.onnx 'decoder.onnx'" in error_of(lambda: Bundle(folder))


@pytest.mark.parametrize("role", ["surprise", "prior_step", "../encoder", "\x1b[2J", ""])
def test_a_graph_of_no_role_is_refused(folder, role):
    edit(folder, lambda data: data["graphs"].update({role: data["graphs"]["encoder"]}))
    message = error_of(lambda: Bundle(folder))
    assert "names a graph for '" in message and "which is no role" in message and message.isprintable()


@pytest.mark.parametrize(
    "content",
    [
        b'{"format": ' + b"9" * 5000 + b"}",
        b'{"format": NaN}',
        b'{"format": 1, "training": {"hours": Infinity}}',
        b'{"format": ' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"format": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
        b'{"format": "\\u001b[2J"}',
        b'{"format": 1, "\\u001b[2J": 1}',
        b'{"format": 1, "name": ' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"format": 1, "name": ' + b"9" * 4200 + b"}",
        b'{"format": 1, "name": "' + b"x" * (1 << 20) + b'"}',
        b" " * ((1 << 20) + 1),
    ],
    ids=range(11),
)
def test_json_of_malice_is_one_short_line(folder, content):
    (folder / CONFIG).write_bytes(content)
    message = error_of(lambda: Bundle(folder))
    assert message.startswith(f"{folder / CONFIG} ") and message.isprintable()
    assert len(message) < 400 + len(str(folder))


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_json_does_not_have_are_refused(folder, constant):
    text = (folder / CONFIG).read_text()
    (folder / CONFIG).write_text(text.replace('"hours": 2.0', f'"hours": {constant}'))
    assert error_of(lambda: Bundle(folder)) == f"{folder / CONFIG} cannot be read: {constant} is not JSON; {AGAIN}"


def test_a_config_larger_than_any_of_ours_is_refused(folder):
    data = (folder / CONFIG).read_bytes()
    (folder / CONFIG).write_bytes(data.ljust(CONFIG_BYTES))
    Bundle(folder)
    (folder / CONFIG).write_bytes(data.ljust(CONFIG_BYTES + 1))
    assert error_of(lambda: Bundle(folder)) == f"{folder / CONFIG} cannot be read: it is larger than 1 MiB; {AGAIN}"


def test_the_hash_of_the_config_is_of_the_bytes_that_were_parsed(gates, folder):
    bundle = Bundle(folder)
    assert bundle.config_sha256 == hashlib.sha256((folder / CONFIG).read_bytes()).hexdigest()
    with (folder / CONFIG).open("a") as file:
        file.write(" ")
    assert Bundle(folder).config == bundle.config
    assert Bundle(folder).config_sha256 == hashlib.sha256((folder / CONFIG).read_bytes()).hexdigest()
    assert Bundle(folder).config_sha256 != bundle.config_sha256 == gates.bundle.config_sha256


@pytest.mark.skipif(sys.platform != "linux", reason="makes pipes, sockets and links to devices")
@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["encoder.onnx", GOLDEN, WEIGHTS, CONFIG])
@pytest.mark.parametrize("what", ["pipe", "link to a pipe", "link to a device", "socket"])
def test_what_only_looks_like_a_file_is_refused_at_once(folder, older, name, what):
    path = folder / name
    path.unlink()
    if what == "pipe":
        os.mkfifo(path)
    elif what == "link to a pipe":
        os.mkfifo(folder / "pipe")
        path.symlink_to("pipe")
    elif what == "link to a device":
        path.symlink_to("/dev/zero")
    else:
        os.mknod(path, stat.S_IFSOCK | 0o600)

    def read_everything():
        bundle = Bundle(folder)
        for spec in bundle.files():
            bundle.read(spec)

    message = error_of(read_everything)
    assert message.startswith(f"{path} cannot be read") and message.endswith(AGAIN)


def test_a_link_to_a_file_is_as_good_as_the_file(gates, tmp_path):
    for path in gates.bundle.folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    bundle = Bundle(tmp_path)
    for spec in bundle.files():
        assert bundle.read(spec) == gates.bundle.read(spec)


def test_the_digest_is_of_the_graphs_alone(gates, upsample, folder):
    in_order = "".join(gates.bundle.config.graphs[role].sha256 for role in ROLES)
    assert gates.bundle.digest == hashlib.sha256(in_order.encode()).hexdigest()
    assert Bundle(folder).digest == gates.bundle.digest != upsample.bundle.digest
    edit(folder, lambda data: data.update(title="Another"))
    assert Bundle(folder).digest == gates.bundle.digest
    edit(folder, lambda data: data["graphs"]["prior"].update(sha256="0" * 64))
    assert Bundle(folder).digest != gates.bundle.digest


def test_figures_are_read_where_there_are_some(folder):
    bundle = Bundle(folder)
    assert bundle.evaluation() is None
    (folder / EVALUATION).write_text('{"results": []}')
    assert bundle.evaluation() == {"results": []}


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"results": 1}', '{"results": [1]}'])
def test_figures_that_are_none_are_an_error_with_the_remedy(folder, content):
    (folder / EVALUATION).write_text(content)
    message = error_of(Bundle(folder).evaluation)
    assert message.startswith(f"{folder / EVALUATION} ") and message.endswith("run pvae-zoo evaluate --save again")


def test_a_file_spec_is_name_size_and_hash(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"abc")
    spec = file_spec(tmp_path / "a.bin")
    assert (spec.file, spec.size, spec.sha256) == ("a.bin", 3, hashlib.sha256(b"abc").hexdigest())
