"""Likelihoods a second: `Model.nll` against PyTorch eager and compiled, on one card and with one batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from cuda_bench import Bench, Images
from cuda_rows import Measured, Row

from pvae_zoo.runtime.model import Model
from pvae_zoo.runtime.sessions import CPU, CudaOptions

Options = dict[str, Any]

SMALL, LARGE = 8192, 512
"""Images that are scored, of 28x28 and of 64x64."""


def images_of(bench: Bench, name: str) -> Images:
    count = LARGE if bench.model(name).image.height >= 64 else SMALL
    return bench.images(name, 16 if bench.quick else count)


def batch_of(model: Model) -> int:
    """Images that `Model.nll` scores at once."""
    networks = model.networks
    return networks.score_batch if model.provider == CPU else networks.device_scorer.batch


def by_torch(bench: Bench, name: str, *, compiled: bool) -> Measured:
    """The bound of the same images; they come from the host, and the figures go back to it."""
    network, images = bench.network(name), images_of(bench, name)
    batch = min(batch_of(bench.model(name)), len(images))
    shapes = network.architecture.latent_shapes
    run: Callable[..., torch.Tensor] = torch.compile(network, dynamic=False) if compiled else network  # type: ignore

    @torch.no_grad()
    def score() -> None:
        for start in range(0, len(images), batch):
            x = torch.from_numpy(images[start : start + batch]).to(bench.device)
            terms = run(x, [torch.randn(len(x), *shape, device=bench.device) for shape in shapes])
            terms.value.cpu()

    seconds, _ = bench.timed(score)
    rate, way = len(images) / seconds, "compiled" if compiled else "eager"
    text = f"{rate:.0f} images/s, {batch} at once"
    if compiled and (ours := bench.rates.get(f"{name}, ours")):
        text += f"; ours is {ours / rate:.2f} x"
    return text, {f"{name}, {way}": rate}


def by_us(bench: Bench, name: str, samples: int = 1) -> Measured:
    """`Model.nll`, with its images from the host and its figures there."""
    images = images_of(bench, name)[: None if samples == 1 else 512]
    seconds, _ = bench.timed(partial(bench.model(name).nll, images, samples=samples))
    rate, one = len(images) / seconds, f"{name}, ours"
    if samples == 1:
        return f"{rate:.0f} images/s{bench.against(rate, f'{name}, eager', 'PyTorch eager')}", {one: rate}
    draws = rate * samples
    return f"{rate:.0f} images/s, {draws:.0f} draws/s{bench.against(draws, one, 'those with one draw')}", {}


def otherwise(bench: Bench, name: str, of_model: Options | None = None, of_nll: Options | None = None) -> Measured:
    """`Model.nll` with options, and how far its figures are from those without."""
    images, plain = images_of(bench, name), bench.model(name)
    model = bench.model(name, **of_model) if of_model else plain
    seconds, scores = bench.timed(partial(model.nll, images, **of_nll or {}))
    apart = scores.bits_per_dim - plain.nll(images).bits_per_dim
    rate = len(images) / seconds
    text = f"{rate:.0f} images/s{bench.against(rate, f'{name}, ours', 'ours without')}"
    return f"{text}; {apart.mean():+.1e} bits/dim on average, {abs(apart).max():.1e} at most", {}


def scoring_rows(name: str, *, seconds: float = 8) -> list[Row]:
    """Ours and PyTorch's, which comes first."""
    return [
        Row(f"nll {name}, PyTorch eager", partial(by_torch, name=name, compiled=False), seconds=seconds),
        Row(f"nll {name}", partial(by_us, name=name), ">= 1.0 x eager", seconds),
    ]


def compiled_row(name: str) -> Row:
    what = f"nll {name}, PyTorch compiled"
    return Row(what, partial(by_torch, name=name, compiled=True), "ours >= 0.8 x", 30)


def variant_rows(name: str, *, seconds: float = 8) -> list[Row]:
    """What a longer search of cuDNN's algorithms and arithmetic in fewer bits give."""
    ways: dict[str, dict[str, Options]] = {
        "cuDNN's search EXHAUSTIVE": {"of_model": {"cuda": CudaOptions(search="EXHAUSTIVE")}},
        "--precision tf32": {"of_nll": {"precision": "tf32"}},
        "--precision float16": {"of_nll": {"precision": "float16"}},
    }
    return [Row(f"nll {name}, {way}", partial(otherwise, name=name, **how), "", seconds) for way, how in ways.items()]


def draws_row(name: str, samples: int) -> Row:
    return Row(f"nll {name}, -k {samples}", partial(by_us, name=name, samples=samples), seconds=8)
