"""A complete program in some language, from a bundle's contract alone."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from importlib import resources
from string import Template
from typing import Any

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.config import BundleConfig, StepSpec
from pvae_zoo.trust.configuration import screen_config

LANGUAGES = ("python", "javascript", "cpp", "rust")
"""That there are programs in."""

_WIDTH = 116


class _Program(Template):
    """None of the languages has a use for two at signs."""

    delimiter = "@@"


def program(config: BundleConfig, language: str) -> str:
    """The program, which takes a seed, the file to write and the bundle's folder.

    Args:
        config: its words end up in a program that somebody will run: they are looked into first.
        language: one of `LANGUAGES`; there is a template for each, and the tests run what it gives.

    Raises:
        PvaeZooError: if the config is out of bounds.
    """
    problems = screen_config(config)
    if problems:
        raise PvaeZooError(f"the config of {config.name!r} is not safe to write a program from: {problems[0]}")
    image, levels = config.image, len(config.latents)
    suffix = "one_level" if levels == 1 else "two_levels"
    values = {
        "name": config.name,
        "picture": f"{config.name}.{'pgm' if image.channels == 1 else 'ppm'}",
        "format": "P5" if image.channels == 1 else "P6",
        "kind": f"{image.width} x {image.height}, {'grey' if image.channels == 1 else 'colour'}",
        "channels": str(image.channels),
        "height": str(image.height),
        "width": str(image.width),
        "last_value": str(image.levels - 1),
        "pixels": str(image.height * image.width),
        "dimensions": str(image.dimensions),
        "steps": _STEPS[language]({role: _step(spec) for role, spec in config.steps.items()}),
        **{f"{latent.name}_shape": _SHAPES[language](json.dumps(latent.shape)) for latent in config.latents},
    }
    latents = _Program(_read(f"{language}_{suffix}")).substitute(values).rstrip()
    return _Program(_read(language)).substitute(values, latents=latents)


def _read(name: str) -> str:
    return (resources.files("pvae_zoo.explain") / f"{name}.template").read_text("utf-8")


def _step(spec: StepSpec) -> dict[str, Any]:
    """What the loop over a grid needs."""
    grid = spec.geometry
    return {
        "channels": spec.channels, "height": spec.height, "width": spec.width, "top": grid.top, "left": grid.left,
        "stride": grid.stride, "rows": grid.rows_per_image, "slope": grid.slope,
        "canvases": {canvas.name: canvas.channels for canvas in spec.canvases},
    }  # fmt: skip


def _literal(steps: dict[str, dict[str, Any]]) -> str:
    """Nested words and numbers as JSON, which is Python and JavaScript as well, in lines that can be read."""
    lines = []
    for role, step in steps.items():
        inner = _filled(json.dumps(step)[1:-1], " " * 8)
        lines.append(f"    {json.dumps(role)}: {{\n{inner},\n    }},")
    return "{\n" + "\n".join(lines) + "\n}"


def _cpp_steps(steps: dict[str, dict[str, Any]]) -> str:
    """A constant for each step graph, with the names of C++20's members."""
    made = []
    for role, step in steps.items():
        canvases = ", ".join(f"{{{json.dumps(name)}, {channels}}}" for name, channels in step["canvases"].items())
        members = [f".{name} = {value}" for name, value in step.items() if name != "canvases"]
        text = ", ".join([f".role = {json.dumps(role)}", *members, f".canvases = {{{canvases}}}"])
        made.append(f"const Step {role.upper()} = {{\n{_filled(text, '    ')}}};")
    return "\n".join(made)


def _rust_steps(steps: dict[str, dict[str, Any]]) -> str:
    """A constant for each step graph."""
    made = []
    for role, step in steps.items():
        canvases = ", ".join(f"({json.dumps(name)}, {channels})" for name, channels in step["canvases"].items())
        members = [f"{name}: {value}" for name, value in step.items() if name != "canvases"]
        text = ", ".join([f"role: {json.dumps(role)}", *members, f"canvases: &[{canvases}]"])
        made.append(f"const {role.upper()}: Step = Step {{\n{_filled(text, '    ')},\n}};")
    return "\n".join(made)


def _filled(text: str, indent: str) -> str:
    return textwrap.fill(text, _WIDTH, initial_indent=indent, subsequent_indent=indent)


_STEPS = {"python": _literal, "javascript": _literal, "cpp": _cpp_steps, "rust": _rust_steps}
_SHAPES: dict[str, Callable[[str], str]] = {
    "python": str,
    "javascript": str,
    "cpp": lambda numbers: f"{{{numbers[1:-1]}}}",
    "rust": lambda numbers: f"&{numbers}",
}
