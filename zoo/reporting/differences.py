"""What a conversion changed: a converted bundle beside the one that it was made of, measured in one run.

Bits per dimension are those of the bound (the graphs of whole images) and of the pixels given the latents as the step
graphs have them: sampling follows the latter. Where the two bundles differ in their sums a little, the first value that
is drawn otherwise changes all that are drawn after it, so that a share of changed pixels near that of two seeds may
still be the same model; the bits say whether it is.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import dacite
import numpy as np
from numpy.typing import NDArray

from pvae_zoo import __version__
from pvae_zoo.base.atomic import atomic_write
from pvae_zoo.checks.selftest import machine
from pvae_zoo.contract.folder import CONVERSION, Bundle
from pvae_zoo.runtime.model import Model
from pvae_zoo.runtime.scoring import bits_per_dim
from pvae_zoo.runtime.sessions import import_onnxruntime

SAMPLES = 16
"""Images that are drawn by both, with seed 0."""
_ROUNDS = 3
_OFTEN = 5.0
"""Seconds of a draw from which one round has to do."""
_TEXT = 200


@dataclass(frozen=True, kw_only=True)
class Differences:
    """The two bundles, each pair that of the source and that of the converted one.

    Attributes:
        images: how many were scored.
        of: whose images they are, in words.
        bits_per_dim: mean of the bound -ELBO, one draw of z an image.
        step_bits_per_dim: mean of -log p(x|z1) as the step graphs have it, z1 the source's posterior mean, the first
            16 images.
        changed_pixels: share of the values of 16 samples of seed 0 that differ.
        bytes: of all files with a hash.
        speed: CPU time of drawing these 16 images on one thread, the source's over the converted one's.
    """

    model_sha256: str
    source_sha256: str
    images: int
    of: str
    bits_per_dim: tuple[float, float]
    step_bits_per_dim: tuple[float, float]
    changed_pixels: float
    bytes: tuple[int, int]
    speed: float
    machine: str
    onnxruntime: str
    pvae_zoo: str


def measure(
    source: Bundle,
    converted: Bundle,
    given: tuple[NDArray[np.uint8], str] | None = None,
    say: Callable[[str], None] = lambda what: None,
) -> Differences:
    """Draw and score with both bundles.

    Args:
        given: images to score and whose they are; without them those that the source draws with seed 0.
        say: told what is measured next.
    """
    models = [Model(bundle, "cpu", 1) for bundle in (source, converted)]
    say(f"drawing {SAMPLES} images with each")
    drawn, speed = _drawn(models)
    images, of = given or (drawn[0], f"drawn by {source.name} itself, seed 0")
    say(f"scoring {len(images)} images with each")
    bound = [float(model.nll(images).bits_per_dim.mean()) for model in models]
    steps = _step_bits(models, images[:SAMPLES])
    return Differences(
        model_sha256=converted.digest,
        source_sha256=source.digest,
        images=len(images),
        of=of,
        bits_per_dim=(bound[0], bound[1]),
        step_bits_per_dim=steps,
        changed_pixels=float((drawn[0] != drawn[1]).mean()),
        bytes=(_size(source), _size(converted)),
        speed=speed,
        machine=machine(),
        onnxruntime=str(import_onnxruntime().__version__),
        pvae_zoo=__version__,
    )


def _drawn(models: list[Model]) -> tuple[list[NDArray[np.uint8]], float]:
    """The samples of each, and how many times faster the second draws: the best of a few turns each."""
    best, drawn = [float("inf")] * 2, []
    for model in models:
        model.sample(1)  # opens the graphs
    for turn in range(_ROUNDS):
        for number, model in enumerate(models):
            start = time.process_time()
            images = model.sample(SAMPLES, batch_size=SAMPLES)
            best[number] = min(best[number], time.process_time() - start)
            drawn += [images] if turn == 0 else []
        if max(best) > _OFTEN:
            break
    return drawn, best[0] / best[1]


def _step_bits(models: list[Model], images: NDArray[np.uint8]) -> tuple[float, float]:
    z1 = models[0].encode(images)[0].mean
    uniforms = np.zeros(images.shape, np.float32)
    told = [model.networks.draw_pixels(z1, uniforms, images.astype(np.int64), 1.0).log_prob for model in models]
    nats = [float(-log_prob.astype(np.float64).sum() / len(images)) for log_prob in told]
    return float(bits_per_dim(nats[0], models[0].image)), float(bits_per_dim(nats[1], models[0].image))


def _size(bundle: Bundle) -> int:
    return sum(spec.size for spec in bundle.files())


def save_differences(bundle: Bundle, found: Differences) -> None:
    """Write a converted bundle's ``conversion.json``."""
    atomic_write(bundle.folder / CONVERSION, (json.dumps({"differences": [asdict(found)]}, indent=2) + "\n").encode())


def stored_differences(bundle: Bundle) -> Differences | None:
    """What was measured of just these graphs, None where nothing was.

    Raises:
        PvaeZooError: if the file is damaged.
    """
    stated = bundle.measured(CONVERSION)
    for row in stated["differences"] if stated else ():
        try:
            found = dacite.from_dict(Differences, row, dacite.Config(strict=True, cast=[tuple]))
        except (dacite.DaciteError, TypeError, ValueError):
            continue
        texts = (found.of, found.machine, found.onnxruntime, found.pvae_zoo)
        if found.model_sha256 == bundle.digest and all(len(t) < _TEXT and t.isprintable() for t in texts):
            return found
    return None


def difference_rows(found: Differences, source: str, name: str) -> list[list[str]]:
    """The table: a head, then a row for each figure with both values and how they differ."""
    (size, small), (bound, new_bound), (steps, new_steps) = found.bytes, found.bits_per_dim, found.step_bits_per_dim
    return [
        ["", source, name, ""],
        ["size", f"{size / 2**20:.1f} MiB", f"{small / 2**20:.1f} MiB", f"{small / size:.2f} x"],
        ["bits/dim, the bound", f"{bound:.4f}", f"{new_bound:.4f}", f"{new_bound - bound:+.4f}"],
        ["bits/dim, pixels by steps", f"{steps:.4f}", f"{new_steps:.4f}", f"{new_steps - steps:+.4f}"],
        [f"pixels of {SAMPLES} samples that change", "", "", _percent(found.changed_pixels)],
        ["sampling speed", "", "", f"{found.speed:.2f} x"],
    ]


def measured_how(found: Differences) -> str:
    """On what the table was measured, a sentence."""
    return (
        f"Bits of {found.images} images {found.of}; speed by CPU time on one thread of {found.machine}, "
        f"onnxruntime {found.onnxruntime}."
    )


def conversion_text(bundle: Bundle) -> str:
    """The part of a card that says what a bundle was converted from; nothing of one that was exported so."""
    conversion, numbers = bundle.config.conversion, bundle.config.numbers
    if conversion is None:
        return ""
    text = (
        f"## Converted\n\n`{conversion.source}` ({conversion.source_sha256[:16]}) converted to {conversion.precision}: "
        f"{numbers.words}."
    )
    if bundle.config.image_type != "uint8":
        text += f" Its graphs take images as {bundle.config.image_type}."
    if not numbers.is_float32:
        text += (
            " `sample` draws from the step graphs and `nll` reads the graphs of whole images: the two are rounded in "
            "their own ways, and the table has the bits of both. On any machine outputs are within "
            f"{numbers.gap:g} of the golden vectors (absolute up to 1, relative beyond); drawn pixels differ where a "
            "sum falls to another number."
        )
    found = stored_differences(bundle)
    if found is not None:
        head, *rows = difference_rows(found, conversion.source, bundle.name)
        table = "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *rows])
        text += f"\n\n{table}\n\n{measured_how(found)}"
    return text + "\n\n"


def _percent(share: float) -> str:
    """A share that does not round a difference away."""
    return "none" if share == 0 else f"{max(100 * share, 0.01):.2f} %"
