"""Teacher-forced scoring over onnxruntime against the same network in PyTorch."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from sampling import Row, in_turns

import pvae_zoo
from pvae_zoo.export.bundle import model_of
from pvae_zoo.export.weights import checkpoint_of


def rows(model: str, *, quick: bool) -> Iterator[Row]:
    runtime = pvae_zoo.load(model, device="cpu", threads=1)
    network = model_of(checkpoint_of(runtime.bundle))
    images = runtime.sample(64 if quick or runtime.image.height >= 64 else 512)
    batch = runtime.networks.score_batch  # of 16, 32 and 64 PyTorch's fastest, too
    noise = [torch.randn(batch, *shape) for shape in network.architecture.latent_shapes]

    @torch.no_grad()
    def in_torch() -> None:
        for start in range(0, len(images), batch):
            network(torch.from_numpy(images[start : start + batch]), noise)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    eager, ours = in_turns(in_torch, lambda: runtime.nll(images))
    torch.set_num_threads(threads)
    yield "nll, 1 thread", f"{len(images) / ours:.0f} images/s", ""
    yield "PyTorch, eager, float32, 1 thread", f"{len(images) / eager:.0f} images/s", ""
    yield "nll is faster than PyTorch by", f"{eager / ours:.2f} x", "1 x"
