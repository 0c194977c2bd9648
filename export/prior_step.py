"""The single-step prior: draws z1 at any set of its locations, all channels of a location at once."""

from __future__ import annotations

from pvae_zoo.contract.config import StepSpec
from pvae_zoo.export.blocks import limited_log_std
from pvae_zoo.export.prior import map_prior
from pvae_zoo.export.step import StepGraph, step_spec
from pvae_zoo.graphs.builder import GraphBuilder
from pvae_zoo.models.pixelvae import PixelVAE


def prior_step_spec(model: PixelVAE) -> StepSpec:
    """The grid of z1's locations."""
    channels, height, width = model.architecture.latent_shapes[0]
    return step_spec(map_prior(model).stack, height, width, channels, "canvas_z1", height * width)


def prior_step_graph(model: PixelVAE) -> GraphBuilder:
    """The single-step prior of a model with two levels."""
    return _PriorStep(model).build()


class _PriorStep(StepGraph):
    def __init__(self, model: PixelVAE) -> None:
        doc = "One step of p(z1|z2): draw z1 at canvas positions from standard normal noise, update the canvases"
        super().__init__(map_prior(model).stack, prior_step_spec(model), GraphBuilder("prior_step", doc))

    def declare(self) -> None:
        self.noise = self.b.input("noise", "float32", ["M", self.spec.channels])

    def draw(self, group: int, parameters: str) -> list[str]:
        b, channels = self.b, self.spec.channels
        mean, s = b.split(parameters, [channels, channels])
        self.z1 = b.op("Add", mean, b.op("Mul", b.op("Exp", limited_log_std(b, s)), self.noise))
        return [self.z1]

    def publish(self) -> None:
        self.b.output(self.z1, "z1", "float32", ["M", self.spec.channels])
