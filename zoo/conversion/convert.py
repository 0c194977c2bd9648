"""``pvae-zoo convert``: a bundle in other numbers, as a bundle of its own."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from pvae_zoo.base.atomic import atomic_write, write_error
from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.checks.verification import read_golden, verify_bundle
from pvae_zoo.contract.config import BundleConfig, ConversionSpec, GraphSpec
from pvae_zoo.contract.folder import CARD, CONFIG, GOLDEN, Bundle, file_spec
from pvae_zoo.contract.precision import FLOAT16, FLOAT16_WEIGHTS, FLOAT32, INT8, PRECISIONS
from pvae_zoo.conversion.golden import own_golden, write_golden
from pvae_zoo.explain.guide import guide
from pvae_zoo.graphs.half import as_float16
from pvae_zoo.graphs.image_input import with_float_images
from pvae_zoo.graphs.quantised import as_int8
from pvae_zoo.graphs.rewriting import checked, parsed
from pvae_zoo.graphs.stored import as_float16_weights, as_float32
from pvae_zoo.reporting.card import render_card
from pvae_zoo.reporting.differences import Differences, measure, save_differences
from pvae_zoo.sources.pull import copy_bundle

_STORED = {FLOAT32: "float32", FLOAT16_WEIGHTS: "float16", FLOAT16: "float16", INT8: "int8"}


@dataclass(frozen=True)
class Converted:
    """A converted bundle in its folder, and what the conversion changed."""

    bundle: Bundle
    differences: Differences


def convert(
    bundle: Bundle,
    precision: str,
    folder: Path,
    *,
    float_images: bool = False,
    given: tuple[NDArray[np.uint8], str] | None = None,
    say: Callable[[str], None] = lambda what: None,
) -> Converted:
    """Write a bundle in other numbers: graphs, config, golden vectors, what changed, and a card that says it.

    It is made beside its place and verified; what does not hold replaces nothing.

    Args:
        bundle: its graphs run, so it is admitted before.
        precision: a name of `pvae_zoo.contract.precision.PRECISIONS`.
        folder: where to; nothing may be there yet.
        float_images: whether the graphs are to take images as float32, not uint8.
        given: images to score with both and whose they are; without them those that the bundle draws.
        say: told what is done next.

    Raises:
        PvaeZooError: if there is nothing to convert, something is in the folder, the bundle is damaged or none of ours.
    """
    _check(bundle, precision, float_images, folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.")
    except OSError as error:
        raise write_error(folder, error) from error
    with beside as path:
        say(f"converting {len(bundle.config.roles)} graphs")
        made = _write(bundle, precision, float_images, Path(path))
        found = verify_bundle(made)
        if not found.ok:
            raise PvaeZooError(f"what {bundle.folder} was converted to does not hold: {found.problems[0]}")
        differences = measure(bundle, made, given, say)
        save_differences(made, differences)
        atomic_write(made.folder / CARD, render_card(made).encode())
        copy_bundle(made, folder)
    return Converted(Bundle(folder), differences)


def _check(bundle: Bundle, precision: str, float_images: bool, folder: Path) -> None:
    has = bundle.config.precision
    if has == precision and (not float_images or bundle.config.image_type == "float32"):
        raise PvaeZooError(f"{bundle.name} is {precision} already ({bundle.folder}): there is nothing to convert")
    if not PRECISIONS[has].is_float32:
        source = bundle.config.conversion.source if bundle.config.conversion else "the bundle"
        raise PvaeZooError(
            f"{bundle.folder} is {has}, and what was rounded does not come back: convert {source}, which it was made of"
        )
    try:
        if folder.exists() and folder.resolve() == bundle.folder.resolve():
            raise PvaeZooError(f"--out {folder} is the bundle that is converted: name a new folder")
        if folder.exists() and not folder.is_dir():
            raise PvaeZooError(f"--out {folder} is a file: name a new folder")
        if folder.is_dir() and any(folder.iterdir()):
            raise PvaeZooError(f"--out {folder} holds something already: name a new folder")
    except OSError as error:
        raise write_error(folder, error) from error


def _write(bundle: Bundle, precision: str, float_images: bool, folder: Path) -> Bundle:
    """All but the measured figures and the card."""
    problems: list[str] = []
    golden = read_golden(bundle, problems)
    if problems:
        raise PvaeZooError(f"{bundle.folder} is damaged: {problems[0]}; pull or export the bundle again")
    config = _renamed(bundle, precision)
    graphs = {}
    for role, spec in bundle.config.graphs.items():
        where = f"{bundle.folder / spec.file}"
        model = parsed(bundle.read_graph(role), where)
        if float_images:
            model, spec = with_float_images(model, spec)
        model = _rewritten(model, role, precision)
        _state(model, config, spec)
        path = folder / spec.file
        atomic_write(path, checked(model, where))
        graphs[role] = GraphSpec(**asdict(file_spec(path)), inputs=spec.inputs, outputs=spec.outputs)
    config = replace(config, graphs=graphs)
    config = replace(config, guide=None if bundle.config.guide is None else guide(config))
    if config.image_type == "float32":
        golden["image"] = golden["image"].astype(np.float32)
    if precision != FLOAT32:  # which changes no output: PyTorch's own vectors stay
        golden = own_golden(Bundle.unfinished(folder, config), golden)
    write_golden(folder / GOLDEN, golden)
    config = replace(config, golden=file_spec(folder / GOLDEN))
    atomic_write(folder / CONFIG, config.to_json().encode())
    return Bundle(folder)


def _rewritten(model: onnx.ModelProto, role: str, precision: str) -> onnx.ModelProto:
    if precision == INT8:
        return as_int8(model, role)
    return {FLOAT32: as_float32, FLOAT16_WEIGHTS: as_float16_weights, FLOAT16: as_float16}[precision](model)


def _renamed(bundle: Bundle, precision: str) -> BundleConfig:
    """The config of the converted bundle, its files still those of the source."""
    config = bundle.config
    name = config.name
    if config.conversion is not None:
        name = name.removesuffix(f"-{config.conversion.precision}")
    conversion = ConversionSpec(precision=precision, source=config.name, source_sha256=bundle.digest)
    training = config.training | ({"stored": _STORED[precision]} if "stored" in config.training else {})
    return replace(config, name=f"{name}-{precision}", conversion=conversion, training=training, weights=None)


def _state(model: onnx.ModelProto, config: BundleConfig, spec: GraphSpec) -> None:
    """Let a graph's metadata say what it has become."""
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    conversion = asdict(config.conversion) if config.conversion else None
    try:
        stated: dict[str, Any] = json.loads(metadata["pvae.config"])
        stated |= {"name": config.name, "conversion": conversion, "inputs": [asdict(tensor) for tensor in spec.inputs]}
    except (KeyError, ValueError, TypeError) as error:
        raise PvaeZooError(f"{model.graph.name} has no contract in its metadata: it is no graph of ours") from error
    if "training" in stated:
        stated["training"] = config.training
    del model.metadata_props[:]
    helper.set_model_props(model, metadata | {"pvae.config": json.dumps(stated)})
