"""Golden vectors of a converted bundle: the noise of its source, and what its own graphs make of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.base.atomic import atomic_path
from pvae_zoo.checks.verification import GOLDEN_ROWS, golden_rows, whole_image
from pvae_zoo.contract.folder import Bundle
from pvae_zoo.runtime.networks import Networks
from pvae_zoo.runtime.sessions import cores

_Arrays = dict[str, NDArray[Any]]


def own_golden(bundle: Bundle, golden: _Arrays) -> _Arrays:
    """Latents and images drawn from the golden noise by a bundle's graphs, and all that they compute of these.

    Args:
        bundle: converted, its golden vectors not yet written.
        golden: of its source.

    Returns:
        The same names; ``step_log_prob`` beside them, what the steps give the images where the arithmetic is coarse.
    """
    networks = Networks(bundle, "cpu", cores())
    noise = [golden["z1_noise"]] if networks.levels == 1 else [golden["z1_noise"], golden["z2"]]
    z1 = networks.draw_z1(noise)
    drawn = networks.draw_pixels(z1, golden["uniforms"], np.full(golden["uniforms"].shape, -1, np.int64), 1.0)
    found = {**golden, "z1": z1, "image": drawn.images}
    if not bundle.config.numbers.is_float32:
        found["step_log_prob"] = drawn.log_prob
    whole = dict(found)
    for role, (inputs, outputs) in whole_image(bundle).items():
        feed = {name: whole[key] for name, key in inputs.items()}
        for key, value in zip(outputs.values(), networks.session(role).run(list(outputs), feed), strict=True):
            whole[key] = value
            found[key] = golden_rows(value, GOLDEN_ROWS) if key.endswith("context") else value
    return found


def write_golden(path: Path, vectors: _Arrays) -> None:
    """Write the vectors as a compressed ``.npz``."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **vectors)  # type: ignore[arg-type]
