"""Tiny models and recipes that every test can afford."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from pvae_zoo.models.architecture import (
    Architecture,
    DecoderConfig,
    EncoderConfig,
    ImageShape,
    LatentLevel,
    PixelCNNConfig,
)
from pvae_zoo.training.recipe import Recipe, TrainingConfig


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def make_architecture() -> Callable[..., Architecture]:
    """A function from the options that matter to a test to a tiny architecture; the rest goes to the PixelCNN."""

    def make(
        image: tuple[int, int, int, int] = (1, 4, 4, 2),
        conditioning: str = "gates",
        latents: int = 2,
        kind: str = "vector",
        stage: int = 1,
        stem: int = 4,
        widths: tuple[int, ...] = (6,),
        grow: tuple[int, ...] | None = None,
        encoder_dropout: float = 0.0,
        **pixelcnn: Any,
    ) -> Architecture:
        if grow is None:
            grow = (6,) * (stage + 1) if conditioning == "upsample" else ()
        channels, height, width, levels = image
        return Architecture(
            image=ImageShape(channels=channels, height=height, width=width, levels=levels),
            latents=(LatentLevel(kind=kind, channels=latents, stage=stage),),
            encoder=EncoderConfig(stem=stem, widths=widths, dropout=encoder_dropout),
            decoder=DecoderConfig(
                conditioning=conditioning,
                widths=grow,
                pixelcnn=PixelCNNConfig(
                    **{"channels": 6, "layers": 2, "input_rows": 2, "rows": 1, "reach": 1, "head": 6} | pixelcnn
                ),
            ),
        )

    return make


@pytest.fixture(scope="session")
def make_recipe(make_architecture: Callable[..., Architecture]) -> Callable[..., Recipe]:
    """A function from training options to a recipe that takes milliseconds a step."""

    def make(architecture: Architecture | None = None, **training: Any) -> Recipe:
        defaults = {
            "seed": 3,
            "batch_size": 4,
            "steps": 12,
            "learning_rate": 1e-2,
            "warmup_steps": 2,
            "cooldown_steps": 4,
            "kl_warmup_steps": 6,
            "weight_decay": 0.01,
            "clip_norm": 100.0,
            "ema_decay": 0.9,
            "validate_every": 5,
        }
        return Recipe(
            name="tiny",
            title="A tiny model",
            dataset="made up",
            model=architecture or make_architecture(),
            training=TrainingConfig(**defaults | training),
        )

    return make


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB, where the system lets us mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if mount is None or subprocess.run([mount, *options], capture_output=True).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
