"""The graphs of the prior, all locations of z1 at once: p(z1) of one level, or the context and p(z1|z2) of two."""

from __future__ import annotations

from pvae_zoo.export.blocks import as_rows, from_rows, limited_log_std, masked_stack, upsampling
from pvae_zoo.graphs.builder import GraphBuilder
from pvae_zoo.models.pixelvae import PixelVAE
from pvae_zoo.models.prior import MapPrior


def map_prior(model: PixelVAE) -> MapPrior:
    """p(z1|z2) of a model with two levels."""
    prior = model.priors[0]
    assert isinstance(prior, MapPrior)
    return prior


def standard_prior_graph(model: PixelVAE) -> GraphBuilder:
    """``z1_noise`` to ``z1``: with one level p(z1) = N(0, I), and standard normal noise is the draw."""
    b = GraphBuilder(
        "prior",
        "p(z1): latents from standard normal noise. With one level the prior is N(0, I), so that the noise is the draw "
        "and the graph one Identity: it is here so that every model is driven alike, latents from noise by its prior",
    )
    shape: list[int | str] = ["N", *model.architecture.latent_shapes[0]]
    b.output(b.op("Identity", b.input("z1_noise", "float32", shape)), "z1", "float32", shape)
    return b


def prior_context_graph(model: PixelVAE) -> GraphBuilder:
    """``z2`` to ``context`` ``(N, rows, channels)``, a row for each location of z1 in raster order."""
    prior, (z1, z2) = map_prior(model), model.architecture.latent_shapes
    b = GraphBuilder("prior_context", "What p(z1|z2) keeps of z2: computed once an image, read at every location of z1")
    features = upsampling(b, b.input("z2", "float32", ["N", *z2]), prior.context)
    channels = prior.stack.context_channels
    b.output(as_rows(b, features, channels), "context", "float32", ["N", z1[1] * z1[2], channels])
    return b


def prior_graph(model: PixelVAE) -> GraphBuilder:
    """``z1`` and ``context`` to ``prior_mean`` and ``prior_log_std``: of every location given those before it."""
    stack, shape = map_prior(model).stack, model.architecture.latent_shapes[0]
    channels, height, width = shape
    b = GraphBuilder("prior", "p(z1|z2): the Gaussian of every location of z1, given z2 and the locations before it")
    z1 = b.input("z1", "float32", ["N", *shape])
    context = b.input("context", "float32", ["N", height * width, stack.context_channels])
    parameters = masked_stack(b, z1, from_rows(b, context, stack.context_channels, (height, width)), stack)
    mean, s = b.split(parameters, [channels, channels])
    b.output(mean, "prior_mean", "float32", ["N", *shape])
    b.output(limited_log_std(b, s), "prior_log_std", "float32", ["N", *shape])
    return b
