"""A checkpoint out of a bundle: its graphs hold every weight, its config the recipe.

What is read is exported to the same bytes again. Of a masked convolution the taps that the mask hides are zeros, and
the cosines of a softmax are solved for (`pvae_zoo.export.logits`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dacite
import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import nn

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.folder import WEIGHTS, Bundle
from pvae_zoo.export.logits import cosines_of
from pvae_zoo.graphs.builder import CONSTANTS, as_half
from pvae_zoo.models.decoder import GateContext
from pvae_zoo.models.encoder import Stage
from pvae_zoo.models.masked_stack import GatedLayer, MaskedStack
from pvae_zoo.models.pixelcnn import SmoothLogits
from pvae_zoo.models.pixelvae import PixelVAE
from pvae_zoo.models.prior import MapPrior
from pvae_zoo.models.upsampling import Upsampling
from pvae_zoo.training.checkpoint import Checkpoint, RunProgress
from pvae_zoo.training.recipe import Recipe, parse_recipe

_Array = NDArray[Any]


def checkpoint_of(bundle: Bundle) -> Checkpoint:
    """The averaged weights (section ``ema``), recipe and progress that a bundle was exported from.

    Weights that are stored as float16 are float16 tensors, the others float32.

    Raises:
        PvaeZooError: if the bundle's weights were rounded to compute in coarser numbers; if it is of an older make and
            does not hold its recipe, with the command that exports it anew; if a graph is damaged or not of that
            recipe.
    """
    recipe, progress = _stated(bundle)
    with torch.device("meta"):  # names and shapes: nothing is allocated that the graphs do not hold
        model = PixelVAE(recipe.model)
    names = {module: name for name, module in model.named_modules()}
    graphs: dict[str, _Graph] = {}
    tensors: dict[str, torch.Tensor] = {}
    for role, name, module in _layers(model):
        graph = graphs[role] = graphs.get(role) or _Graph(bundle, role)
        for part in ("weight", "bias"):
            value = graph.layer(f"{name}.{part}", module, getattr(module, part).shape)
            tensors[f"ema.{names[module]}.{part}"] = torch.from_numpy(np.ascontiguousarray(value))
    table = model.decoder.pixelcnn.embedding.table
    if table is not None:
        channels = [graphs["decoder"].take(f"embedding{c}", tuple(table.shape[1:])) for c in range(len(table))]
        tensors["ema.decoder.pixelcnn.embedding.table"] = torch.from_numpy(np.stack(channels))
    for graph in graphs.values():
        graph.check_all_taken()
    return Checkpoint(recipe, progress, {f"ema.{name}": tensors[f"ema.{name}"] for name in model.state_dict()})


def _stated(bundle: Bundle) -> tuple[Recipe, RunProgress]:
    config = bundle.config
    if config.conversion is not None and not config.numbers.is_float32:
        raise PvaeZooError(
            f"{bundle.folder} has its weights rounded to {config.precision}: take {config.conversion.source}, which it "
            "was converted from"
        )
    if config.recipe is None or config.progress is None:
        own = bundle.folder / WEIGHTS
        source = own if own.is_file() else "RUN"
        raise PvaeZooError(
            f"{bundle.folder} is of an older make and does not hold its recipe: export it anew with "
            f"pvae-zoo export {source} --out {bundle.folder}"
        )
    where = f"config.json of {bundle.folder}"
    recipe = parse_recipe(config.recipe, where)
    if recipe.model.image != config.image or recipe.model.latent_shapes != [z.shape for z in config.latents]:
        raise PvaeZooError(f"{where} has the recipe of another model: pull or export the bundle again")
    stated = {key: value for key, value in config.progress.items() if value is not None}
    try:
        return recipe, dacite.from_dict(RunProgress, stated, dacite.Config(strict=True, cast=[float]))
    except (dacite.DaciteError, ValueError, TypeError) as error:
        raise PvaeZooError(f"{where} has the progress of another version ({error}): export the bundle again") from error


class _Graph:
    """The constants of a graph, taken one by one."""

    def __init__(self, bundle: Bundle, role: str) -> None:
        self.path = bundle.folder / f"{role}.onnx"
        self.image = bundle.config.image
        try:
            graph = onnx.load_from_string(bundle.read_graph(role)).graph
        except DecodeError as error:
            raise PvaeZooError(f"{self.path} is no graph: pull or export the bundle again") from error
        self._left = {tensor.name: tensor for tensor in graph.initializer if not tensor.name.startswith(CONSTANTS)}

    def layer(self, name: str, module: nn.Module, shape: torch.Size) -> _Array:
        """A weight or bias as the module keeps it."""
        if isinstance(module, SmoothLogits):
            plain = self.take(name, (self.image.channels * self.image.levels, *shape[1:]))
            cosines = cosines_of(plain.astype(np.float32).reshape(len(plain), -1), self.image)
            if cosines is None:
                raise PvaeZooError(f"{self.path} has logits that no cosines give: export the bundle again")
            cosines = cosines.reshape(shape)
            half = as_half(cosines)
            return cosines if half is None else half
        if isinstance(module, nn.Linear):
            return self.take(name, tuple(shape[::-1])).T
        return self.take(name, tuple(shape))

    def take(self, name: str, shape: tuple[int, ...]) -> _Array:
        """A constant of this name and shape."""
        tensor = self._left.pop(name, None)
        if tensor is None or tuple(tensor.dims) != shape or tensor.data_type not in _FLOATS:
            raise PvaeZooError(
                f"{self.path} has no weight {name} of shape {shape}, which its recipe asks for: "
                "pull or export the bundle again"
            )
        value: _Array = numpy_helper.to_array(tensor).copy()
        return value

    def check_all_taken(self) -> None:
        if self._left:
            raise PvaeZooError(
                f"{self.path} has a weight {next(iter(self._left))}, which its recipe does not know: "
                "pull or export the bundle again"
            )


_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)


def _layers(model: PixelVAE) -> Iterator[tuple[str, str, nn.Module]]:
    """Every layer with a weight and a bias: the role of the graph that it is read from and its name there."""
    encoder, context = model.encoder, model.decoder.context
    assert encoder is not None
    yield "encoder", "stem", encoder.stem
    for number, stage in enumerate(encoder.stages, start=1):
        assert isinstance(stage, Stage)
        yield "encoder", f"stage{number}.down", stage.down
        for r, block in enumerate(stage.blocks):
            yield "encoder", f"stage{number}.block{r}.first", block.first
            yield "encoder", f"stage{number}.block{r}.second", block.second
    for number, head in enumerate(encoder.heads, start=1):
        yield "encoder", f"z{number}", head.output  # type: ignore[misc]
    if isinstance(context, GateContext):
        yield "decoder_context", "linear", context.linear
    else:
        assert isinstance(context, Upsampling)
        yield from _upsampling("decoder_context", context)
    yield from _stack("decoder", model.decoder.pixelcnn)
    prior = model.priors[0]
    if isinstance(prior, MapPrior):
        yield from _upsampling("prior_context", prior.context)
        yield from _stack("prior", prior.stack)


def _upsampling(role: str, context: Upsampling) -> Iterator[tuple[str, str, nn.Module]]:
    yield role, "grow", context.grow
    for s, up in enumerate(context.up, start=1):
        yield role, f"up{s}", up
    for s, refine in enumerate(context.refine):
        assert isinstance(refine, nn.Sequential)
        for r, block in enumerate(refine):
            yield role, f"refine{s}.{r}.first", block.first  # type: ignore[misc]
            yield role, f"refine{s}.{r}.second", block.second  # type: ignore[misc]
    yield role, "output", context.output


def _stack(role: str, stack: MaskedStack) -> Iterator[tuple[str, str, nn.Module]]:
    yield role, "input", stack.input
    for index, layer in enumerate(stack.layers):
        assert isinstance(layer, GatedLayer)
        yield role, f"layer{index}.conv", layer.conv
        yield role, f"layer{index}.output", layer.output
    yield role, "head", stack.head
    yield role, "output", stack.output
