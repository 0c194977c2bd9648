"""From a checkpoint to a bundle: the graphs, the contract, the golden vectors."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from pvae_zoo.base.atomic import atomic_write
from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.config import FORMAT, BundleConfig, FileSpec, GraphSpec, LatentSpec, StepSpec
from pvae_zoo.contract.folder import CONFIG, GOLDEN, Bundle, file_spec
from pvae_zoo.contract.licence import licence_of
from pvae_zoo.explain.guide import guide
from pvae_zoo.explain.tensors import tensor_words
from pvae_zoo.export.golden import Draw, golden_vectors, write_golden
from pvae_zoo.export.logits import plain_layer
from pvae_zoo.export.pixel_step import pixel_step_graph, pixel_step_spec
from pvae_zoo.export.prior import prior_context_graph, prior_graph, standard_prior_graph
from pvae_zoo.export.prior_step import prior_step_graph, prior_step_spec
from pvae_zoo.export.whole_image import decoder_context_graph, decoder_graph, encoder_graph
from pvae_zoo.graphs.builder import GraphBuilder, as_half
from pvae_zoo.models.pixelcnn import SmoothLogits
from pvae_zoo.models.pixelvae import PixelVAE
from pvae_zoo.runtime.networks import Networks
from pvae_zoo.runtime.sessions import cores
from pvae_zoo.training.checkpoint import Checkpoint, RunProgress
from pvae_zoo.training.recipe import Recipe

_DECODER = {"decoder_context": decoder_context_graph, "decoder": decoder_graph, "decoder_step": pixel_step_graph}
_ONE_LEVEL = {"encoder": encoder_graph, "prior": standard_prior_graph, **_DECODER}
_PRIOR = {"prior_context": prior_context_graph, "prior": prior_graph, "prior_step": prior_step_graph}
_TWO_LEVELS = {"encoder": encoder_graph, **_PRIOR, **_DECODER}
_REPEATED = ("format", "name", "title", "dataset", "image", "latents", "steps", "parameters")
"""What of the config stands in every graph too."""


def model_of(checkpoint: Checkpoint) -> PixelVAE:
    """The averaged weights of a checkpoint, as a model in evaluation mode."""
    model = PixelVAE(checkpoint.recipe.model)
    model.load_state_dict(checkpoint.section("ema"))
    return model.eval()


def make_plain(model: PixelVAE) -> None:
    """Put the plain layer that is exported in the place of the one whose weights are cosines."""
    output = model.decoder.pixelcnn.output
    if isinstance(output, SmoothLogits):
        model.decoder.pixelcnn.output = plain_layer(output)


def halved(checkpoint: Checkpoint) -> Checkpoint:
    """The averaged weights of a checkpoint rounded to float16, biases left alone: half the size of a bundle."""
    averaged = checkpoint.section("ema").items()
    tensors = {f"ema.{name}": value.half() if value.dim() > 1 else value for name, value in averaged}
    return Checkpoint(checkpoint.recipe, checkpoint.progress, tensors)


def write_bundle(checkpoint: Checkpoint, folder: Path) -> BundleConfig:
    """Export a checkpoint's averaged weights as a bundle.

    Every file is written whole or not at all, and the config, which names the others, last.

    Args:
        checkpoint: its weights may be float16 (`halved`): then they stay so on disk, and are computed with in float32.
        folder: where to.

    Raises:
        PvaeZooError: if the folder cannot be written, or the model is not a PixelVAE but one it is compared with.
    """
    model = model_of(checkpoint)
    _check_kind(checkpoint.recipe)
    config = _unfinished(checkpoint, model)
    make_plain(model)
    graphs = {}
    for role, build in (_ONE_LEVEL if len(model.priors) == 1 else _TWO_LEVELS).items():
        builder = build(model)
        path = folder / f"{role}.onnx"
        atomic_write(path, _serialise(builder, role, config))
        spec = file_spec(path)
        graphs[role] = GraphSpec(**asdict(spec), inputs=tuple(builder.inputs), outputs=tuple(builder.outputs))
    config = replace(config, graphs=graphs)
    write_golden(folder / GOLDEN, golden_vectors(model, _sampler(Bundle.unfinished(folder, config))))
    config = replace(config, golden=file_spec(folder / GOLDEN))
    atomic_write(folder / CONFIG, config.to_json().encode())
    return config


def _sampler(bundle: Bundle) -> Draw:
    """The graphs' own drawing of pixels, a wavefront at a time."""

    def draw(z1: NDArray[np.float32], uniforms: NDArray[np.float32]) -> NDArray[np.uint8]:
        networks = Networks(bundle, "cpu", cores())
        return networks.draw_pixels(z1, uniforms, np.full(uniforms.shape, -1, np.int64), 1.0).images

    return draw


def _check_kind(recipe: Recipe) -> None:
    lacks = None if recipe.model.latents else "latents"
    if not recipe.model.decoder.pixelcnn.sees_pixels:
        lacks = "autoregressive layers"
    if lacks:
        raise PvaeZooError(f"{recipe.name} has no {lacks}: bundles hold PixelVAEs, train one of those to export it")


def _serialise(builder: GraphBuilder, role: str, config: BundleConfig) -> bytes:
    """The graph with the whole contract in its metadata.

    What tells of the training stands in ``config.json`` alone: the same weights are the same bytes, however they came
    about.
    """
    stated = {key: _plain(getattr(config, key)) for key in _REPEATED}
    stated["role"] = role
    stated["inputs"] = [asdict(spec) for spec in builder.inputs]
    stated["outputs"] = [asdict(spec) for spec in builder.outputs]
    metadata = {
        "model_license": licence_of(config.dataset).spdx,
        "pvae.config": json.dumps(stated),
        "pvae.format_version": str(FORMAT),
    }
    model: onnx.ModelProto = builder.build(metadata, tensor_words(config, role), config.training["images_seen"])
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _unfinished(checkpoint: Checkpoint, model: PixelVAE) -> BundleConfig:
    """The contract but for the files."""
    architecture, recipe = model.architecture, checkpoint.recipe
    config = BundleConfig(
        format=FORMAT,
        name=recipe.name,
        title=recipe.title,
        dataset=recipe.dataset,
        image=architecture.image,
        latents=tuple(
            LatentSpec(name=f"z{number}", shape=shape)
            for number, shape in enumerate(architecture.latent_shapes, start=1)
        ),
        steps=_steps(model),
        parameters=sum(p.numel() for p in model.parameters()),
        graphs={},
        golden=FileSpec(file=GOLDEN, size=0, sha256=""),
        training=_training(checkpoint),
        recipe=_plain(recipe.as_dict()),
        progress=_done(checkpoint.progress),
    )
    return replace(config, guide=guide(config))


def _training(checkpoint: Checkpoint) -> dict[str, Any]:
    """What a card says of the training."""
    recipe, progress = checkpoint.recipe, checkpoint.progress
    return {
        **_plain(asdict(recipe.training)),
        **_plain(asdict(recipe.data)),
        "binarize": recipe.binarize,
        "images_seen": progress.images,
        "hours": round(progress.seconds / 3600, 2),
        "hardware": progress.hardware,
        "stored": "float16" if _is_half(checkpoint) else "float32",
        "initialised_from": progress.initialised_from,
        "best_step": progress.best_step,
        # A run that was never validated has none, and JSON has no infinity.
        "valid_elbo_nats": progress.best_elbo if progress.best_step >= 0 else None,
    }


def _is_half(checkpoint: Checkpoint) -> bool:
    """Whether the graphs hold large weights as float16, because all of them are exact in it (`halved`)."""
    return any(as_half(value.float().numpy()) is not None for value in checkpoint.section("ema").values())


def _steps(model: PixelVAE) -> dict[str, StepSpec]:
    prior = {"prior_step": prior_step_spec(model)} if len(model.priors) > 1 else {}
    return {**prior, "decoder_step": pixel_step_spec(model)}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value


def _done(progress: RunProgress) -> dict[str, Any]:
    """What a run has done, without what only the run itself needs to go on.

    Numbers that JSON does not have are None: the best bound of a run that was never validated is -infinity.
    """
    values = {key: value for key, value in asdict(progress).items() if key != "watch"}
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
