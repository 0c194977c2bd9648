"""Is what a config declares within bounds? Asked before a host allocates or loops as the config says."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from pvae_zoo.base.printable import shown
from pvae_zoo.contract.config import BundleConfig, GraphSpec, StepSpec
from pvae_zoo.trust.limits import (
    BUNDLE_BYTES,
    DRAWING_BYTES,
    GRAPH_BYTES,
    IMAGE_LOGITS,
    LATENTS,
    TENSOR_ELEMENTS,
)

_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SIZE = 1 << 16
"""Of heights, widths and channels, most of all; products have bounds of their own."""
_COUNT = 512
"""Tensors of a graph, canvases of a step."""
_STAGES = 16
"""Of a network in a recipe, each of which halves the image."""
_LAYERS = 64
"""Of a network in a recipe, or blocks of a stage."""
_NUMBER = 1 << 63
_TEXT = 1000
_DEPTH = 8


def screen_config(config: BundleConfig) -> list[str]:
    """What in a config is out of bounds, a line each; empty if nothing is."""
    problems = [*_texts(config), *_files(config), *_shapes(config), *_steps(config)]
    for key in ("training", "recipe", "progress", "guide"):
        problems += _plain(key, getattr(config, key))
    return problems or [*_architecture((config.recipe or {}).get("model"))]


def _texts(config: BundleConfig) -> Iterator[str]:
    # The name becomes part of file names.
    if not _MODEL.fullmatch(config.name) or ".." in config.name:
        yield f"its name is '{shown(config.name)}', not letters, digits, dots and dashes"
    if config.conversion is not None:
        if not _MODEL.fullmatch(config.conversion.source):
            yield f"it was made of '{shown(config.conversion.source)}', not letters, digits, dots and dashes"
        if not _SHA256.fullmatch(config.conversion.source_sha256):
            yield f"it was made of a model with the SHA-256 '{shown(config.conversion.source_sha256)}', which is none"
    for key, text in (("title", config.title), ("dataset", config.dataset)):
        if len(text) > _TEXT or not text.isprintable():
            yield f"its {key} is '{shown(text)}', not a line of at most {_TEXT} printable characters"


def _files(config: BundleConfig) -> Iterator[str]:
    files = [*config.graphs.values(), config.golden, *filter(None, [config.weights])]
    for file in files:
        if not _SHA256.fullmatch(file.sha256):
            yield f"{file.file} has the SHA-256 '{shown(file.sha256)}', which is none"
        yield from _between(f"size of {file.file}", file.size, 1, GRAPH_BYTES)
    yield from _between("size of all files", sum(file.size for file in files), 1, BUNDLE_BYTES)
    yield from _between("number of parameters", config.parameters, 0, BUNDLE_BYTES)
    for role, graph in config.graphs.items():
        yield from _tensors(role, graph)


def _tensors(role: str, graph: GraphSpec) -> Iterator[str]:
    for kind, tensors in (("inputs", graph.inputs), ("outputs", graph.outputs)):
        yield from _between(f"number of {kind} of {role}", len(tensors), 1, _COUNT)
        for tensor in tensors[:_COUNT]:
            where = f"{role}: {shown(tensor.name)}"
            if not _WORD.fullmatch(tensor.name):
                yield f"{where} is no name of a tensor"
            if any(not _WORD.fullmatch(size) for size in tensor.shape if isinstance(size, str)):
                yield f"{where} has a dimension that is neither a number nor a name"
            fixed = [size for size in tensor.shape if isinstance(size, int)]
            if len(tensor.shape) > 8 or any(size < 1 for size in fixed) or math.prod(fixed) > TENSOR_ELEMENTS:
                yield f"{where} has a shape out of bounds: {shown(list(tensor.shape))}"


def _shapes(config: BundleConfig) -> Iterator[str]:
    image = config.image
    for name, size in (("channels", image.channels), ("height", image.height), ("width", image.width)):
        yield from _between(f"image {name}", size, 1, _SIZE)
    yield from _between("logits of an image", image.dimensions * image.logits_per_value, 1, IMAGE_LOGITS)
    names = [level.name for level in config.latents]
    if names not in (["z1"], ["z1", "z2"]):
        yield f"its latents are '{shown(', '.join(names))}', not z1 or z1, z2"
    for level in config.latents[:2]:
        if len(level.shape) not in (1, 3) or any(size < 1 for size in level.shape):
            yield f"latent '{shown(level.name)}' has the shape {shown(list(level.shape))}, neither a vector nor a map"
        else:
            yield from _between(f"dimensions of {shown(level.name)}", math.prod(level.shape), 1, LATENTS)


def _steps(config: BundleConfig) -> Iterator[str]:
    image = config.image
    grids = {"decoder_step": image.chw}
    if len(config.latents) > 1:
        z1 = config.latents[0].shape
        grids["prior_step"] = z1 if len(z1) == 3 else (0, 0, 0)
    for role, step in config.steps.items():
        if role not in grids:
            yield f"it says how to drive '{shown(role)}', which is no step"
        elif (step.channels, step.height, step.width) != grids[role]:
            yield f"{role} draws {shown((step.channels, step.height, step.width))}, not {shown(grids[role])}"
        else:
            yield from _step(role, step)


def _step(role: str, step: StepSpec) -> Iterator[str]:
    geometry, context = step.geometry, step.context
    if context.rows not in (1, step.height * step.width):
        yield f"{role}: context rows is {shown(context.rows)}, neither 1 nor one a position"
    yield from _between(f"{role}: context channels", context.channels, 1, _SIZE)
    yield from _between(f"{role}: macs", step.macs, 0, 1 << 50)
    # The host runs width + slope * (height - 1) steps.
    yield from _between(f"{role}: slope", geometry.slope, 1, 64)
    yield from _between(f"{role}: top", geometry.top, 0, 64)
    yield from _between(f"{role}: left", geometry.left, 0, 64)
    yield from _between(f"{role}: stride", geometry.stride, step.width, step.width + 64)
    rows = (geometry.top + step.height) * geometry.stride
    yield from _between(f"{role}: rows_per_image", geometry.rows_per_image, 1, rows)
    yield from _between(f"{role}: number of canvases", len(step.canvases), 1, _COUNT)
    for canvas in step.canvases[:_COUNT]:
        if not _WORD.fullmatch(canvas.name):
            yield f"{role}: '{shown(canvas.name)}' is no name of a tensor"
        yield from _between(f"{role}: channels of {shown(canvas.name)}", canvas.channels, 1, _SIZE)
    canvases = geometry.rows_per_image * sum(canvas.channels for canvas in step.canvases)
    drawing = 4 * (canvases + context.rows * context.channels)
    yield from _between(f"{role}: bytes to draw an image", drawing, 1, DRAWING_BYTES)


def _plain(what: str, value: Any, depth: int = 0) -> Iterator[str]:
    """What a card or a terminal shows, or a training starts from: a few plain values."""
    if depth > _DEPTH:
        yield f"{what} is nested more than {_DEPTH} deep"
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _plain(what, key, depth)
            yield from _plain(what, item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            yield from _plain(what, item, depth + 1)
    elif isinstance(value, str) and (len(value) > _TEXT or not value.isprintable()):
        yield f"{what} says '{shown(value)}', not a line of at most {_TEXT} printable characters"
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{what} says {value}, which is no number"
    elif isinstance(value, int):
        yield from _between(f"a number of {what}", value, -_NUMBER, _NUMBER)


def _architecture(value: Any, key: str = "model") -> Iterator[str]:
    """The sizes of the networks that training further would build, in a recipe that `_plain` admits."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _architecture(item, name)
    elif isinstance(value, list):
        yield from _between(f"recipe: number of {key}", len(value), 0, _STAGES)
        for item in value[:_STAGES]:
            yield from _architecture(item, key)
    elif isinstance(value, int):
        yield from _between(f"recipe: {key}", value, 0, _LAYERS if key in ("layers", "blocks") else _SIZE)


def _between(what: str, value: int, least: int, most: int) -> Iterator[str]:
    if not least <= value <= most:
        yield f"{what} is {shown(value)}, not {least} to {most}"
