"""Tiny models and recipes that every test can afford."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The Hub's client reads its settings when it is imported: no test may touch the user's own cache or token.
os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="pvae-zoo-tests-")
os.environ.pop("HF_TOKEN", None)

import pytest
import torch

from pvae_zoo.contract.architecture import (
    Architecture,
    DecoderConfig,
    EncoderConfig,
    ImageShape,
    LatentLevel,
    PixelCNNConfig,
    PriorConfig,
)
from pvae_zoo.contract.folder import CONFIG, Bundle
from pvae_zoo.export.bundle import model_of, write_bundle
from pvae_zoo.models.pixelvae import PixelVAE
from pvae_zoo.sources import registry
from pvae_zoo.training.checkpoint import Checkpoint, RunProgress
from pvae_zoo.training.recipe import Recipe, TrainingConfig


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """A shell ignores Ctrl-C for what it starts in the background, and every child would inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _own_cache() -> Iterator[None]:
    yield
    shutil.rmtree(os.environ["HF_HOME"], ignore_errors=True)


@pytest.fixture(autouse=True)
def _no_current_model(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What one test pulls is not what another means when it names no model."""
    from pvae_zoo.sources.current import VARIABLE, current_file

    monkeypatch.delenv(VARIABLE, raising=False)
    kept = current_file()
    yield
    kept.unlink(missing_ok=True)


VOUCHED: set[str] = set()
"""Hashes of the configs of tiny bundles: the tests vouch for them, as the registry does for those of the package."""


@pytest.fixture(scope="session", autouse=True)
def _vouch() -> Iterator[None]:
    shipped = registry.pinned_configs
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "pinned_configs", lambda: shipped() | VOUCHED)
        yield


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


PRIOR_PIXELCNN = PixelCNNConfig(channels=6, layers=2, input_rows=2, rows=1, reach=1, head=8)


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
        top: int = 0,
        **pixelcnn: Any,
    ) -> Architecture:
        if top:
            conditioning, kind, widths = "upsample", "map", (6,) * (stage + 1)
        if grow is None:
            grow = (6,) * (stage + 1) if conditioning == "upsample" else ()
        channels, height, width, levels = image
        above = (LatentLevel(kind="vector", channels=top, stage=stage + 1),) if top else ()
        return Architecture(
            image=ImageShape(channels=channels, height=height, width=width, levels=levels),
            latents=(LatentLevel(kind=kind, channels=latents, stage=stage), *above),
            encoder=EncoderConfig(stem=stem, widths=widths, dropout=encoder_dropout),
            decoder=DecoderConfig(
                conditioning=conditioning,
                widths=grow,
                pixelcnn=PixelCNNConfig(
                    **{"channels": 6, "layers": 2, "input_rows": 2, "rows": 1, "reach": 1, "head": 6} | pixelcnn
                ),
            ),
            prior=PriorConfig(widths=(6, 6), pixelcnn=PRIOR_PIXELCNN) if top else None,
        )

    return make


@pytest.fixture(scope="session")
def make_recipe(make_architecture: Callable[..., Architecture]) -> Callable[..., Recipe]:
    """A function from training options to a recipe that takes milliseconds a step."""

    def make(architecture: Architecture | None = None, **training: Any) -> Recipe:
        architecture = architecture or make_architecture()
        defaults = {
            "seed": 3,
            "batch_size": 4,
            "steps": 12,
            "learning_rate": 1e-2,
            "warmup_steps": 2,
            "cooldown_steps": 4,
            "kl_warmup_steps": (6,) * len(architecture.latents),
            "weight_decay": 0.01,
            "clip_norm": 100.0,
            "ema_decay": 0.9,
            "validate_every": 5,
        }
        return Recipe(
            name="tiny",
            title="A tiny model",
            dataset="made up",
            model=architecture,
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


# ---- tiny bundles: random weights, exported once a session ----


@dataclass(frozen=True)
class Tiny:
    """A random model, its checkpoint and the bundle exported from it."""

    model: PixelVAE
    checkpoint: Checkpoint
    bundle: Bundle


TINY = {
    "gates": {"image": (1, 7, 6, 2), "latents": 3, "input_rows": 3, "rows": 2, "reach": 2},
    "upsample": {"image": (1, 7, 9, 2), "conditioning": "upsample", "stage": 2, "widths": (6, 6)},
    "map": {"image": (3, 4, 5, 4), "conditioning": "upsample", "kind": "map", "embedding": 2, "reach": 2},
    "colour": {"image": (3, 5, 6, 5), "embedding": 3, "rows": 2, "head": 9},
    "bytes": {"image": (3, 4, 4, 256), "latents": 4},
    "grey": {"image": (1, 5, 5, 4), "stage": 2, "widths": (4, 6), "embedding": 1, "input_rows": 1, "rows": 2},
    "narrow": {"image": (1, 6, 2, 2), "rows": 2, "reach": 3},
    "shallow": {"image": (3, 3, 4, 3), "layers": 0, "head": 3},
    "levels": {"image": (3, 7, 6, 4), "top": 3, "embedding": 1},
    "binary levels": {"image": (1, 6, 9, 2), "top": 2, "reach": 2},
}
SQUARE = {"image": (1, 2, 2, 2), "latents": 1}


def _gain(name: str) -> float:
    """Makes what z says loud enough to be seen; the upsampling path starts loud by itself."""
    if name.startswith("decoder.context.linear"):
        return 2.0
    return 1.0 if name.startswith(("decoder.context", "priors.0")) else 1.4


def _untrained(architecture: Architecture) -> PixelVAE:
    """Random weights far from a start's: every bias matters, and probabilities are far from even."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = PixelVAE(architecture).eval()
        with torch.no_grad():
            for name, weights in model.named_parameters():
                if name.endswith("bias"):
                    weights.normal_(0, 0.3)
                else:
                    weights.mul_(_gain(name))
            model.decoder.pixelcnn.output.weight.mul_(2 if architecture.image.levels == 2 else 6)
    return model


@pytest.fixture(scope="session")
def make_tiny(
    make_architecture: Callable[..., Architecture],
    make_recipe: Callable[..., Recipe],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Tiny]:
    """A function from the options of `make_architecture` to a `Tiny`, made once for each."""
    made: dict[str, Tiny] = {}

    def make(**options: Any) -> Tiny:
        if repr(options) not in made:
            recipe = make_recipe(make_architecture(**options))
            ema = {f"ema.{name}": value for name, value in _untrained(recipe.model).state_dict().items()}
            progress = RunProgress(
                step=12, images=48, seconds=7200.0, best_step=10, best_elbo=-12.25, hardware="2 cores"
            )
            checkpoint = Checkpoint(recipe, progress, ema)
            folder = tmp_path_factory.mktemp("tiny")
            write_bundle(checkpoint, folder)
            VOUCHED.add(hashlib.sha256((folder / CONFIG).read_bytes()).hexdigest())
            made[repr(options)] = Tiny(model_of(checkpoint), checkpoint, Bundle(folder))
        return made[repr(options)]

    return make


@pytest.fixture(scope="session", params=TINY.values(), ids=TINY.keys())
def tiny(request: pytest.FixtureRequest, make_tiny: Callable[..., Tiny]) -> Tiny:
    """Each tiny bundle in turn: binary and softmax, 1 and 3 channels, odd sizes, either conditioning."""
    return make_tiny(**request.param)


@pytest.fixture(scope="session")
def gates(make_tiny: Callable[..., Tiny]) -> Tiny:
    """Binary 7 x 6 images, z in every gate."""
    return make_tiny(**TINY["gates"])


@pytest.fixture(scope="session")
def upsample(make_tiny: Callable[..., Tiny]) -> Tiny:
    """Binary 7 x 9 images, z grown to image size."""
    return make_tiny(**TINY["upsample"])


@pytest.fixture(scope="session")
def colour(make_tiny: Callable[..., Tiny]) -> Tiny:
    """5 x 6 images of 3 channels with 5 levels."""
    return make_tiny(**TINY["colour"])


@pytest.fixture(scope="session")
def levels(make_tiny: Callable[..., Tiny]) -> Tiny:
    """7 x 6 images of 3 channels with 4 levels, z1 a map of 4 x 3 locations below a vector z2."""
    return make_tiny(**TINY["levels"])


@pytest.fixture(scope="session")
def square(make_tiny: Callable[..., Tiny]) -> Tiny:
    """Binary 2 x 2 images and one latent dimension: everything can be enumerated."""
    return make_tiny(**SQUARE)


@pytest.fixture
def copy_bundle(tmp_path: Path) -> Callable[[Bundle], Path]:
    """A function from a bundle to the folder of a copy that a test may spoil."""

    def copy(bundle: Bundle) -> Path:
        return Path(shutil.copytree(bundle.folder, tmp_path / "copy"))

    return copy
