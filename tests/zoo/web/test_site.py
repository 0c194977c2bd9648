"""The site: what is at which address, and as files."""

import json
import os

import pytest

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.folder import Bundle
from pvae_zoo.web import site as site_module
from pvae_zoo.web.site import INDEX, built_page, make_site, write_site


def written(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_it_holds_the_page_the_contracts_and_the_graphs_and_nothing_else(page, levels, tmp_path):
    site = make_site([levels.bundle], page)
    roles = levels.bundle.config.roles
    graphs = {f"bundles/tiny/{role}.onnx" for role in roles}
    assert set(site.files) == {
        "index.html", "assets/index.js", "assets/ort.wasm", "bundles/tiny/config.json", *graphs
    }  # fmt: skip
    assert site.read("bundles/tiny/encoder.onnx") == levels.bundle.read_graph("encoder")
    assert json.loads(site.read(INDEX)) == {
        "bundles": [{"name": "tiny", "title": "A tiny model", "folder": "bundles/tiny/"}]
    }
    assert site.read("bundles/tiny/golden.npz") is None
    size = write_site(site, tmp_path / "out")
    files = written(tmp_path / "out")
    assert set(files) == {INDEX, *site.files} and sum(map(len, files.values())) == size
    assert all(files[address] == site.read(address) for address in files)


def test_two_models_of_one_name(page, gates, colour):
    with pytest.raises(PvaeZooError, match="two of the models are called 'tiny'"):
        make_site([gates.bundle, colour.bundle], page)


def test_a_damaged_graph_is_not_published(page, gates, copy_bundle):
    folder = copy_bundle(gates.bundle)
    (folder / "decoder.onnx").write_bytes((folder / "decoder.onnx").read_bytes()[:-7])
    with pytest.raises(PvaeZooError, match=r"decoder\.onnx has \d+ bytes, expected"):
        make_site([Bundle(folder)], page)


def test_a_page_that_was_not_built(tmp_path, monkeypatch):
    monkeypatch.setattr(site_module.resources, "files", lambda package: tmp_path)
    monkeypatch.setattr(site_module, "__file__", str(tmp_path / "web" / "site.py"))  # nor beside the sources
    with pytest.raises(PvaeZooError, match="npm ci --prefix web && npm run build --prefix web"):
        built_page()


def test_a_site_is_replaced_and_leaves_nothing_of_the_old(page, gates, colour, tmp_path):
    out = tmp_path / "out"
    write_site(make_site([gates.bundle], page), out)
    (out / "assets" / "old.js").write_text("old")
    site = make_site([colour.bundle], page)
    write_site(site, out)
    assert set(written(out)) == {INDEX, *site.files}
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("content", ["thesis.txt", "index.html"])
def test_a_folder_with_something_else_is_left_alone(page, gates, tmp_path, content):
    out = tmp_path / "out"
    out.mkdir()
    (out / content).write_text("mine")
    with pytest.raises(PvaeZooError, match="holds something that is no such site: choose an empty folder"):
        write_site(make_site([gates.bundle], page), out)
    assert written(out) == {content: b"mine"}


def test_a_file_is_no_folder(page, gates, tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(PvaeZooError, match="is a file: choose a folder"):
        write_site(make_site([gates.bundle], page), tmp_path / "out")


def test_a_full_disk_loses_nothing(page, gates, small_disk):
    old = small_disk / "out"
    (old / "bundles").mkdir(parents=True)
    (old / INDEX).write_text("the old site")
    (page / "assets" / "ort.wasm").write_bytes(os.urandom(1 << 17))
    with pytest.raises(PvaeZooError, match=r"cannot write .*out: the disk is full"):
        write_site(make_site([gates.bundle], page), old)
    assert written(small_disk) == {f"out/{INDEX}": b"the old site"}


def test_if_the_new_site_cannot_take_its_place_the_old_one_stays(page, gates, tmp_path, monkeypatch):
    out, site = tmp_path / "out", make_site([gates.bundle], page)
    write_site(site, out)
    before = written(out)
    replace = type(out).replace

    def refuse(self, target):
        if target == out and self.name.endswith(".part") and (self / INDEX).is_file() and not refused:
            refused.append(self)
            raise PermissionError(13, "no")
        return replace(self, target)

    refused = []
    monkeypatch.setattr(type(out), "replace", refuse)
    with pytest.raises(PvaeZooError, match="no permission"):
        write_site(site, out)
    assert refused and written(out) == before
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []
