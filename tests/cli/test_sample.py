import errno
import json
import re
import shlex
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pvae_zoo
from pvae_zoo.cli import sample
from pvae_zoo.runtime.model import Model
from pvae_zoo.runtime.pictures import read_metadata

INTERRUPT = """
import os, signal
from pvae_zoo.runtime import grid
real, calls = grid._Counter.advance, []
def advance(self):
    calls.append(1)
    if len(calls) == 5:
        os.kill(os.getpid(), signal.SIGINT)
    real(self)
grid._Counter.advance = advance
"""


def test_a_grid_and_one_line(run, model, files):
    result = run("sample", "--model", model, "--n", 4)
    assert result.exit_code == 0 and result.stderr == ""
    assert result.stdout.startswith("samples.png: 4 images of tiny in ")
    assert result.stdout.endswith(" s on CPUExecutionProvider\n") and result.stdout.count("\n") == 1
    assert files() == ["samples.png"]


def test_the_png_says_how_to_draw_it_again(run, model, eight):
    run(
        "sample",
        "--model",
        model,
        "--n",
        3,
        "--seed",
        7,
        "--temperature",
        0.5,
        "--latent-temperature",
        0.9,
        "--out",
        "a.png",
    )
    notes = read_metadata("a.png")
    assert notes["model_sha256"] == eight.bundle.digest
    assert (notes["model"], notes["seed"], notes["n"], notes["temperature"]) == ("tiny", "7", "3", "0.5")
    assert notes["version"] == pvae_zoo.__version__ and notes["provider"] == "CPUExecutionProvider"
    command = shlex.split(notes["command"])
    assert command == [
        "pvae-zoo",
        *shlex.split(f"sample --model {model} --n 3 --seed 7 --temperature 0.5 --latent-temperature 0.9"),
    ]
    run(*command[1:], "--out", "b.png")
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()


def test_every_kind_of_target_holds_what_the_library_draws(run, model):
    expected = pvae_zoo.load(model).sample(5, seed=3)
    for target in ("x.npy", "x.npz", "x/"):
        assert run("sample", "-m", model, "-n", 5, "--seed", 3, "--out", target).exit_code == 0
    assert np.array_equal(np.load("x.npy"), expected)
    with np.load("x.npz") as stored:
        assert np.array_equal(stored["images"], expected)
    pictures = sorted(Path("x").iterdir())
    assert np.array_equal([np.asarray(Image.open(p)) // 255 for p in pictures], expected[:, 0])


def test_batch_size_threads_and_order_change_no_pixel(run, model):
    orders = (["--order", order] for order in ("auto", "wavefront", "raster", "fixed-point"))
    variants = ([], ["--batch-size", 2], ["--threads", 3], *orders, ["--device", "cpu"])
    for index, options in enumerate(variants):
        run("sample", "-m", model, "-n", 5, "--out", f"{index}.npy", *options)
    arrays = [np.load(f"{index}.npy") for index in range(len(variants))]
    assert all(np.array_equal(array, arrays[0]) for array in arrays)
    run("sample", "-m", model, "-n", 5, "--out", "other.npy", "--seed", 1)
    assert not np.array_equal(np.load("other.npy"), arrays[0])


def test_passes_of_a_fixed_point_are_said_to_those_who_ask(run, model):
    command = ["sample", "-m", model, "-n", 5, "--threads", 1, "--order", "fixed-point"]
    said = run("-v", *command)
    assert re.fullmatch(r"fixed point: 5 images in \d+ passes\n", said.stderr)
    again = run("--verbose", *command, "--batch-size", 3)
    assert [line.split(" in ")[0] for line in again.stderr.splitlines()] == [
        "fixed point: 3 images",
        "fixed point: 2 images",
    ]
    assert run(*command).stderr == ""


def test_columns_shape_the_grid(run, model):
    run("sample", "-m", model, "-n", 6, "--columns", 6, "--no-caption")
    with Image.open("samples.png") as picture:
        assert picture.width > 5 * picture.height
    result = run("sample", "-m", model, "--columns", 2, "--out", "x.npy")
    assert result.exit_code == 2 and "--columns is for a grid" in result.stderr


def test_json_is_all_of_stdout(run, model, eight):
    report = json.loads(run("sample", "-m", model, "-n", 2, "--out", "x/", "--json").stdout)
    assert report.pop("seconds") >= 0
    assert report == {
        "model": "tiny",
        "model_sha256": eight.bundle.digest,
        "provider": "CPUExecutionProvider",
        "n": 2,
        "seed": 0,
        "temperature": 1.0,
        "latent_temperature": 1.0,
        "files": ["x/00000.png", "x/00001.png"],
    }


@pytest.mark.parametrize(
    "options",
    [["--n", "0"], ["--n", "-3"], ["--n", "x"], ["--batch-size", "0"], ["--threads", "0"], ["--seed", "-1"],
     ["--seed", str(2**63)], ["--temperature", "-0.5"], ["--device", "tpu"], ["--columns", "0"]],
)  # fmt: skip
def test_impossible_options_are_usage_errors(run, model, files, options):
    result = run("sample", "--model", model, *options)
    assert result.exit_code == 2 and f"'{options[0]}'" in result.stderr and files() == []


def test_temperature_must_be_a_number(run, model, files):
    result = run("sample", "--model", model, "--temperature", "nan")
    assert result.exit_code == 2 and "nan is out of range: choose one from 1e-06 to 1e+06" in result.stderr
    assert files() == []


def test_a_wrong_name_suggests_the_nearest(run, zoo):
    result = run("sample", "--model", "mnits")
    assert result.exit_code == 1 and "did you mean 'mnist'?" in result.stderr


def test_the_default_model_is_mnist(run, zoo):
    assert run("sample", "--n", 1).exit_code == 0


def test_a_flipped_bit_is_found_before_anything_is_drawn(run, flipped, tmp_path):
    result = run("sample", "--model", flipped)
    assert result.exit_code == 1 and not (tmp_path / "samples.png").exists()
    assert "decoder_step.onnx is not what was published" in result.stderr and result.stderr.count("\n") == 1


def test_cuda_is_never_quietly_the_cpu(run, model, files):
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    result = run("sample", "--model", model, "--device", "cuda")
    assert result.exit_code == 1 and "the installed onnxruntime has no CUDA" in result.stderr
    assert 'pip install "pvae-zoo[gpu]"' in result.stderr and files() == []


@pytest.mark.parametrize("target", ["x.jpg", "x", "/proc/x.png", "/dev/null/x.png"])
def test_a_target_that_cannot_be_is_refused_before_the_work(run, model, monkeypatch, target):
    monkeypatch.setattr(sample, "choose_model", None)
    result = run("sample", "--model", model, "--out", target)
    assert result.exit_code == 1 and result.stderr.startswith("Error: cannot write") and target in result.stderr


def test_a_read_only_target_says_so(run, model, monkeypatch, files):
    def refuse(*args, **options):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    result = run("sample", "--model", model)
    assert result.exit_code == 1 and "samples.png: that place is read-only" in result.stderr and files() == []


def test_a_full_disk_leaves_nothing(run, model, small_disk):
    for name in ("many.npy", "many/"):
        result = run("sample", "--model", model, "--n", 1500, "--out", f"{small_disk}/{name}")
        assert result.exit_code == 1 and "the disk is full" in result.stderr and result.stdout == ""
        assert not list(small_disk.rglob("*.part")) and not (small_disk / "many.npy").exists()


@pytest.mark.parametrize("threads", [1, 2])
def test_an_interrupt_leaves_nothing(spawn, model, files, threads):
    done = spawn("sample", "--model", model, "--n", 300, "--threads", threads, before=INTERRUPT)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (130, "", "Interrupted") and files() == []


def test_a_folder_is_gone_on_with_where_it_was_stopped(run, model, tmp_path, monkeypatch):
    real, counts = Model.sample, []

    def sample(self, n, **options):
        counts.append(n)
        if len(counts) == 3:
            raise KeyboardInterrupt
        return real(self, n, **options)

    line = ["sample", "-m", model, "-n", 10, "--batch-size", 4, "--out", "x/"]
    monkeypatch.setattr(Model, "sample", sample)
    stopped = run(*line)
    assert (stopped.exit_code, stopped.stdout) == (130, "")
    assert stopped.stderr == "8 of 10 images are in x: the same command draws the others\nInterrupted\n"
    assert len(list(Path("x").iterdir())) == 8
    (tmp_path / "x/00005.png").write_bytes(b"damaged")
    rest = run(*line)
    assert rest.stdout.startswith("x/: 10 images of tiny, 3 drawn now in ") and counts == [4, 4, 2, 1, 2]
    run(*line[:-1], "whole/")
    assert contents("x") == contents("whole")
    assert "0 drawn now" in run(*line).stdout
    other = run(*line, "--seed", 1)  # pictures of another run are not kept
    assert " drawn now" not in other.stdout and not set(contents("x").values()) & set(contents("whole").values())


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def test_torch_is_never_imported(spawn, model, folder):
    hide = "for name in ('torch', 'onnx', 'safetensors', 'matplotlib'): sys.modules[name] = None"
    assert spawn("sample", "--model", model, "--n", 2, before=hide).returncode == 0
    assert spawn("nll", "--model", model, folder, before=hide).returncode == 0
    assert spawn("verify", model, before=hide).returncode == 0


def test_a_trace_shows_the_images_being_painted(run, model):
    result = run("sample", "--model", model, "--n", 4, "--trace", "t.gif", "--json")
    assert json.loads(result.stdout)["files"] == ["samples.png", "t.gif"]
    with Image.open("t.gif") as picture:
        assert picture.n_frames > 10
    run("sample", "--model", model, "--n", 4, "--trace", "f.gif", "--out", "x/")
    assert Path("t.gif").read_bytes() == Path("f.gif").read_bytes()
    line = run("sample", "--model", model, "--n", 1, "--trace", "t.gif").stdout
    assert line.startswith("samples.png and t.gif: 1 image of tiny in ")
    result = run("sample", "--model", model, "--trace", "t.mp4")
    assert result.exit_code == 1 and "cannot write the trace 't.mp4': give a .gif" in result.stderr
    result = run("sample", "--model", model, "--trace", "t.gif", "--order", "fixed-point")
    assert result.exit_code == 2 and "choose --order wavefront or raster" in result.stderr
