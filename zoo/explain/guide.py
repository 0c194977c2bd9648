"""How a bundle's graphs are driven, in words and pseudocode: what a README, ``config.json`` and ``explain`` say.

One text for all three, ``guide.template`` with the loops of one level or two in its middle, filled in from the
contract's numbers. A test writes the loops from the README alone and compares them with this package.
"""

from __future__ import annotations

import textwrap
from importlib import resources
from string import Template

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.checks.gaps import tolerance_words
from pvae_zoo.checks.step_vectors import chosen_steps
from pvae_zoo.checks.verification import GOLDEN_ROWS
from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.contract.config import BundleConfig
from pvae_zoo.explain.tensors import image_words
from pvae_zoo.runtime.noise import PIXELS, normals, uniforms
from pvae_zoo.runtime.wavefront import positions
from pvae_zoo.trust.configuration import screen_config

_WIDTH = 80
_SECTION = "## "
_EXACT = "Drawn values must be the same: the golden uniforms are far from where rounding decides."
_COARSE = (
    "The arithmetic is coarse: what the steps give the values of the golden images is step_log_prob, what the decoder "
    "gives them log_prob, and a value that is drawn otherwise proves nothing."
)


class _Guide(Template):
    delimiter = "@@"


def guide(config: BundleConfig) -> dict[str, list[str]]:
    """The sections by title, each as lines of at most 80 characters; lines that begin with four spaces are code.

    Args:
        config: its files need not be written yet.
    """
    suffix = "one_level" if len(config.latents) == 1 else "two_levels"
    values = _values(config)
    text = _Guide(_read("guide")).substitute(values, loops=_Guide(_read(f"guide_{suffix}")).substitute(values))
    sections: dict[str, list[str]] = {}
    for block in text.strip().split("\n\n"):
        block = block.strip("\n")
        if block.startswith(_SECTION):
            lines = sections[block.removeprefix(_SECTION)] = []
            continue
        lines += [""] if lines else []
        lines += block.splitlines() if block.startswith("    ") else textwrap.wrap(" ".join(block.split()), _WIDTH)
    return sections


def guide_text(config: BundleConfig) -> str:
    """The guide as Markdown that reads well in a terminal.

    Raises:
        PvaeZooError: if the config is out of bounds.
    """
    problems = screen_config(config)
    if problems:
        raise PvaeZooError(f"the config of {config.name!r} is not safe to explain: {problems[0]}")
    return "\n".join("\n".join([f"### {title}", "", *lines, ""]) for title, lines in guide(config).items())


def _values(config: BundleConfig) -> dict[str, str]:
    image, step = config.image, config.steps["decoder_step"]
    first = config.latents[0]
    return {
        **_example(config),
        "image_type": config.image_type,
        "chw": f"(N, {image.channels}, {image.height}, {image.width})",
        "image": image_words(image),
        "convert": "make it grey (ITU-R 601 luma)," if image.channels == 1 else "make grey ones RGB,",
        "values": _value_words(image),
        "height": str(image.height),
        "width": str(image.width),
        "dimensions": str(image.dimensions),
        "uniforms": ", ".join(f"{u:.8g}" for u in uniforms(0, [0], PIXELS, 3)[0].astype(float)),
        "normals": ", ".join(f"{z:.8g}" for z in normals(0, [0], 1, 3)[0].astype(float)),
        "or_prior": "" if len(config.latents) == 1 else " or steps.prior_step",
        "last_t": str(step.width + step.geometry.slope * (step.height - 1) - 1),
        "golden_rows": str(GOLDEN_ROWS),
        "tolerance": tolerance_words(config.numbers.gap),
        "draws": _EXACT if config.numbers.draws is not None else _COARSE,
        "grey": f"{(image.levels - 1) / 2:g}",
        "cell_height": _cell(image.height, first.shape[1] if len(first.shape) == 3 else 1),
        "cell_width": _cell(image.width, first.shape[2] if len(first.shape) == 3 else 1),
    }


def _value_words(image: ImageShape) -> str:
    """How the values of a picture, 0 to 255, become those of an image."""
    if image.levels == 256:
        return "Values stay as they are."
    if image.levels == 2:
        return (
            "The model knows pictures in black and white alone: 0 becomes 0 and 255 becomes 1; of others, values from "
            "a threshold that you choose become 1."
        )
    return f"A value v of 0 to 255 becomes v * {image.levels} // 256."


def _example(config: BundleConfig) -> dict[str, str]:
    """A middle step of the pixels in numbers: the one that has golden vectors."""
    spec = config.steps["decoder_step"]
    step, g = chosen_steps(spec)["middle"], spec.geometry
    y, x = int(step.rows[0]), int(step.columns[0])
    at = [f"({row}, {column})" for row, column in zip(step.rows, step.columns, strict=True)]
    shown = at if len(at) <= 4 else [*at[:3], "..", at[-1]]
    row = int(positions(g, 1, step)[0])
    return {
        "t": str(x + g.slope * y),
        "at": ", ".join(shown).replace(", .., ", " .. "),
        "formula": f"({y} + {g.top}) * {g.stride} + {g.left} + {x} = {row}",
        "context_row": "0" if spec.context.rows == 1 else f"{y} * {spec.width} + {x} = {y * spec.width + x}",
    }


def _cell(side: int, places: int) -> str:
    """Pixels of the image along a side of a location of z1, a power of two."""
    cell = 1
    while places * cell < side:
        cell *= 2
    return str(cell)


def _read(name: str) -> str:
    return (resources.files("pvae_zoo.explain") / f"{name}.template").read_text("utf-8")
