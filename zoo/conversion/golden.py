"""Golden vectors of a converted bundle: the noise of its source, and what its own graphs make of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.base.atomic import atomic_path
from pvae_zoo.checks.step_vectors import DRAWN, VALUES, step_vectors
from pvae_zoo.checks.verification import GOLDEN_ROWS, golden_rows, whole_image
from pvae_zoo.contract.folder import Bundle
from pvae_zoo.runtime.networks import Networks
from pvae_zoo.runtime.sessions import cores, open_session

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
    found = {**golden, "z1": z1, "image": drawn.images.astype(golden["image"].dtype)}
    if not bundle.config.numbers.is_float32:
        found["step_log_prob"] = drawn.log_prob
    whole = dict(found)
    for role, (inputs, outputs) in whole_image(bundle).items():
        feed = {name: whole[key] for name, key in inputs.items()}
        for key, value in zip(outputs.values(), networks.session(role).run(list(outputs), feed), strict=True):
            whole[key] = value
            found[key] = golden_rows(value, GOLDEN_ROWS) if key.endswith("context") else value
    for role in bundle.config.steps:
        found |= _own_steps(bundle, role, golden)
    return found


def _own_steps(bundle: Bundle, role: str, golden: _Arrays) -> _Arrays:
    """The golden steps of a step graph: given what those of the source are, what this one gives.

    Where the arithmetic is coarse the pixels are told, so that no rounding decides what is compared.
    """
    config = bundle.config
    found: _Arrays = {}
    vectors = step_vectors(config, role, golden)
    session = open_session(bundle.read_graph(role), "cpu")
    for vector in vectors:
        feed, names = dict(vector.feed), list(vector.expected)
        outputs = dict(zip(names, session.run(names, feed), strict=True))
        if "given" in feed and not config.numbers.is_float32:
            feed["given"] = outputs["pixels"]
            outputs = dict(zip(names, session.run(names, feed), strict=True))
        own = {name: outputs[name] for name in DRAWN[role]} | {name: feed[name] for name in VALUES[role]}
        after = {f"{canvas.name}_next" for canvas in config.steps[role].canvases}
        own |= {name: outputs[name][feed["positions"]] for name in after}
        found |= {f"{role}.{vector.step}.{name}": value for name, value in own.items()}
    return found


def write_golden(path: Path, vectors: _Arrays) -> None:
    """Write the vectors as a compressed ``.npz``."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **vectors)  # type: ignore[arg-type]
