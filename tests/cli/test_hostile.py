"""What others wrote (bundles, file names, graphs, parts, answers of servers) reaches no terminal as it is."""

import json
import shutil

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from huggingface_hub import constants
from PIL import Image

from pvae_zoo.base.printable import spelled_lines
from pvae_zoo.cli.app import COMMANDS, cli
from pvae_zoo.contract.folder import CONFIG, EVALUATION

EVIL = "\x1b]0;owned\x07\u202egnp.\x9b\u2066x"
EVIL_FILE = "evil\x1b[2J\u202e\n\x07"


def lines(bundle, images, data):
    """A command line for every command, on a bundle, a folder of images and a data set."""
    drawing = ["--model", bundle, "--trust"]
    return {
        "list": [],
        "info": [bundle],
        "pull": [bundle, "--to", "copy"],
        "use": [bundle],
        "verify": [bundle, "--trust"],
        "sample": [*drawing, "--n", "1", "--trace", "trace.gif"],
        "nll": [*drawing, images],
        "calibrate": [*drawing, images, "--out", "known.json"],
        "screen": [*drawing, images, "--with", data],
        "merge": [data],
        "reconstruct": [*drawing, images],
        "vary": [*drawing, "--n", "1"],
        "interpolate": [*drawing, "--n", "1"],
        "complete": [*drawing, images, "--rows", "4"],
        "train": [bundle, "--data", data],
        "finetune": [bundle, data, "--name", "mine", "--dry-run"],
        "evaluate": [bundle, "--trust", "--data", data],
        "export": [bundle, "--out", "exported"],
        "convert": [bundle, "--trust", "--precision", "int8", "--out", "converted"],
        "reproduce": ["samples", "--out", data],
        "register": [bundle],
        "push": [bundle, "org/repo"],
        "conformance": [bundle, "--trust", "--runtimes", "onnxruntime"],
        "explain": [bundle],
        "web": [bundle, "--trust", "--out", "site"],
        "selftest": [bundle, "--trust"],
        "doctor": ["--offline"],
    }


@pytest.fixture
def shown(tmp_path, monkeypatch, folder, zoo):
    """A function that runs a command on a bundle and gives all that it shows, once nothing in it is obeyed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    images = folder.rename(tmp_path / EVIL_FILE)
    (images / f"{EVIL_FILE}.png").write_bytes(b"no image")
    data = tmp_path / f"data{EVIL_FILE}"
    data.mkdir()

    def shown(name, bundle):
        line = [name, *map(str, lines(bundle, images, data)[name])]
        result = CliRunner().invoke(cli, line, prog_name="pvae-zoo")
        text = result.stdout + result.stderr
        assert text and text == spelled_lines(text), text
        assert not any(ord(char) < 32 and char != "\n" for char in text)
        assert (result.exit_code == 1) <= ("Error: " in text or "PROBLEM" in text)
        return text

    return shown


def edited(folder, change):
    config = json.loads((folder / CONFIG).read_text())
    change(config)
    (folder / CONFIG).write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("name", COMMANDS)
def test_a_bundle_with_hostile_words(shown, eight, copy_bundle, name):
    for change in (
        lambda config: config.update(name=EVIL),
        lambda config: config.update(title=EVIL),
        lambda config: config["training"].update(hardware=EVIL),
        lambda config: config["graphs"]["encoder"]["inputs"][0].update(name=EVIL),
    ):
        folder = edited(copy_bundle(eight.bundle), change)
        shown(name, folder)
        shutil.rmtree(folder)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_sound_bundle_in_a_place_with_a_hostile_name(shown, eight, tmp_path, name):
    text = shown(name, shutil.copytree(eight.bundle.folder, tmp_path / f"bundle{EVIL_FILE}"))
    if name in ("info", "verify", "use", "register", "pull"):
        assert "\\x1b[2J\\u202e" in text


@pytest.mark.parametrize("name", ["verify", "selftest", "sample", "nll", "conformance", "info"])
def test_a_graph_with_hostile_names(shown, eight, copy_bundle, name):
    folder = copy_bundle(eight.bundle)

    def rename(config):
        import hashlib

        for role, spec in config["graphs"].items():
            graph = onnx.load(folder / f"{role}.onnx")
            for node in graph.graph.node:
                node.name, node.output[0] = EVIL, EVIL  # so that one of them is made twice, or none is
            (folder / f"{role}.onnx").write_bytes(data := graph.SerializeToString())
            spec |= {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    edited(folder, rename)
    assert name in ("info", "nll") or "onnx" in shown(name, folder)
    shown(name, folder)


def test_hostile_figures_are_no_figures(shown, eight, copy_bundle):
    folder = copy_bundle(eight.bundle)
    (folder / EVALUATION).write_text(json.dumps({"results": [{"split": EVIL, "model_sha256": eight.bundle.digest}]}))
    assert "measured" not in shown("info", folder)
    (folder / EVALUATION).write_text(EVIL)
    assert "is not valid JSON" in shown("info", folder)


def test_hostile_parts(run, model, folder, tmp_path):
    assert run("nll", "--model", model, folder, "--shard", "1/1", "--out", "parts").exit_code == 0
    (part,) = (tmp_path / "parts").iterdir()
    head, row, *rows = part.read_text().splitlines()
    row = json.dumps(json.loads(row) | {"path": EVIL_FILE})
    for first in (head, json.dumps(json.loads(head) | {"model": EVIL, "provider": EVIL})):
        part.write_text("\n".join([first, row, *rows, ""]))
        result = run("merge", "parts")
        assert result.exit_code == 0 and "evil\\x1b[2J\\u202e\\n" in result.stdout
        assert result.output == spelled_lines(result.output)


def test_images_keep_names_of_their_own(run, model, tmp_path):
    (tmp_path / "odd").mkdir()
    for name in ("a\x07", "a\x08", "b\\c"):
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "odd" / f"{name}.png")
    result = run("reconstruct", "--model", model, "odd", "--out", "drawn/")
    assert result.exit_code == 0
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["a_x07.png", "a_x08.png", "b_c.png"]
