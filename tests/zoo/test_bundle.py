import hashlib
import json

import pytest

from pvae_zoo.bundle import CONFIG, EVALUATION, GOLDEN, ROLES, WEIGHTS, Bundle, file_spec
from pvae_zoo.errors import PvaeZooError
from pvae_zoo.runtime import grid, networks
from pvae_zoo.runtime.model import PixelVAE

AGAIN = "pull or export the bundle again"


@pytest.fixture
def folder(gates, copy_bundle):
    return copy_bundle(gates.bundle)


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
    assert [spec.file for spec in bundle.files()] == [*(f"{role}.onnx" for role in ROLES), GOLDEN, WEIGHTS]
    for role in ROLES:
        assert bundle.read_graph(role) == (folder / f"{role}.onnx").read_bytes()


def test_a_config_survives_its_own_json(gates, tmp_path):
    (tmp_path / CONFIG).write_text(gates.bundle.config.to_json())
    assert Bundle(tmp_path).config == gates.bundle.config


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
        model = PixelVAE(Bundle(folder), "cpu", 1)
        model.nll(model.sample(1))

    message = error_of(use_everything)
    assert message.startswith(str(folder / f"{role}.onnx")) and expected in message and AGAIN in message
    whole = {hashlib.sha256(data).hexdigest() for data in opened}
    assert whole <= {spec.sha256 for spec in Bundle(folder).files()}
    assert Bundle(folder).config.graphs[role].sha256 not in whole


@pytest.mark.parametrize("name", [GOLDEN, WEIGHTS])
def test_every_other_file_is_verified_too(folder, name):
    flip(folder / name)
    bundle = Bundle(folder)
    (spec,) = [spec for spec in bundle.files() if spec.file == name]
    assert error_of(lambda: bundle.read(spec)).startswith(f"{folder / name} is not what was published")


@pytest.mark.parametrize(
    "name", ["../decoder.onnx", "/etc/passwd", "a/b.onnx", "./decoder.onnx", "decoder.onnx/", "a\0b"]
)
def test_a_file_outside_the_bundle_is_refused(folder, name):
    outside = folder.parent / "decoder.onnx"
    outside.write_bytes((folder / "decoder.onnx").read_bytes())
    edit(folder, lambda data: data["graphs"]["decoder"].update(file=name))
    message = error_of(lambda: Bundle(folder).read_graph("decoder"))
    assert message == f"{folder / CONFIG} names the file {name!r} outside the bundle"


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_a_folder_in_place_of_a_file_is_refused(folder, name):
    edit(folder, lambda data: data["graphs"]["decoder"].update(file=name))
    with pytest.raises(PvaeZooError):
        Bundle(folder).read_graph("decoder")


def test_the_digest_is_of_the_graphs_alone(gates, upsample, folder):
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
