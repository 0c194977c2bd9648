import json
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

import pvae_zoo
from pvae_zoo.runtime import device_scoring
from pvae_zoo.runtime.networks import Networks
from pvae_zoo.runtime.sessions import CUDA, Placement, import_onnxruntime, open_session

INTERRUPT = """
import os, signal
from pvae_zoo.runtime.model import Model
real, calls = Model.nll, []
def nll(self, *args, **options):
    calls.append(1)
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGINT)
    return real(self, *args, **options)
Model.nll = nll
"""

INTERRUPT_A_READER = """
import os, signal, time
from pvae_zoo.data.fit import Fit
from pvae_zoo.runtime import score_files
score_files.CUDA = score_files.CPU
real, calls = Fit.read, []
def read(self, *args):
    calls.append(1)
    if len(calls) == 4:
        os.kill(os.getpid(), signal.SIGINT)
    if len(calls) > 3:
        time.sleep(0.2)
    return real(self, *args)
Fit.read = read
"""


def report(result, code=0):
    assert result.exit_code == code, result.stderr
    return json.loads(result.stdout)


def spoil(folder):
    """Add what a real folder holds besides good images; the names of the bad ones."""
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    Image.fromarray(np.zeros((9, 8), np.uint8)).save(folder / "b1-size.png")
    Image.fromarray(grey).save(folder / "b2-grey.png")
    Image.fromarray(grey.astype(np.uint16) * 900).save(folder / "b3-deep.png")
    Image.fromarray(np.dstack([grey * 0, grey * 0, grey])).save(folder / "b4-colour.png")
    Image.fromarray(np.dstack([grey * 0, grey])).save(folder / "b5-alpha.png")
    frames = [Image.fromarray(grey * 0), Image.fromarray(grey * 0 + 255)]
    frames[0].save(folder / "c1-animated.gif", save_all=True, append_images=frames[1:])
    (folder / "c2-cut.png").write_bytes((folder / "a.png").read_bytes()[:60])
    (folder / "c3-text.png").write_text("no image")
    (folder / "c4-empty.png").touch()
    (folder / "notes.txt").write_text("not looked at")
    return sorted(path.name for path in folder.glob("*-*"))


def test_the_figures_are_the_librarys_and_the_schema_is_as_documented(run, model, folder, digits):
    scores = pvae_zoo.load(model).nll(digits, seed=2)
    found = report(run("nll", "--model", model, folder, "--seed", 2, "--json"))
    head = {"model": "tiny", "provider": "CPUExecutionProvider", "precision": "float32", "samples": 1, "seed": 2}
    assert list(found) == [*head, "images", "mean"] and {name: found[name] for name in head} == head
    for index, row in enumerate(found["images"]):
        assert row == {
            "path": str(folder / f"{'abcde'[index]}.png"),
            "status": "ok",
            "bits_per_dim": pytest.approx(scores.bits_per_dim[index]),
            "nll_nats": pytest.approx(scores.nll_nats[index]),
            "reconstruction_nats": pytest.approx(scores.reconstruction_nats[index]),
            "kl_nats": pytest.approx(list(scores.kl_nats[index])),
        }
    assert len(found["images"]) == 5
    assert found["mean"] == {
        "bits_per_dim": pytest.approx(scores.bits_per_dim.mean()),
        "nll_nats": pytest.approx(scores.nll_nats.mean()),
        "standard_error_nats": pytest.approx(scores.standard_error_nats),
        "reconstruction_nats": pytest.approx(scores.reconstruction_nats.mean()),
        "kl_nats": pytest.approx(list(scores.kl_nats.mean(axis=0))),
        "count": 5,
        "failed": 0,
    }


def test_samples_add_the_importance_weighted_bound(run, model, folder, digits):
    scores = pvae_zoo.load(model).nll(digits, samples=4)
    found = report(run("nll", "--model", model, folder, "--samples", 4, "--json"))
    assert [row["iwae_nll_nats"] for row in found["images"]] == pytest.approx(list(scores.iwae_nll_nats))
    assert found["mean"]["iwae_nll_nats"] == pytest.approx(scores.iwae_nll_nats.mean())
    assert "IWAE K=4" in run("nll", "--model", model, folder, "--samples", 4).stdout


def test_bad_images_have_a_row_each_and_change_no_figure(run, model, folder, digits):
    scores = pvae_zoo.load(model).nll(digits)
    bad = spoil(folder)
    for batch_size in (1, 3, 64):
        result = run("nll", "--model", model, folder, "--json", "--batch-size", batch_size)
        found = report(result, code=3)
        rows = {row["path"].split("/")[-1]: row for row in found["images"]}
        assert sorted(rows) == list(rows) == sorted([*bad, *(f"{name}.png" for name in "abcde")])
        assert [rows[f"{name}.png"]["nll_nats"] for name in "abcde"] == pytest.approx(list(scores.nll_nats))
        for name in bad:
            assert set(rows[name]) == {"path", "status", "reason"} and rows[name]["status"] == "error"
        assert found["mean"]["count"] == 5 and found["mean"]["failed"] == len(bad) == 9
        assert found["mean"]["nll_nats"] == pytest.approx(scores.nll_nats.mean())
        assert result.stderr == "Error: 9 of 14 images could not be used\n"
    reasons = {name: rows[name]["reason"] for name in bad}
    assert "is 8x9, the model takes 8x8" in reasons["b1-size.png"] and "--binarize" in reasons["b2-grey.png"]
    assert "8 bits" in reasons["b3-deep.png"] and "--convert" in reasons["b4-colour.png"]
    assert "transparent" in reasons["b5-alpha.png"] and "frames" in reasons["c1-animated.gif"]


def test_an_images_row_is_its_own_in_any_folder_order_and_number_of_threads(run, model, folder):
    whole = {row["path"]: row for row in report(run("nll", "--model", model, folder, "--json"))["images"]}
    others = [str(folder / f"{name}.png") for name in "dbeca"]
    for options in ([], ["--threads", 1], ["--threads", 3], ["--batch-size", 2]):
        rows = report(run("nll", "--model", model, *others, "--json", *options))["images"]
        assert [row["path"] for row in rows] == others and all(row == whole[row["path"]] for row in rows)
    shutil.copy(folder / "c.png", folder / "0.png")
    rows = report(run("nll", "--model", model, folder, "--json"))["images"]
    assert rows[1:] == list(whole.values())
    assert rows[0] | {"path": ""} == rows[3] | {"path": ""}


def test_the_table_has_a_line_an_image_and_a_mean(run, model, folder):
    spoil(folder)
    result = run("nll", "--model", model, folder)
    head, *lines, mean = result.stdout.splitlines()
    assert result.exit_code == 3 and head.split() == ["BITS/DIM", "NATS", "RECONSTRUCTION", "KL", "z1", "PATH"]
    assert len(lines) == 14 and sum(line.lstrip().startswith("error") for line in lines) == 9
    column = head.index("PATH")
    assert all(line[column:].startswith(str(folder)) for line in lines)
    assert mean[column:].startswith("mean of 5 images, standard error ")
    bits, nats, reconstruction, kl, path = lines[0].split()
    assert path.endswith("a.png") and float(nats) == pytest.approx(float(reconstruction) + float(kl), abs=0.02)
    assert float(bits) == pytest.approx(float(nats) / (64 * np.log(2)), abs=1e-3)
    assert result.stderr.startswith("tiny on CPUExecutionProvider\n")


def test_options_make_images_fit(run, model, folder):
    for path in folder.iterdir():
        path.unlink()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)).save(folder / "photo.png")
    assert run("nll", "--model", model, folder).exit_code == 1
    assert run("nll", "--model", model, folder, "--resize", "--convert", "--binarize", 128).exit_code == 0


def test_globs_zips_and_files_in_the_order_given(run, model, folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.write(folder / "d.png", "in/d.png")
    found = report(run("nll", "--model", model, "more.zip", "digits/[bc]*.png", "digits/a.png", "--json"))
    assert [row["path"] for row in found["images"]] == [
        "more.zip/in/d.png", "digits/b.png", "digits/c.png", "digits/a.png"
    ]  # fmt: skip


def test_one_image_has_no_standard_error(run, model, folder):
    assert report(run("nll", "--model", model, folder / "a.png", "--json"))["mean"]["standard_error_nats"] == 0


def test_all_images_bad_is_a_failure_with_rows(run, model, folder):
    for path in folder.iterdir():
        path.write_text("no image")
    found = report(run("nll", "--model", model, folder, "--json"), code=1)
    assert found["mean"]["count"] == 0 and found["mean"]["failed"] == 5 and found["mean"]["nll_nats"] is None
    assert run("nll", "--model", model, folder).exit_code == 1


@pytest.mark.parametrize(("path", "said"), [("empty", "no images in empty"), ("gone", "no file or folder gone")])
def test_nothing_to_score_is_said_at_once(run, model, tmp_path, path, said):
    (tmp_path / "empty").mkdir()
    for options in ([], ["--json"]):
        result = run("nll", "--model", model, path, *options)
        assert result.exit_code == 1 and said in result.stderr and result.stdout == ""


def test_options_that_do_not_suit_the_model_end_the_command(run, make_tiny, tmp_path):
    bytes_model = make_tiny(image=(3, 4, 4, 256), latents=4).bundle.folder
    Image.new("RGB", (4, 4)).save(tmp_path / "x.png")
    result = run("nll", "--model", bytes_model, "x.png", "--binarize", 9, "--json")
    assert result.exit_code == 2 and "--binarize would do nothing: it is for black-and-white models" in result.stderr
    assert result.stdout == ""
    assert run("nll", "--model", bytes_model, "x.png").exit_code == 0


@pytest.mark.parametrize("options", [["--samples", "0"], ["--binarize", "256"], ["--binarize", "0"], ["--seed", "-1"]])
def test_impossible_options_are_usage_errors(run, model, folder, options):
    assert run("nll", "--model", model, folder, *options).exit_code == 2
    assert run("nll", "--model", model).exit_code == 2


def test_an_interrupt_prints_no_half_document(spawn, model, folder, files):
    before = files()
    done = spawn("nll", "--model", model, folder, "--batch-size", 2, "--json", before=INTERRUPT)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (130, "", "Interrupted") and files() == before
    done = spawn("nll", "--model", model, folder, "--batch-size", 2, before=INTERRUPT)
    assert done.returncode == 130 and len(done.stdout.splitlines()) == 3  # the head and what was scored


def test_an_interrupt_while_a_thread_reads_ahead_ends_the_command(spawn, model, folder):
    done = spawn("nll", "--model", model, folder, "--batch-size", 3, before=INTERRUPT_A_READER)
    assert done.returncode == 130 and done.stderr.splitlines()[-1] == "Interrupted"
    assert len(done.stdout.splitlines()) <= 4


def test_only_a_batch_of_images_is_in_memory(run, model, folder, monkeypatch):
    from pvae_zoo.runtime.model import Model

    real, sizes = Model.nll, []

    def nll(self, images, **options):
        sizes.append(len(images))
        return real(self, images, **options)

    monkeypatch.setattr(Model, "nll", nll)
    for index in range(7):
        shutil.copy(folder / "a.png", folder / f"x{index}.png")
    report(run("nll", "--model", model, folder, "--json", "--batch-size", 5))
    assert sizes == [5, 5, 2]


@pytest.mark.parametrize(("mode", "note"), [("L", "grey, converted to RGB"), ("P", "palette, converted to RGB")])
def test_a_row_says_what_was_converted_for_a_colour_model(run, levels, tmp_path, mode, note):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (7, 6, 3), np.uint8))
    picture.save(tmp_path / "rgb.png")
    picture.convert(mode).save(tmp_path / "other.png")
    model = str(levels.bundle.folder)
    rows = json.loads(run("nll", "rgb.png", "other.png", "--model", model, "--json").stdout)["images"]
    assert "note" not in rows[0] and rows[1]["note"] == note and len(rows[1]["kl_nats"]) == 2
    result = run("nll", "other.png", "--model", model)
    assert f"other.png ({note})" in result.stdout and "KL z2" in result.stdout


def test_a_folder_given_twice_counts_once_and_that_is_said(run, model, folder):
    once = run("nll", folder, "--model", model)
    twice = run("nll", folder, f"{folder}/../{folder.name}", folder / "a.png", "--model", model)
    assert twice.stdout == once.stdout and twice.exit_code == 0
    assert twice.stderr == "6 images given twice, counted once\n" + once.stderr


def test_a_tiny_picture_is_blown_up_only_when_asked(run, model, tmp_path):
    Image.new("L", (3, 3), 255).save(tmp_path / "tiny.png")
    options = ["nll", tmp_path / "tiny.png", "--model", model, "--resize", "--binarize", 128]
    refused, blown_up = run(*options), run(*options, "--enlarge")
    assert refused.exit_code == 3 or refused.exit_code == 1
    assert "is 3x3, the model takes 8x8: add --enlarge" in refused.stdout + refused.stderr
    assert blown_up.exit_code == 0
    alone = run("nll", tmp_path / "tiny.png", "--model", model, "--enlarge")
    assert alone.exit_code == 1 and "--enlarge lets --resize and --prepare blow up tiny images: add one" in alone.stderr


def test_parts_of_other_options_are_not_mixed(run, model, folder):
    options = ["nll", folder, "--model", model, "--resize", "--binarize", 128, "--out", "parts/", "--shard"]
    assert run(*options, "1/2").exit_code == 0
    assert run(*options, "2/2", "--enlarge").exit_code == 0
    mixed = run("merge", "parts/")
    assert mixed.exit_code == 1 and "enlarge" in mixed.stderr


def test_another_precision_says_how_it_differs(run, model, folder, digits):
    scores, half = (pvae_zoo.load(model).nll(digits, precision=precision) for precision in ("float32", "float16"))
    gaps = half.bits_per_dim - scores.bits_per_dim
    found = report(run("nll", "--model", model, folder, "--precision", "float16", "--json", "--batch-size", 2))
    assert found["precision"] == "float16" and list(found)[-1] == "precision_difference"
    assert [row["bits_per_dim"] for row in found["images"]] == pytest.approx(list(half.bits_per_dim))
    assert [row["float32_bits_per_dim"] for row in found["images"]] == list(scores.bits_per_dim)
    assert found["precision_difference"] == {
        "images": 5,
        "mean_bits_per_dim": pytest.approx(gaps.mean(), abs=1e-12),
        "largest_bits_per_dim": pytest.approx(np.abs(gaps).max(), abs=1e-12),
    }
    assert np.abs(gaps).max() > 1e-9
    table = run("nll", "--model", model, folder, "--precision", "float16")
    assert table.stderr == "tiny on CPUExecutionProvider in float16\n"
    assert table.stdout.splitlines()[-1] == (
        f"float16 less float32, 5 images scored in both: {gaps.mean():+.6f} bits/dim in the mean, "
        f"{np.abs(gaps).max():.6f} at most"
    )


def test_only_the_first_images_are_scored_in_both_precisions(run, model, folder):
    for index in range(20):
        shutil.copy(folder / "a.png", folder / f"x{index:02}.png")
    found = report(run("nll", "--model", model, folder, "--precision", "float16", "--json", "--batch-size", 7))
    both = ["float32_bits_per_dim" in row for row in found["images"]]
    assert both == [True] * 16 + [False] * 9 and found["precision_difference"]["images"] == 16


def test_parts_keep_their_precision(run, model, folder):
    options = ["nll", "--model", model, folder, "--precision", "float16"]
    plain = run(*options, "--json")
    for shard in ("1/2", "2/2"):
        assert run(*options, "--out", "parts/", "--shard", shard).exit_code == 0
    assert run("merge", "parts/", "--json").stdout == plain.stdout
    assert run("merge", "parts/").stdout == run(*options).stdout
    again = run("nll", "--model", model, folder, "--out", "parts/", "--shard", "1/2")
    assert again.exit_code == 1 and "of another run, precision float16 there and float32 here" in again.stderr


def test_parts_from_before_there_was_a_precision_are_read(run, model, folder, tmp_path):
    assert run("nll", "--model", model, folder, "--out", "parts/", "--shard", "1/1").exit_code == 0
    (part,) = (tmp_path / "parts").iterdir()
    text = part.read_text()
    assert '"precision": "float32", ' in text
    part.write_text(text.replace('"precision": "float32", ', ""))
    assert run("merge", "parts/").stdout == run("nll", "--model", model, folder).stdout


def test_a_precision_that_is_not_to_be_had_is_refused_before_anything_is_scored(run, model, folder, tmp_path):
    result = run("nll", "--model", model, folder, "--precision", "tf32")
    assert (result.exit_code, result.stdout) == (1, "") and result.stderr == (
        "Error: --precision tf32 is for NVIDIA GPUs, and this runs on CPUExecutionProvider: add --device cuda, or "
        "leave it out\n"
    )
    assert run("convert", model, "--precision", "float16", "--out", "half").exit_code == 0
    result = run("nll", "--model", "./half", "--trust", folder, "--precision", "float16")
    assert (result.exit_code, result.stdout) == (1, "") and result.stderr.endswith(
        "Error: --precision float16: tiny-float16 is converted to float16 and computes in that: leave out --precision, "
        "or score tiny, which it was made of\n"
    )
    assert run("nll", "--model", "./half", "--trust", folder).exit_code == 0


class Full:
    """A session, all of whose memory is taken by more than four draws."""

    def __init__(self, session):
        self.session = session

    def run(self, names, feed, options):
        if len(feed["rows"]) > 4:
            raise import_onnxruntime().capi.onnxruntime_pybind11_state.Fail(
                "[ONNXRuntimeError] : 1 : FAIL : CUDA failure 2: out of memory ; GPU=0"
            )
        return self.session.run(names, feed, options)


@pytest.mark.parametrize("samples", [1, 3])
def test_the_road_of_a_gpu_gives_the_figures_and_says_once_that_memory_is_short(
    run, model, folder, monkeypatch, samples
):
    """All of it but the GPU: the graph that scores runs on the CPU."""
    spoil(folder)
    line = ["nll", "--model", model, folder, "--samples", samples, "--json"]
    expected = report(run(*line), code=3)
    monkeypatch.setattr(Networks, "provider", CUDA)
    monkeypatch.setattr(device_scoring, "placement", lambda session: Placement("cuda"))
    monkeypatch.setattr(device_scoring, "device_of", lambda session: "cuda")
    monkeypatch.setattr(device_scoring, "open_session", lambda *args: Full(open_session(*args)))
    result = run(*line)
    found = report(result, code=3)
    assert found["provider"] == CUDA and found["mean"]["nll_nats"] == pytest.approx(
        expected["mean"]["nll_nats"], abs=1e-4
    )
    for one, other in zip(found["images"], expected["images"], strict=True):
        assert one.keys() == other.keys() and one.get("reason") == other.get("reason")
        if "nll_nats" in one:
            assert one["nll_nats"] == pytest.approx(other["nll_nats"], abs=1e-4)
            assert one.get("iwae_nll_nats", 0) == pytest.approx(other.get("iwae_nll_nats", 0), abs=1e-4)
    notes = [text for text in result.stderr.splitlines() if text.startswith("Note: ")]
    assert len(notes) == 1 and "no memory left on the GPU for " in notes[0]
