"""The contract of a bundle: what its ``config.json`` says of its graphs and how to drive them (format 1).

The contract is repeated in each graph's metadata, so that a lone file explains itself. The graphs hold every weight
and the config the recipe: `pvae_zoo.export.weights` makes a checkpoint of them again. Older bundles keep theirs beside
them, in ``weights.safetensors``, and have no recipe in the config.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.contract.precision import FLOAT16_WEIGHTS, FLOAT32, PRECISIONS, Precision

FORMAT = 1
ROLES = ("encoder", "prior", "decoder_context", "decoder", "decoder_step")
TWO_LEVEL_ROLES = ("encoder", "prior_context", "prior", "prior_step", "decoder_context", "decoder", "decoder_step")


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """A graph's input or output: a name, an ONNX type and a shape whose free dimensions have names."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


def describe_tensors(specs: tuple[TensorSpec, ...], quote: str = "") -> str:
    """Tensors with types and shapes, names between ``quote``."""
    return ", ".join(f"{quote}{s.name}{quote} {s.dtype} ({', '.join(map(str, s.shape))})" for s in specs)


@dataclass(frozen=True, kw_only=True)
class FileSpec:
    """A file with the size and SHA-256 it must have."""

    file: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class GraphSpec(FileSpec):
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, kw_only=True)
class LatentSpec:
    """One level of latents: its name ("z1" is next to the pixels) and its shape for one image."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class CanvasSpec:
    """A tensor that the step reads neighbours from and writes its features to: one row a padded pixel."""

    name: str
    channels: int


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Where a position of the grid lives in the canvases, and which positions may be computed together.

    Position (y, x) of image i is row ``i * rows_per_image + (y + top) * stride + left + x``. The margins stay zero; the
    last columns of a row and the first of the next share theirs. One spare row at the end takes the writes of
    positions that only fill up a fixed-size step. All with ``x + slope * y = t`` can be computed in step t.

    Attributes:
        top: zero rows above the grid.
        left: zero columns to the left, at least the reach of the network.
        stride: canvas rows from one row of the grid to the next.
        rows_per_image: canvas rows of one image.
        slope: of the wavefront, the network's reach plus one.
    """

    top: int
    left: int
    stride: int
    rows_per_image: int
    slope: int


@dataclass(frozen=True, kw_only=True)
class ContextSpec:
    """A context graph's output for one image: ``rows`` is 1 (the same everywhere) or one a position (raster order)."""

    rows: int
    channels: int


@dataclass(frozen=True, kw_only=True)
class StepSpec:
    """How a single-step graph is driven.

    Attributes:
        height: rows of the grid: of the image, or of z1's map.
        width: its columns.
        channels: values drawn at a position.
        context: what stays of the latents above.
        geometry: where positions live in the canvases.
        canvases: what is seen of a position, then the inputs of all gated layers, side by side.
        macs: multiply-adds for one position.
    """

    height: int
    width: int
    channels: int
    context: ContextSpec
    geometry: Geometry
    canvases: tuple[CanvasSpec, ...]
    macs: int


@dataclass(frozen=True, kw_only=True)
class ConversionSpec:
    """Where a bundle that ``pvae-zoo convert`` made comes from.

    Attributes:
        precision: a name of `pvae_zoo.contract.precision.PRECISIONS`.
        source: the name of the bundle that it was made of.
        source_sha256: that bundle's digest, over the hashes of its graphs.
    """

    precision: str
    source: str
    source_sha256: str


@dataclass(frozen=True, kw_only=True)
class BundleConfig:
    """Everything a host needs to drive the graphs, and to train them further.

    Attributes:
        steps: an entry for each single-step graph.
        training: what a card says of the training.
        recipe: of the training in full (`pvae_zoo.training.recipe`), None in older bundles.
        progress: where the training stood (`pvae_zoo.training.checkpoint`); what is not finite is None.
        guide: how the graphs are driven, for people: sections by title, as lines (`pvae_zoo.explain.guide`).
        weights: the checkpoint of an older bundle.
        conversion: of a bundle that was made of another one, None as it was exported.
    """

    format: int
    name: str
    title: str
    dataset: str
    image: ImageShape
    latents: tuple[LatentSpec, ...]
    steps: dict[str, StepSpec]
    parameters: int
    graphs: dict[str, GraphSpec]
    golden: FileSpec
    training: dict[str, Any]
    recipe: dict[str, Any] | None = None
    progress: dict[str, Any] | None = None
    guide: dict[str, list[str]] | None = None
    weights: FileSpec | None = None
    conversion: ConversionSpec | None = None

    @property
    def roles(self) -> tuple[str, ...]:
        """The graphs of a model with this many levels."""
        return ROLES if len(self.latents) == 1 else TWO_LEVEL_ROLES

    @property
    def image_type(self) -> str:
        """The type in which graphs take images: uint8, or float32 where ``pvae-zoo convert`` has made it so."""
        inputs = self.graphs["encoder"].inputs if "encoder" in self.graphs else ()
        return next((tensor.dtype for tensor in inputs if tensor.name == "image"), "uint8")

    @property
    def precision(self) -> str:
        """In what numbers the graphs keep weights and compute: a name of `PRECISIONS`.

        Bundles of an older make do not say it. Every weight is in some graph, so that fewer than 4 bytes for each prove
        float16.
        """
        if self.conversion is not None:
            return self.conversion.precision
        small = sum(graph.size for graph in self.graphs.values()) < 4 * self.parameters
        half = self.training.get("stored", "float16" if small else "float32") == "float16"
        return FLOAT16_WEIGHTS if half else FLOAT32

    @property
    def numbers(self) -> Precision:
        """What that precision means."""
        return PRECISIONS[self.precision]

    def to_json(self) -> str:
        stated = {key: value for key, value in asdict(self).items() if value is not None}
        return json.dumps(stated, indent=2) + "\n"
