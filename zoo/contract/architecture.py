"""What a PixelVAE is made of: sizes and options, checked before a tensor exists.

The same dataclasses stand in a recipe (`[model]`) and in a checkpoint. Levels of latents are counted from the image
upwards: ``latents[0]`` is z1, which the pixels are drawn from, and the last one has a standard normal prior.

The two models that a PixelVAE is compared with are at its ends: without latents (and encoder) it is a PixelCNN, and
with a window of nothing (``layers``, ``input_rows`` and ``reach`` of 0) its pixels are independent given z, a VAE.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


class ArchitectureError(ValueError):
    """Sizes that do not fit together; the message names the option."""


@dataclass(frozen=True, kw_only=True)
class ImageShape:
    """Images of ``channels x height x width`` with values ``0 .. levels - 1``."""

    channels: int
    height: int
    width: int
    levels: int

    def __post_init__(self) -> None:
        if min(self.channels, self.height, self.width) < 1 or not 2 <= self.levels <= 256:
            raise ArchitectureError(f"an image needs positive sizes and 2 to 256 levels: {self}")

    @property
    def dimensions(self) -> int:
        """Number of values in one image."""
        return self.channels * self.height * self.width

    @property
    def logits_per_value(self) -> int:
        """Outputs of the decoder for one value: a Bernoulli logit for binary images, ``levels`` otherwise."""
        return 1 if self.levels == 2 else self.levels

    @property
    def chw(self) -> tuple[int, int, int]:
        return self.channels, self.height, self.width


@dataclass(frozen=True, kw_only=True)
class LatentLevel:
    """One level of latents: a vector, or a map on the grid of an encoder stage.

    Attributes:
        kind: "vector" (``(B, channels)``) or "map" (``(B, channels, h, w)``).
        channels: dimensions of the vector, or of each location of the map.
        stage: the encoder stage, from 1, that its posterior is read from.
    """

    kind: Literal["vector", "map"]
    channels: int
    stage: int


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """The strided residual network of q(z|x).

    Attributes:
        stem: channels of the first convolution, at image size.
        widths: channels of each stage; a stage halves the image (rounding up) and adds ``blocks`` residual blocks.
        blocks: residual blocks a stage.
        dropout: share of feature channels dropped in each block while training.
    """

    stem: int
    widths: tuple[int, ...]
    blocks: int = 1
    dropout: float = 0.0


@dataclass(frozen=True, kw_only=True)
class PixelCNNConfig:
    """The autoregressive part of p(x|z1), or of p(z1|z2).

    Attributes:
        channels: feature channels, a multiple of the image channels.
        layers: gated residual layers after the input layer.
        input_rows: rows above a pixel that the input layer (mask A) reads; 0 together with ``reach`` to see no pixel.
        rows: rows above that every gated layer (mask B) reads.
        reach: columns to either side; it sets the wavefront slope ``reach + 1``.
        head: channels of the 1x1 layer before the logits.
        embedding: width of a learned embedding of each pixel value, beside the scaled value; 0 for none.
        dropout: share of gate channels dropped while training.
    """

    channels: int
    layers: int
    input_rows: int = 3
    rows: int = 2
    reach: int = 2
    head: int = 64
    embedding: int = 0
    dropout: float = 0.0

    @property
    def sees_pixels(self) -> bool:
        """Whether it is autoregressive at all."""
        return self.reach > 0


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """How z reaches the pixels.

    Attributes:
        conditioning: "gates" sends z through a linear map into the input layer and every gate ("without upsampling");
            "upsample" grows z to a feature map that joins the image at the input layer ("with upsampling"); "none" is
            for a model without latents.
        pixelcnn: the autoregressive part.
        widths: channels from the smallest map up to image size; only with "upsample".
        blocks: residual blocks at each of those sizes; only with "upsample".
    """

    conditioning: Literal["gates", "upsample", "none"]
    pixelcnn: PixelCNNConfig
    widths: tuple[int, ...] = ()
    blocks: int = 1


@dataclass(frozen=True, kw_only=True)
class PriorConfig:
    """p(z1|z2) of a model with two levels.

    Attributes:
        pixelcnn: the autoregressive part, over the locations of z1.
        widths: channels from the grid of z2's stage up to z1's grid.
        blocks: residual blocks at each of those sizes.
    """

    pixelcnn: PixelCNNConfig
    widths: tuple[int, ...]
    blocks: int = 1


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A whole PixelVAE: one level of latents, or a map z1 below a vector z2; or, without any, a PixelCNN.

    Raises:
        ArchitectureError: if sizes do not fit together.
    """

    image: ImageShape
    latents: tuple[LatentLevel, ...]
    decoder: DecoderConfig
    encoder: EncoderConfig | None = None
    prior: PriorConfig | None = None

    def __post_init__(self) -> None:
        self._check_sizes()
        self._check_stack("decoder", self.decoder.pixelcnn, self.image.channels)
        if (self.encoder is None) != (not self.latents) or (self.decoder.conditioning == "none") != (not self.latents):
            raise ArchitectureError(
                "latents: a model with latents needs an encoder and decoder.conditioning=gates or upsample, one "
                "without needs no encoder and decoder.conditioning=none"
            )
        if self.encoder is None:
            self._check_without_latents()
        else:
            self._check_latents(self.encoder)

    def _check_without_latents(self) -> None:
        if self.prior is not None or self.decoder.widths:
            raise ArchitectureError("a model without latents has no prior and no decoder.widths")
        if not self.decoder.pixelcnn.sees_pixels:
            raise ArchitectureError("decoder.pixelcnn.reach=0: without latents and without pixels nothing is modelled")

    def _check_latents(self, encoder: EncoderConfig) -> None:
        self._check_levels(encoder)
        z1, sizes = self.latents[0], len(encoder.widths) + 1
        if self.decoder.conditioning == "gates" and z1.kind != "vector":
            raise ArchitectureError("decoder.conditioning=gates needs z1 to be a vector; use upsample for a map")
        if self.decoder.conditioning == "upsample" and len(self.decoder.widths) != z1.stage + 1:
            raise ArchitectureError(
                f"decoder.widths needs {z1.stage + 1} entries, one for each size from z1's grid to the image "
                f"({sizes} sizes in the encoder), not {len(self.decoder.widths)}"
            )
        if self.prior is not None:
            self._check_prior(self.prior)

    def _check_levels(self, encoder: EncoderConfig) -> None:
        for level in self.latents:
            if not 1 <= level.stage <= len(encoder.widths):
                raise ArchitectureError(
                    f"latents.stage={level.stage}: the encoder has the stages 1 to {len(encoder.widths)}"
                )
        kinds = [level.kind for level in self.latents]
        if len(self.latents) > 1 and kinds != ["map", "vector"]:
            raise ArchitectureError(f"latents: two levels are a map z1 below a vector z2, not {', '.join(kinds)}")
        if len(self.latents) == 2 and self.latents[1].stage < self.latents[0].stage:
            raise ArchitectureError("latents: z2 is read from z1's stage of the encoder or a deeper one")
        if (self.prior is None) != (len(self.latents) == 1):
            raise ArchitectureError("prior: two levels of latents need p(z1|z2), one level has none")

    def _check_sizes(self) -> None:
        prior, encoder = self.prior, self.encoder
        for name, size, least in (
            ("encoder.stem", encoder.stem if encoder else 1, 1),
            ("encoder.blocks", encoder.blocks if encoder else 0, 0),
            ("decoder.blocks", self.decoder.blocks, 0),
            ("prior.blocks", prior.blocks if prior else 0, 0),
            *(("latents.channels", level.channels, 1) for level in self.latents),
            *(("encoder.widths", width, 1) for width in (encoder.widths if encoder else ())),
            *(("decoder.widths", width, 1) for width in self.decoder.widths),
            *(("prior.widths", width, 1) for width in (prior.widths if prior else ())),
        ):
            if size < least:
                raise ArchitectureError(f"{name}={size} must be at least {least}")
        if encoder and not 0 <= encoder.dropout < 1:
            raise ArchitectureError(f"encoder.dropout={encoder.dropout} must be at least 0 and below 1")

    def _check_stack(self, where: str, config: PixelCNNConfig, groups: int) -> None:
        for name, channels in (("channels", config.channels), ("head", config.head)):
            if channels < 1 or channels % groups:
                raise ArchitectureError(
                    f"{where}.pixelcnn.{name}={channels} must be a positive multiple of the {groups} image channel(s)"
                )
        if config.embedding < 0:
            raise ArchitectureError(f"{where}.pixelcnn.embedding={config.embedding} must be at least 0")
        if not 0 <= config.dropout < 1:
            raise ArchitectureError(f"{where}.pixelcnn.dropout={config.dropout} must be at least 0 and below 1")
        window = min(config.rows, config.input_rows, config.reach)
        if config.layers < 0 or (window < 1 and (config.layers, config.input_rows, config.reach) != (0, 0, 0)):
            raise ArchitectureError(
                f"{where}.pixelcnn: rows, input_rows and reach start at 1, layers at 0; to see no pixel, input_rows, "
                "reach and layers are all 0"
            )

    def _check_prior(self, prior: PriorConfig) -> None:
        self._check_stack("prior", prior.pixelcnn, 1)
        if prior.pixelcnn.embedding:
            raise ArchitectureError("prior.pixelcnn.embedding: latents are real numbers, only pixels are embedded")
        sizes = self.latents[1].stage - self.latents[0].stage + 1
        if len(prior.widths) != sizes:
            raise ArchitectureError(
                f"prior.widths needs {sizes} entries, one for each size from z2's stage to z1's, "
                f"not {len(prior.widths)}"
            )

    @property
    def latent_shapes(self) -> list[tuple[int, ...]]:
        """Shape of each level for one image, bottom first."""
        if self.encoder is None:
            return []
        sizes = stage_sizes(self.image, len(self.encoder.widths))
        return [(z.channels,) if z.kind == "vector" else (z.channels, *sizes[z.stage]) for z in self.latents]


def stage_sizes(image: ImageShape, stages: int) -> list[tuple[int, int]]:
    """``(height, width)`` of the image and after each halving stage: ``stages + 1`` sizes."""
    sizes = [(image.height, image.width)]
    for _ in range(stages):
        height, width = sizes[-1]
        sizes.append(((height + 1) // 2, (width + 1) // 2))
    return sizes
