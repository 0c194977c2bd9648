"""The page in Chromium against Python on the same machine, in one run: benchmarks/WEB.md.

usage: python benchmarks/web.py [MODEL...]      by default mnist, and imagenet64 where it is installed

Needs the built page (npm ci --prefix web && npm run build --prefix web, then install the package) and Chromium.
Python draws with onnxruntime on one thread, as the page does.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import subprocess
import threading
from pathlib import Path
from typing import Any

import numpy as np
from sampling import timed

import pvae_zoo
from pvae_zoo.base.atomic import atomic_write
from pvae_zoo.runtime.model import Model
from pvae_zoo.sources.registry import model_names, open_bundle
from pvae_zoo.web.server import SiteServer
from pvae_zoo.web.site import make_site

RESULTS = Path(__file__).with_name("WEB.md")
DRIVER = Path(__file__).parents[1] / "web" / "drive.mjs"
WANTED = {28: 0.5, 64: 10.0}
"""Seconds for an image, by its width."""

DRAWS = 5

# Draws once more and answers with the longest gap between two frames of the page meanwhile, in milliseconds.
FRAMES = """new Promise((done) => {
  const bar = document.querySelector("#sample progress");
  const gaps = [];
  let last = performance.now(), calm = 0;
  document.querySelector("#sample [type=submit]").click();
  const frame = (now) => {
    gaps.push(now - last);
    last = now;
    calm = bar.classList.contains("busy") ? 0 : calm + 1;
    if (calm < 30) requestAnimationFrame(frame); else done(Math.max(...gaps));
  };
  requestAnimationFrame(frame);
})"""


def drive(actions: list[dict[str, Any]]) -> list[Any]:
    """What the page answers."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("needs chromium")
    command = ["node", str(DRIVER), chromium]
    found = json.loads(subprocess.run(command, input=json.dumps(actions), capture_output=True, text=True).stdout)
    if found["failed"]:
        raise SystemExit(found["failed"])
    return list(found["answers"])


def drawn_by_page(url: str, model: str) -> tuple[list[float], float, np.ndarray]:
    """Seconds of the drawings of seeds 1 to `DRAWS`, the longest gap between frames, and seed 0 as RGBA."""
    status = "#sample [data-role=status]"
    actions: list[dict[str, Any]] = [
        {"do": "goto", "url": f"{url}#sample?model={model}&seed=0"},
        {"do": "wait", "at": status, "text": "seed 0,"},
        {"do": "pixels", "at": "#sample canvas"},
    ]
    for seed in range(1, DRAWS + 1):
        actions += [
            {"do": "fill", "at": "#sample [name=seed]", "value": str(seed)},
            {"do": "click", "at": "#sample [type=submit]"},
            {"do": "wait", "at": status, "text": f"seed {seed},"},
            {"do": "text", "at": status},
        ]
    answers = drive([*actions, {"do": "evaluate", "code": FRAMES}])
    times = [float(re.search(r"in ([\d.]+) s", text[0])[1]) for text in answers[3:-1] if text]  # type: ignore[index]
    canvas = answers[2][0]
    return times, answers[-1], np.array(canvas["rgba"], np.uint8).reshape(canvas["height"], canvas["width"], 4)


def row(url: str, model: str) -> str:
    runtime = Model(open_bundle(model), device="cpu", threads=1)
    times, gap, rgba = drawn_by_page(url, model)
    seconds = statistics.median(times)
    python, image = timed(lambda: runtime.sample(1, seed=0), repeats=9)
    shape = runtime.image
    ours = np.round(rgba[..., : shape.channels].transpose(2, 0, 1) * ((shape.levels - 1) / 255.0)).astype(np.uint8)
    size = f"{shape.width}x{shape.height}x{shape.channels}"
    return (
        f"| `{model}` | {size} | {seconds:.2f} s | {WANTED[shape.width]:g} s | {seconds / python:.1f} x "
        f"| {np.mean(ours == image[0]):.2%} | {gap:.0f} ms |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=[m for m in ("mnist", "imagenet64") if m in model_names()])
    models = parser.parse_args().models
    lines = [
        "# The page against Python",
        "",
        f"`python benchmarks/web.py`, pvae-zoo {pvae_zoo.__version__}: the median of {DRAWS} drawings of one image in "
        "headless Chromium (onnxruntime-web, one thread), against the same image from Python (onnxruntime, one thread) "
        "in the same run. The gap is the longest time between two frames of the page while it draws.",
        "",
        "| model | image | in the page | wanted | against Python | equal pixels | gap |",
        "|---|---|---|---|---|---|---|",
    ]
    with SiteServer(make_site([open_bundle(model) for model in models]), "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for model in models:
            lines.append(row(server.url, model))
            print(lines[-1], flush=True)
        server.shutdown()
    atomic_write(RESULTS, ("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    main()
