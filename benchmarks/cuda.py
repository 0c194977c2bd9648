"""CUDA against the CPU and against PyTorch: the same images and bounds, and images a second (RESULTS-cuda.md).

usage: python benchmarks/cuda.py [--models mnist,imagenet64] [--quick]

Needs a CUDA device, onnxruntime-gpu and the package's [train] extra. Everything is measured in one run on one machine;
PyTorch computes in plain float32 here, as the graphs do.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from sampling import noise_of_seed_0, timed

import pvae_zoo
from pvae_zoo.base.atomic import atomic_write
from pvae_zoo.export.bundle import model_of
from pvae_zoo.export.reference import fixed_point_sample, naive_sample
from pvae_zoo.export.weights import checkpoint_of
from pvae_zoo.models.pixelvae import PixelVAE
from pvae_zoo.runtime.model import Model
from pvae_zoo.runtime.sessions import import_onnxruntime

RESULTS = Path(__file__).parent / "RESULTS-cuda.md"
COUNTS = (1, 16, 64, 256, 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="mnist,imagenet64")
    parser.add_argument("--quick", action="store_true", help="fewer images: to see that it runs, not to publish")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.backends.cudnn.allow_tf32 = False
    cpu = pvae_zoo.load("mnist", device="cpu").threads
    lines = [
        "# CUDA",
        "",
        f"`python benchmarks/cuda.py`, pvae-zoo {pvae_zoo.__version__}, one {torch.cuda.get_device_name()} and {cpu} "
        f"CPU cores, onnxruntime {import_onnxruntime().__version__}, PyTorch {torch.__version__}, "
        f"Python {platform.python_version()}.",
    ]
    for name in arguments.models.split(","):
        lines += ["", f"## {name}", "", "| what | measured |", "|---|---|"]
        print(f"\n{name}", flush=True)
        for what, measured in rows(name, quick=arguments.quick):
            lines.append(f"| {what} | {measured} |")
            print(f"  {what}: {measured}", flush=True)
            if not arguments.quick:
                atomic_write(arguments.out, ("\n".join(lines) + "\n").encode())


def rows(name: str, *, quick: bool) -> Iterator[tuple[str, str]]:
    gpu, cpu = pvae_zoo.load(name, device="cuda"), pvae_zoo.load(name, device="cpu")
    network = model_of(checkpoint_of(gpu.bundle)).cuda()
    large = gpu.image.height >= 64
    by_gpu, by_cpu = gpu.sample(16), cpu.sample(16)
    yield "values of 16 images equal, CUDA and CPU", f"{np.mean(by_gpu == by_cpu):.2%}"
    scored_gpu, scored_cpu = gpu.nll(by_cpu), cpu.nll(by_cpu)
    apart = float(np.abs(scored_gpu.nll_nats - scored_cpu.nll_nats).max())
    yield "largest difference of -ELBO of those 16", f"{apart:.1e} of {scored_cpu.nll_nats.mean():.1f} nats"

    rates = {}
    for count in COUNTS[: 3 if quick else 4 if large else 5]:
        draw = partial(gpu.sample, count, batch_size=count)
        rates[count] = count / timed(draw, repeats=1 if large else 3)[0]
        yield f"sample, CUDA, n = {count}", f"{rates[count]:.1f} images/s"
    count = 64
    seconds, _ = timed(lambda: cpu.sample(count), repeats=1)
    yield f"sample, all CPU cores, n = {count}", f"{count / seconds:.1f} images/s"
    yield f"CUDA is faster than the CPU by, n = {count}", f"{rates[count] * seconds / count:.1f} x"
    for what, rate, ours in _torch_samplers(gpu, network, 16 if quick else count, rows=2 if large else None):
        yield f"sample, PyTorch on CUDA, {what}", f"{rate:.1f} images/s"
        yield "CUDA wavefront is faster than that by", f"{rates[ours] / rate:.1f} x"

    images = np.concatenate([by_cpu] * (4 if quick or large else 64))
    ours, _ = timed(lambda: gpu.nll(images))
    eager, _ = timed(lambda: _torch_nll(network, images, gpu.networks.score_batch))
    slow, _ = timed(lambda: cpu.nll(images), repeats=1)
    yield f"nll, CUDA, {len(images)} images", f"{len(images) / ours:.0f} images/s"
    yield "nll, all CPU cores", f"{len(images) / slow:.0f} images/s, CUDA is {slow / ours:.1f} x"
    yield "nll, PyTorch on CUDA, eager", f"{len(images) / eager:.0f} images/s, ours is {eager / ours:.2f} x"


def _torch_samplers(runtime: Model, model: PixelVAE, n: int, rows: int | None) -> Iterator[tuple[str, float, int]]:
    """PyTorch's images a second for seed 0: a pass for every value, and passes until no value changes."""
    height = runtime.image.height
    z1, u = noise_of_seed_0(runtime, n)
    z1 = z1.cuda()
    naive_sample(model, z1, u, 1)
    start = time.perf_counter()
    naive_sample(model, z1, u, rows).cpu()
    seconds = (time.perf_counter() - start) * (height / rows if rows else 1)
    measured = f", {rows} of {height} rows measured" if rows else ""
    yield f"a full pass for every value, n = {n}{measured}", n / seconds, n
    few = min(n, 16)
    start = time.perf_counter()
    fixed_point_sample(model, z1[:few], u[:few]).cpu()
    yield f"fixed point, n = {few}", few / (time.perf_counter() - start), few


@torch.no_grad()
def _torch_nll(model: PixelVAE, images: np.ndarray, batch: int) -> None:
    shapes = model.architecture.latent_shapes
    for start in range(0, len(images), batch):
        x = torch.from_numpy(images[start : start + batch]).cuda()
        model(x, [torch.randn(len(x), *shape, device="cuda") for shape in shapes])
    torch.cuda.synchronize()


if __name__ == "__main__":
    main()
