"""What goes into each graph and what comes out of it, in words: a line for every input and output.

The lines stand in the graphs themselves (``doc_string``) and in a bundle's README. They are made from the contract's
numbers alone, so that what others wrote into their graphs is never shown.
"""

from __future__ import annotations

from collections.abc import Mapping

from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.contract.config import BundleConfig, StepSpec

CHANNELS = {1: "grey", 3: "R, G, B"}


def tensor_words(config: BundleConfig, role: str) -> Mapping[str, str]:
    """A line for every input and output of a graph, by the tensor's name: shape, range, unit, what to give for nothing.

    Args:
        config: its files need not be written yet.
        role: of the graph, one of ``config.roles``.

    Raises:
        KeyError: when a name is looked up that no graph of this role has.
    """
    if role.endswith("_step"):
        return _step(config, role)
    return {**_latents(config), **_whole(config, role)}


def image_words(image: ImageShape) -> str:
    """Images as arrays, in words."""
    ends = "black is 0 and white 1" if image.levels == 2 else f"0 is dark, {image.levels - 1} bright"
    order = CHANNELS.get(image.channels, "in the model's order")
    channels = f"{image.channels} channel{'s' * (image.channels > 1)} ({order})"
    return (
        f"{channels} x {image.height} rows from the top x {image.width} columns from the left, whole numbers 0 to "
        f"{image.levels - 1}, {ends}"
    )


def latent_words(shape: tuple[int, ...]) -> str:
    """A level of latents, in words."""
    if len(shape) == 1:
        return f"a vector of {shape[0]} real numbers an image"
    return f"a map of {shape[0]} channels x {shape[1]} rows x {shape[2]} columns of real numbers an image"


def _latents(config: BundleConfig) -> dict[str, str]:
    """Latents and what describes them, by name."""
    words: dict[str, str] = {}
    for level in config.latents:
        z, shape = level.name, latent_words(level.shape)
        words |= {
            z: f"Latents {z} of N images, {shape}: drawn from the prior, or from the encoder's q({z}|x)",
            f"{z}_noise": f"Independent draws from N(0, 1), {shape}; zeros give the mean",
            f"{z}_mean": f"Mean of q({z}|x), {shape}",
            f"{z}_log_std": f"Natural logarithm of the standard deviation of q({z}|x), {shape}; below log 2. A draw "
            f"is {z} = mean + exp(log_std) * noise with noise from N(0, 1)",
        }
    if len(config.latents) > 1:
        z1 = latent_words(config.latents[0].shape)
        given = "given z2 and the locations of z1 before it in raster order"
        words |= {
            "prior_mean": f"Mean of p(z1|z2) at every location {given}, {z1}",
            "prior_log_std": f"Natural logarithm of the standard deviation of p(z1|z2) at every location {given}, {z1}",
        }
    else:
        words["z1_noise"] = words["z1_noise"].replace("; zeros give the mean", "")
    return words


def _whole(config: BundleConfig, role: str) -> dict[str, str]:
    """Images and contexts of the graphs that see whole images."""
    order = "rows from the top, columns from the left" + (", R before G before B" if config.image.channels == 3 else "")
    prior = role.startswith("prior")
    above, step = ("z2", "prior_step") if prior else ("z1", "decoder_step")
    own = role.endswith("_context")
    context = _context(config.steps[step]) if step in config.steps else ""
    made = f"What p({'z1|z2' if prior else 'x|z1'}) keeps of {above}" if own else f"Output of {step[:-5]}_context"
    return {
        "image": f"N images: {image_words(config.image)}",
        "context": f"{made}, real numbers: {context}",
        "log_prob": "Natural logarithm of the probability of every value (nats, at most 0) given z1 and all values "
        f"before it: {order}. The sum over an image is log p(x|z1)",
    }


def _context(spec: StepSpec) -> str:
    if spec.context.rows == 1:
        return f"for each image 1 row of {spec.context.channels}, the same for all positions"
    return (
        f"for each image {spec.context.rows} rows of {spec.context.channels}, position (y, x) is row "
        f"y * {spec.width} + x"
    )


def _step(config: BundleConfig, role: str) -> dict[str, str]:
    spec, geometry = config.steps[role], config.steps[role].geometry
    row = "image" if spec.context.rows == 1 else f"image * {spec.context.rows} + y * {spec.width} + x"
    words = {
        "positions": f"Canvas row of each of the M positions to compute now: image * {geometry.rows_per_image} + "
        f"(y + {geometry.top}) * {geometry.stride} + {geometry.left} + x for position (y, x), those of all images with "
        f"x + {geometry.slope} * y = t in step t. The last row of the canvas is the spare one: give it to positions "
        "that only fill up a batch",
        "context_rows": f"Row of context for each of the M positions: {row}. Any row where positions has the spare one",
        "context": f"Output of {role[:-5]}_context, its first two axes joined: {_context(spec)}",
    }
    what = "What the network sees of the positions done so far"
    for canvas in spec.canvases:
        words |= {
            canvas.name: f"{what}, a row a padded position: {geometry.rows_per_image} rows an image and the spare one "
            f"at the end. Zeros before the first step, then {canvas.name}_next of the step before",
            f"{canvas.name}_next": f"{canvas.name} with the rows at positions replaced by what was computed: give it "
            f"to the next step as {canvas.name}",
        }
        what = "The features of the layers at the positions done so far, side by side"
    return words | (_pixels(config) if role == "decoder_step" else _map(config))


def _pixels(config: BundleConfig) -> dict[str, str]:
    image = config.image
    each = f"for each of the M positions {image.channels} ({CHANNELS.get(image.channels, 'channels')})"
    last = image.levels - 1
    return {
        "uniforms": f"Numbers in [0, 1) that decide what is drawn, {each}; anything, such as 0, where given has a "
        "value",
        "given": f"Values 0 to {last} to keep, -1 where to draw, {each}; all -1 if there is nothing to keep",
        "temperature": "Divides the logits of what is drawn: 1 is the model itself, below 1 likelier values, 0 the "
        "mode (the likeliest value). It changes no log_prob",
        "pixels": f"Values 0 to {last}, drawn or given, {each}",
        "log_prob": f"Natural logarithm of the probability of each value in pixels (nats, at most 0) given z1 and all "
        f"values before it, at temperature 1, {each}",
    }


def _map(config: BundleConfig) -> dict[str, str]:
    each = f"for each of the M positions {config.latents[0].shape[0]} channels"
    return {
        "noise": f"Independent draws from N(0, 1), {each}; zeros give the mean",
        "z1": f"z1 = mean + exp(log_std) * noise of p(z1|z2) given the locations before, {each}",
    }
