"""What a command that draws holds in memory is a slice, however many images it is given."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pvae_zoo.cli import target
from pvae_zoo.data.fit import Fit
from pvae_zoo.runtime.networks import Networks

COMMANDS = {
    "reconstruct": ["reconstruct", "digits"],
    "complete": ["complete", "digits", "--rows", 4, "--n", 2],
    "vary": ["vary", "--n", 7],
    "interpolate": ["interpolate", "--n", 2, "--steps", 5],
}


@pytest.mark.parametrize("line", COMMANDS.values(), ids=COMMANDS.keys())
@pytest.mark.parametrize("threads", [1, 2])
def test_the_images_are_the_same_for_any_batch_size(run, model, folder, line, threads):
    (folder / "b.png").write_text("no image")
    drawn = []
    for number, batch in enumerate([None, 1, 2, 3, 100]):
        options = [] if batch is None else ["--batch-size", batch]
        out = f"{number}.npy"
        assert run(*line, "--model", model, "--threads", threads, "--out", out, *options).exit_code in (0, 3)
        assert run(*line, "--model", model, "--threads", threads, "--out", f"{number}/", *options).exit_code in (0, 3)
        drawn.append(np.load(out))
        files = [np.asarray(Image.open(path))[None] // 255 for path in sorted(Path(str(number)).iterdir())]
        in_order = np.array(sorted(file.tobytes() for file in files))
        assert np.array_equal(in_order, np.array(sorted(image.tobytes() for image in drawn[0])))
    assert all(np.array_equal(drawn[0], other) for other in drawn[1:])


@pytest.mark.parametrize("line", COMMANDS.values(), ids=COMMANDS.keys())
def test_no_more_are_drawn_at_once_than_the_batch_size(run, model, folder, line, monkeypatch):
    rows, draw_pixels = [], Networks.draw_pixels
    monkeypatch.setattr(
        Networks,
        "draw_pixels",
        lambda self, z1, *args, **kw: rows.append(len(z1)) or draw_pixels(self, z1, *args, **kw),
    )
    assert run(*line, "--model", model, "--batch-size", 2, "--out", "x.npy").exit_code == 0
    assert max(rows) == 2 and sum(rows) == len(np.load("x.npy"))


@pytest.mark.parametrize(("name", "held"), [("reconstruct", 2), ("complete", 1)])
def test_images_are_read_when_those_before_are_written(run, model, folder, name, held, monkeypatch):
    """Into a folder; a slice of two is one image with its two completions."""
    read, written, fit, save = [], [], Fit.read, target.save_images

    def noted(self, source, image):
        read.append(source.name)
        assert len(read) - len(written) // (2 if name == "complete" else 1) <= held
        return fit(self, source, image)

    monkeypatch.setattr(Fit, "read", noted)
    monkeypatch.setattr(
        target, "save_images", lambda drawn, *args, **kw: written.extend(drawn) or save(drawn, *args, **kw)
    )
    assert run(*COMMANDS[name], "--model", model, "--batch-size", 2, "--out", "x/").exit_code == 0
    assert len(read) == 5 and len(list(Path("x").iterdir())) == len(written)


PEAK = """
import atexit, re, sys
from pathlib import Path
status = Path("/proc/self/status")
atexit.register(lambda: Path("peak").write_text(re.search(r"VmHWM:\\s+(\\d+) kB", status.read_text())[1]))
from pvae_zoo.cli.app import main
main(sys.argv[1:])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs the peak memory that Linux counts")
@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", ["reconstruct", "complete", "vary", "interpolate"])
def test_the_peak_memory_does_not_grow_with_the_number_of_images(make_tiny, tmp_path, name):
    """Drawn at once, 120 such images take 16 MiB more than ten."""
    folder = make_tiny(image=(3, 32, 32, 4), latents=4, layers=6, channels=12).bundle.folder
    peaks = []
    for count in (10, 120 if name == "complete" else 240):  # candidates of completions take their time
        images = tmp_path / f"{count}"
        images.mkdir()
        for index in range(count if name in ("reconstruct", "complete") else 0):
            Image.new("RGB", (32, 32), (index % 256, 0, 0)).save(images / f"{index:04}.png")
        line = {
            "reconstruct": ["reconstruct", images, "--out", "r/"],
            "complete": ["complete", images, "--rows", 31, "--n", 1, "--out", "c/"],
            "vary": ["vary", "--level", "pixels", "--n", count, "--out", "v/"],
            "interpolate": ["interpolate", "--n", 1, "--steps", count, "--out", "i/"],
        }[name]
        options = ["--model", folder, "--trust", "--threads", 1, "--batch-size", 10]
        subprocess.run(
            [sys.executable, "-c", PEAK, *map(str, [*line, *options])],
            cwd=tmp_path, check=True, timeout=100, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        peaks.append(int((tmp_path / "peak").read_text()) / 1024)
    assert peaks[1] - peaks[0] < 10, peaks
