import dataclasses
import json

import pytest
import torch

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.config import LatentSpec
from pvae_zoo.contract.folder import CONFIG, Bundle
from pvae_zoo.export.bundle import _steps
from pvae_zoo.models.pixelvae import PixelVAE
from pvae_zoo.sources.registry import bundles_folder, model_names
from pvae_zoo.training.recipe import load_recipe, recipe_names
from pvae_zoo.trust.configuration import screen_config


def test_every_config_of_ours_is_within_bounds(tiny):
    assert screen_config(tiny.bundle.config) == []


@pytest.mark.parametrize("name", model_names())
def test_every_config_of_the_zoo_is_within_bounds(name):
    assert screen_config(Bundle(bundles_folder() / name).config) == []


@pytest.mark.parametrize("name", recipe_names())
def test_the_models_of_all_recipes_are_within_bounds(gates, name):
    recipe = load_recipe(name)
    architecture = recipe.model
    with torch.device("meta"):  # sizes are all that matters: no weights are made
        model = PixelVAE(architecture)
    shapes = enumerate(architecture.latent_shapes, start=1)
    latents = tuple(LatentSpec(name=f"z{number}", shape=shape) for number, shape in shapes)
    sizes = {"image": architecture.image, "latents": latents, "steps": _steps(model)}
    stated = {"name": recipe.name, "recipe": json.loads(json.dumps(recipe.as_dict()))}
    assert screen_config(dataclasses.replace(gates.bundle.config, **stated, **sizes)) == []


def test_three_levels_of_latents_are_none_of_ours(levels):
    latents = (*levels.bundle.config.latents, levels.bundle.config.latents[1])
    (problem,) = screen_config(dataclasses.replace(levels.bundle.config, latents=latents))
    assert problem == "its latents are 'z1, z2, z2', not z1 or z1, z2"


def step(data):
    return data["steps"]["decoder_step"]


def encoder(data):
    return data["graphs"]["encoder"]


def rows(data):
    """Of a canvas, for one image, at most."""
    return (step(data)["geometry"]["top"] + step(data)["height"]) * step(data)["geometry"]["stride"]


def nested(depth):
    return {"a": nested(depth - 1)} if depth else 1


MUCH = 10**12
CHANGES = {
    "name that is a path": (lambda d: d.update(name="../../x"), "its name is '../../x'"),
    "name with dots": (lambda d: d.update(name="a..b"), "its name is 'a..b'"),
    "name with an escape": (lambda d: d.update(name="\x1b[2J"), "it says '\\x1b[2J', which is no line"),
    "no name": (lambda d: d.update(name=""), "its name is ''"),
    "long name": (lambda d: d.update(name="a" * 65), "its name is 'aaa"),
    "title with an escape": (lambda d: d.update(title="\x1b]0;x\x07"), "it says '\\x1b]0;x\\x07', which is no line"),
    "title of two lines": (lambda d: d.update(title="a\nb"), "it says 'a\\nb', which is no line"),
    "title that turns round": (lambda d: d.update(title="\u202eabc"), "it says '\\u202eabc', which is no line"),
    "long data set": (lambda d: d.update(dataset="a" * 1001), "its dataset is 'aaa"),
    "hash": (lambda d: encoder(d).update(sha256="../x"), "encoder.onnx has the SHA-256 '../x'"),
    "hash in capitals": (lambda d: encoder(d).update(sha256="A" * 64), "has the SHA-256 'AAA"),
    "size": (lambda d: encoder(d).update(size=MUCH), "size of encoder.onnx is 1000000000000, not 1 to"),
    "no size": (lambda d: encoder(d).update(size=0), "size of encoder.onnx is 0"),
    "negative size": (lambda d: d["golden"].update(size=-1), "size of golden.npz is -1"),
    "older weights": (
        lambda d: d.update(weights={"file": "weights.safetensors", "size": -1, "sha256": "a" * 64}),
        "size of weights.safetensors is -1",
    ),
    "size together": (lambda d: [g.update(size=1 << 29) for g in d["graphs"].values()] and None, "size of all files"),
    "parameters": (lambda d: d.update(parameters=10**4000), "it says 1000"),
    "image height": (lambda d: d["image"].update(height=MUCH), "image height is 1000000000000, not 1 to"),
    "image": (lambda d: d["image"].update(height=1 << 16, width=1 << 16), "logits of an image is 4294967296"),
    "logits": (lambda d: d["image"].update(height=600, width=600, levels=256), "logits of an image is 92160000"),
    "latent names": (lambda d: d["latents"][0].update(name="z9"), "its latents are 'z9'"),
    "latent of no shape": (lambda d: d["latents"][0].update(shape=[]), "has the shape [], neither a vector nor a map"),
    "latents": (lambda d: d["latents"][0].update(shape=[MUCH]), "dimensions of z1 is 1000000000000"),
    "latent map": (lambda d: d["latents"][0].update(shape=[1024, 1024, 1024]), "dimensions of z1 is 1073741824"),
    "negative latents": (lambda d: d["latents"][0].update(shape=[-1]), "has the shape [-1]"),
    "step of nothing": (lambda d: d["steps"].update(x=step(d)), "it says how to drive 'x', which is no step"),
    "grid": (lambda d: step(d).update(height=MUCH), "decoder_step draws (1, 1000000000000, 6), not (1, 7, 6)"),
    "context rows": (lambda d: step(d)["context"].update(rows=MUCH), "context rows is 1000000000000"),
    "context channels": (lambda d: step(d)["context"].update(channels=MUCH), "context channels is 1000000000000"),
    "slope": (lambda d: step(d)["geometry"].update(slope=MUCH), "slope is 1000000000000, not 1 to 64"),
    "no slope": (lambda d: step(d)["geometry"].update(slope=0), "slope is 0, not 1 to 64"),
    "top": (lambda d: step(d)["geometry"].update(top=MUCH), "top is 1000000000000"),
    "left": (lambda d: step(d)["geometry"].update(left=-MUCH), "left is -1000000000000"),
    "stride": (lambda d: step(d)["geometry"].update(stride=MUCH), "stride is 1000000000000"),
    "rows": (lambda d: step(d)["geometry"].update(rows_per_image=rows(d) + 1), "rows_per_image is"),
    "macs": (lambda d: step(d).update(macs=-1), "macs is -1"),
    "canvas": (lambda d: step(d)["canvases"][0].update(channels=MUCH), "channels of canvas_pixels is 1000000000000"),
    "canvas name": (lambda d: step(d)["canvases"][0].update(name="\x1b"), "it says '\\x1b', which is no line"),
    "no canvases": (lambda d: step(d).update(canvases=[]), "number of canvases is 0"),
    "canvases": (lambda d: step(d).update(canvases=step(d)["canvases"] * 300), "number of canvases is 600"),
    "canvases together": (
        lambda d: step(d).update(canvases=[{"name": "c", "channels": 1 << 16}] * 100),
        "bytes to draw an image is",
    ),
    "tensors": (lambda d: encoder(d).update(inputs=encoder(d)["inputs"] * 600), "number of inputs of encoder is 600"),
    "no tensors": (lambda d: encoder(d).update(outputs=[]), "number of outputs of encoder is 0"),
    "tensor": (lambda d: encoder(d)["inputs"][0].update(shape=[MUCH]), "encoder: image has a shape out of bounds"),
    "tensor of many": (lambda d: encoder(d)["inputs"][0].update(shape=[1] * 9), "image has a shape out of bounds"),
    "tensor of none": (lambda d: encoder(d)["inputs"][0].update(shape=[0]), "image has a shape out of bounds: [0]"),
    "tensor name": (lambda d: encoder(d)["inputs"][0].update(name="a b"), "encoder: a b is no name of a tensor"),
    "dimension": (lambda d: encoder(d)["inputs"][0].update(shape=["a b"]), "that is neither a number nor a name"),
    "training": (lambda d: d["training"].update(hardware="\x1b[2J"), "it says '\\x1b[2J', which is no line"),
    "training key": (lambda d: d["training"].update({"\x1b[2J": 1}), "it says '\\x1b[2J', which is no line"),
    "training depth": (lambda d: d["training"].update(a=nested(50)), "training is nested more than 8 deep"),
    "training number": (lambda d: d["training"].update(hours=float("1e999")), "training.hours is inf, not a number"),
    "training digits": (lambda d: d["training"].update(steps=10**4000), "training.steps is 1000"),
    "recipe": (lambda d: d["recipe"].update(title="\x1b[2J"), "it says '\\x1b[2J', which is no line"),
    "recipe key": (lambda d: d["recipe"].update({"\x1b[2J": 1}), "it says '\\x1b[2J', which is no line"),
    "recipe depth": (lambda d: d["recipe"].update(model=nested(50)), "recipe is nested more than 8 deep"),
    "recipe number": (lambda d: d["recipe"]["training"].update(seed=10**4000), "it says 1000"),
    "guide": (lambda d: d["guide"].update(Noise=["\x1b[2J"]), "it says '\\x1b[2J', which is no line"),
    "guide in a line": (lambda d: d["guide"].update(Noise=["a" * 1001]), "guide says 'aaa"),
    "guide of numbers": (lambda d: d["guide"].update(Noise=[1]), "is not valid: wrong value type for field"),
    "progress": (lambda d: d["progress"].update(hardware="a\nb"), "which is no line of printable characters"),
    "progress number": (lambda d: d["progress"].update(best_elbo=float("-1e999")), "it says -inf"),
    "channels": (
        lambda d: d["recipe"]["model"]["decoder"]["pixelcnn"].update(channels=MUCH),
        "recipe: channels is 1000000000000, not 0 to 65536",
    ),
    "no channels": (lambda d: d["recipe"]["model"]["latents"][0].update(channels=-1), "recipe: channels is -1"),
    "layers": (
        lambda d: d["recipe"]["model"]["decoder"]["pixelcnn"].update(layers=65),
        "recipe: layers is 65, not 0 to 64",
    ),
    "blocks": (lambda d: d["recipe"]["model"]["encoder"].update(blocks=MUCH), "recipe: blocks is 1000000000000"),
    "stages": (lambda d: d["recipe"]["model"]["encoder"].update(widths=[1] * 17), "recipe: number of widths is 17"),
}


@pytest.mark.parametrize(("change", "fragment"), CHANGES.values(), ids=CHANGES.keys())
def test_a_config_that_asks_for_too_much_is_refused(gates, copy_bundle, change, fragment):
    folder = copy_bundle(gates.bundle)
    data = json.loads((folder / CONFIG).read_text())
    change(data)
    (folder / CONFIG).write_text(json.dumps(data).replace("Infinity", "1e999"))
    try:
        problems = screen_config(Bundle(folder).config)
    except PvaeZooError as error:  # not even opened
        problems = [str(error)]
    assert any(fragment in problem for problem in problems), problems
    assert all(problem.isprintable() and len(problem) < 400 for problem in problems)
