"""The wavefront sampler against the naive one, raster order, and the machine's own arithmetic."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.utils.flop_counter import FlopCounterMode

import pvae_zoo
from pvae_zoo.contract.folder import Bundle
from pvae_zoo.export.bundle import model_of
from pvae_zoo.export.reference import naive_sample
from pvae_zoo.export.weights import checkpoint_of
from pvae_zoo.runtime import latents, noise
from pvae_zoo.runtime.model import Model
from pvae_zoo.runtime.sessions import open_session
from pvae_zoo.sources.registry import open_bundle

Row = tuple[str, str, str]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a model of a size should reach, and how much of the naive sampler is worth waiting for."""

    naive_images: int
    naive_rows: int | None
    seconds: str
    naive: str
    raster: str
    sixteen: str
    arithmetic: str


SMALL = Wanted(
    naive_images=16, naive_rows=None, seconds="", naive="300 x", raster="3 x", sixteen="", arithmetic="40 %"
)  # fmt: skip
LARGE = Wanted(
    naive_images=1, naive_rows=2, seconds="0.25 s", naive="1000s x", raster="5 x", sixteen="1.5 s", arithmetic="50 %"
)  # fmt: skip


def timed(work: Callable[[], Any], repeats: int = 3) -> tuple[float, Any]:
    """The median of ``repeats`` wall times in seconds, after one warm-up, and the last result."""
    result = work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2], result


def in_turns(*works: Callable[[], Any], repeats: int = 5) -> list[float]:
    """The best of ``repeats`` wall times of each work in seconds, measured in turns after one warm-up of each."""
    times = []
    for _ in range(1 + repeats):
        row = []
        for work in works:
            start = time.perf_counter()
            work()
            row.append(time.perf_counter() - start)
        times.append(row)
    return [min(column) for column in zip(*times[1:], strict=True)]


def matmul_rate(size: int = 1024) -> float:
    """GFLOP/s of one large onnxruntime MatMul on one thread."""
    rng = np.random.default_rng(0)
    weight = numpy_helper.from_array(rng.standard_normal((size, size), np.float32), "w")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", size])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", size])
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "matmul", [x], [y], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    session = open_session(model.SerializeToString(), "cpu")
    feed = {"x": rng.standard_normal((size, size), np.float32)}
    seconds, _ = timed(lambda: session.run(None, feed), repeats=9)
    return 2 * size**3 / seconds / 1e9


def rows(model: str, *, quick: bool) -> Iterator[Row]:
    bundle = open_bundle(model)
    one = pvae_zoo.load(model, device="cpu", threads=1)
    two = pvae_zoo.load(model, device="cpu", threads=2)
    wanted = LARGE if one.image.height >= 64 else SMALL
    n = 2 if quick else wanted.naive_images
    wavefront, images = timed(lambda: one.sample(n))
    yield f"wavefront, n = {n}, 1 thread", f"{wavefront:.3f} s", wanted.seconds

    rows = wanted.naive_rows or one.image.height
    naive_seconds, naive_images = _naive(one, n, rows)
    same = float(np.mean(naive_images[:, :, :rows] == images[:, :, :rows]))
    naive = f"naive PyTorch (a full pass for every value), n = {n}, 1 thread"
    if rows < one.image.height:
        naive += f", {rows} of {one.image.height} rows measured and the others reckoned alike"
    yield naive, f"{naive_seconds:.1f} s", ""
    yield "wavefront is faster than naive by", f"{naive_seconds / wavefront:.0f} x", wanted.naive
    yield "pixels equal, naive and wavefront", f"{same:.2%}", "99.9 %"

    single, drawn = timed(lambda: one.sample(1), repeats=9)
    raster, by_raster = timed(lambda: one.sample(1, order="raster"))
    yield "wavefront is faster than raster order, same graph, n = 1", f"{raster / single:.1f} x", wanted.raster
    yield "pixels equal, raster and wavefront", f"{np.mean(drawn == by_raster):.2%}", "100 %"

    operations = operations_per_image(bundle)
    for count in (1, 4, 16, 64):
        before = matmul_rate()  # close to what it is compared with: a shared machine's speed changes by the minute
        seconds, _ = timed(lambda count=count: one.sample(count))  # type: ignore[misc]
        rate, peak = operations * count / seconds / 1e9, (before + matmul_rate()) / 2
        share = wanted.arithmetic if count == 64 else ""
        what = f"arithmetic of sampling, all networks, n = {count}, 1 thread"
        yield what, f"{rate:.0f} GFLOP/s, {rate / peak:.0%} of a large MatMul's {peak:.0f}", share

    sixteen, _ = timed(lambda: two.sample(16))
    yield "wavefront, n = 16, two cores", f"{sixteen:.2f} s", wanted.sixteen
    count = 16 if quick else 128
    alone, _ = timed(lambda: one.sample(count))
    together, _ = timed(lambda: two.sample(count))
    yield f"two workers on two cores, n = {count}", f"{alone / together:.2f} x one", "1.7 x"


def operations_per_image(bundle: Bundle) -> float:
    """Floating-point operations of drawing an image that no sampler can do without, a multiply-add being two.

    The masked networks' products with weights that are not masked, once for each position, and the convolutions and
    linear maps of the networks above them. Not counted: what is computed to draw from a softmax, activations, margins.
    """
    steps = 2 * sum(spec.macs * spec.height * spec.width for spec in bundle.config.steps.values())
    model = model_of(checkpoint_of(bundle))
    latents = [torch.zeros(1, *shape) for shape in model.architecture.latent_shapes]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.decoder.context(latents[0])
        if len(latents) > 1:
            model.priors[0].context(latents[1])  # type: ignore[operator]
    return float(steps + counter.get_total_flops())


def noise_of_seed_0(runtime: Model, n: int) -> tuple[torch.Tensor, np.ndarray[Any, Any]]:
    """What `sample` draws n images from: z1 ``(n, *latent_shape)`` and uniforms ``(n, C, H, W)``."""
    image = runtime.image
    z1 = runtime.networks.draw_z1(latents.prior_noise(runtime.networks, 0, range(n)))
    u = noise.uniforms(0, range(n), noise.PIXELS, image.dimensions).reshape(n, *image.chw)
    return torch.from_numpy(z1), u


def _naive(runtime: Model, n: int, rows: int) -> tuple[float, np.ndarray[Any, Any]]:
    """PyTorch drawing the top rows of the images of seed 0 with no cache: seconds for whole images, and the images."""
    model = model_of(checkpoint_of(runtime.bundle))
    z1, u = noise_of_seed_0(runtime, n)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    start = time.perf_counter()
    drawn = naive_sample(model, z1, u, rows)
    seconds = (time.perf_counter() - start) * runtime.image.height / rows
    torch.set_num_threads(threads)
    return seconds, drawn.numpy()
