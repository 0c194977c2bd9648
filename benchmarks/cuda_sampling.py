"""Images a second: every order of sampling against PyTorch's fixed point on the same card."""

from __future__ import annotations

import sys
from functools import partial
from unittest.mock import patch

import numpy as np
import torch
from cuda_bench import Bench
from cuda_rows import Measured, Row
from orders import Passes

from pvae_zoo.export.reference import fixed_point_sample, sample_z1
from pvae_zoo.runtime import captures, latents, noise
from pvae_zoo.runtime.model import Model
from pvae_zoo.sources.registry import open_bundle

ORDERS = ("wavefront", "fixed-point")
TORCH = "PyTorch's fixed point"


def parity(bench: Bench, name: str) -> Measured:
    """Are these the images of the CPU, and does it score them alike?"""
    count = 2 if bench.quick else 16
    here, cpu = bench.model(name), bench.cpu(name)
    by_device, by_cpu = here.sample(count), cpu.sample(count)
    equal = (by_device == by_cpu).all(axis=(1, 2, 3)).sum()
    apart = float(np.abs(here.nll(by_cpu).nll_nats - cpu.nll(by_cpu).nll_nats).max())
    values = np.mean(by_device == by_cpu)
    return f"{equal} of {count} images equal, {values:.2%} of values; -ELBO differs by {apart:.1e} nats at most", {}


def by_torch(bench: Bench, name: str, n: int) -> Measured:
    """PyTorch draws every value anew, all at once, until none changes; z1 of two levels likewise."""
    networks, network = bench.model(name).networks, bench.network(name)
    image = networks.config.image
    eps = [torch.from_numpy(level).to(bench.device) for level in latents.prior_noise(networks, 0, range(n))]
    u = noise.uniforms(0, range(n), noise.PIXELS, image.dimensions).reshape(n, *image.chw)

    def draw() -> torch.Tensor:
        return fixed_point_sample(network, sample_z1(network, eps[0], *eps[1:]), u)

    seconds, drawn = bench.timed(draw, most=3)
    equal = (drawn.cpu().numpy() == bench.model(name).sample(n)).mean(axis=(1, 2, 3)) == 1
    return f"{n / seconds:.1f} images/s; {equal.mean():.0%} of images equal to ours", {_key(name, n): n / seconds}


def by_us(bench: Bench, name: str, n: int, order: str) -> Measured:
    """What `Model.sample` draws in one batch."""
    model = bench.model(name)
    with Passes() as passes:
        seconds, _ = bench.timed(partial(model.sample, n, batch_size=n, order=order))
    rate, key = n / seconds, f"{_key(name, n)}, {order}"
    text = f"{rate:.1f} images/s{bench.against(rate, _key(name, n), TORCH)}"
    if order != "wavefront":
        text += bench.against(rate, f"{_key(name, n)}, wavefront", "the wavefront")
    if passes.last:
        text += f"; {' or '.join(map(str, sorted(set(passes.last))))} passes"
    return text, {key: rate}


def captured(bench: Bench, name: str) -> Measured:
    """Are the steps of the wavefront CUDA graphs, and if not, why?"""
    networks = bench.model(name).networks
    grids = {"pixels": networks.pixel_sampler.grid} | ({"z1": networks.prior_sampler} if networks.levels > 1 else {})
    return "; ".join(f"{what}: {grid.uncaptured or 'captured'}" for what, grid in grids.items()), {}


def uncaptured(bench: Bench, name: str, n: int) -> Measured:
    """The wavefront without CUDA graphs, as an older onnxruntime runs it."""
    with patch.object(captures, "CAPTURES_FROM", (sys.maxsize,)):
        model = Model(open_bundle(name), bench.device)
        seconds, _ = bench.timed(partial(model.sample, n, batch_size=n, order="wavefront"))
    rate = n / seconds
    return f"{rate:.1f} images/s{bench.against(rate, f'{_key(name, n)}, wavefront', 'the wavefront with them')}", {}


def _key(name: str, n: int) -> str:
    return f"{name}, n = {n}"


def parity_row(name: str) -> Row:
    return Row(f"{name}: are images and bounds those of the CPU?", partial(parity, name=name), seconds=20)


def captured_row(name: str) -> Row:
    return Row(f"{name}: are the steps CUDA graphs?", partial(captured, name=name))


def torch_row(name: str, n: int, *, seconds: float = 10) -> Row:
    return Row(f"sample {name}, n = {n}, {TORCH}", partial(by_torch, name=name, n=n), seconds=seconds)


def our_rows(name: str, n: int, orders: tuple[str, ...] = ORDERS, *, wanted: str = "", seconds: float = 8) -> list[Row]:
    """The orders of drawing n images; a figure that is wanted is that of the fastest."""
    what = f"sample {name}, n = {n}"
    return [Row(f"{what}, {order}", partial(by_us, name=name, n=n, order=order), wanted, seconds) for order in orders]


def uncaptured_row(name: str, n: int) -> Row:
    what = f"sample {name}, n = {n}, wavefront without CUDA graphs"
    return Row(what, partial(uncaptured, name=name, n=n), seconds=8)
