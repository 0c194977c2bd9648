import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.folder import CONFIG, WEIGHTS, Bundle
from pvae_zoo.export.bundle import halved, model_of, write_bundle
from pvae_zoo.export.weights import checkpoint_of
from pvae_zoo.sources.registry import model_names, open_bundle
from pvae_zoo.training.checkpoint import RunProgress


def exported(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("half", [False, True])
def test_what_is_read_out_of_a_bundle_is_exported_to_the_same_bytes(tiny, half, tmp_path):
    checkpoint = halved(tiny.checkpoint) if half else tiny.checkpoint
    write_bundle(checkpoint, tmp_path / "first")
    found = checkpoint_of(Bundle(tmp_path / "first"))
    write_bundle(found, tmp_path / "again")
    assert exported(tmp_path / "first") == exported(tmp_path / "again")
    assert (found.recipe, found.progress) == (checkpoint.recipe, checkpoint.progress)


def test_the_weights_are_those_that_were_exported(tiny):
    found, stored = checkpoint_of(tiny.bundle).section("ema"), tiny.checkpoint.section("ema")
    assert list(found) == list(stored)
    for name, module in tiny.model.named_modules():
        for part, value in module.named_parameters(prefix=name, recurse=False):
            seen = value * module.mask if part.endswith("weight") and hasattr(module, "mask") else value
            torch.testing.assert_close(found[part], seen.detach(), rtol=0, atol=1e-5, msg=part)


def test_large_weights_that_are_stored_as_float16_are_read_so(make_tiny, tmp_path):
    tiny = make_tiny(image=(3, 8, 8, 256), top=4, channels=24, head=24, stem=16, embedding=7)
    write_bundle(halved(tiny.checkpoint), tmp_path)
    found = checkpoint_of(Bundle(tmp_path)).section("ema")
    large = [name for name, value in found.items() if value.numel() >= 1024]
    assert "decoder.pixelcnn.embedding.table" in large and "decoder.pixelcnn.output.weight" in large
    for name, value in found.items():
        assert value.dtype == (torch.float16 if name in large else torch.float32), name


def test_a_run_that_was_never_validated_comes_back(gates, tmp_path):
    progress = RunProgress(step=3, images=12, seconds=0.1 + 0.2, hardware="2 cores")
    write_bundle(replace(gates.checkpoint, progress=progress), tmp_path)
    assert checkpoint_of(Bundle(tmp_path)).progress == progress


def test_a_model_is_trained_further_from_its_graphs(levels):
    model = model_of(checkpoint_of(levels.bundle))
    x = torch.randint(4, (2, 3, 7, 6))
    noise = [torch.randn(2, *shape) for shape in model.architecture.latent_shapes]
    torch.testing.assert_close(model(x, noise).value, levels.model(x, noise).value)


# ---- what is no bundle of its recipe ----


def restate(folder, change):
    config = json.loads((folder / CONFIG).read_text())
    change(config)
    (folder / CONFIG).write_text(json.dumps(config))
    return Bundle(folder)


def rewritten(folder, role, change):
    """The bundle of a folder after a change of a graph's constants, its hash stated anew."""
    path = folder / f"{role}.onnx"
    model = onnx.load(path)
    change({tensor.name: tensor for tensor in model.graph.initializer})
    path.write_bytes(model.SerializeToString(deterministic=True))
    spec = {"size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    return restate(folder, lambda config: config["graphs"][role].update(spec))


def error_of(bundle):
    with pytest.raises(PvaeZooError) as caught:
        checkpoint_of(bundle)
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_a_bundle_of_an_older_make_is_exported_anew(gates, copy_bundle, tmp_path):
    folder = copy_bundle(gates.bundle)

    def older(config):
        del config["recipe"], config["progress"]

    bundle = restate(folder, older)
    assert error_of(bundle).endswith(
        f"does not hold its recipe: export it anew with pvae-zoo export RUN --out {folder}"
    )
    (folder / WEIGHTS).touch()
    assert error_of(bundle).endswith(f"export it anew with pvae-zoo export {folder / WEIGHTS} --out {folder}")


RECIPES = {
    "deeper": lambda m: m["decoder"]["pixelcnn"].update(layers=3),
    "shallower": lambda m: m["decoder"]["pixelcnn"].update(layers=1),
    "wider": lambda m: m["decoder"]["pixelcnn"].update(channels=60000),
    "other reach": lambda m: m["decoder"]["pixelcnn"].update(reach=2),
    "fewer blocks": lambda m: m["encoder"].update(blocks=0),
    "no embedding": lambda m: m["decoder"]["pixelcnn"].update(embedding=0),
    "wider embedding": lambda m: m["decoder"]["pixelcnn"].update(embedding=60000),
    "another prior": lambda m: m["prior"]["pixelcnn"].update(head=9),
}


@pytest.mark.parametrize("change", RECIPES.values(), ids=RECIPES.keys())
def test_graphs_of_another_recipe_are_one_line(levels, copy_bundle, change):
    bundle = restate(copy_bundle(levels.bundle), lambda config: change(config["recipe"]["model"]))
    assert "pull or export the bundle again" in error_of(bundle)


def test_the_recipe_of_another_model_is_one_line(levels, copy_bundle):
    bundle = restate(copy_bundle(levels.bundle), lambda config: config["recipe"]["model"]["image"].update(levels=5))
    assert "has the recipe of another model" in error_of(bundle)


@pytest.mark.parametrize("change", [{"epoch": 3}, {"step": "many"}, {"step": None, "images": [1]}])
def test_progress_of_another_version_is_one_line(gates, copy_bundle, change):
    bundle = restate(copy_bundle(gates.bundle), lambda config: config["progress"].update(change))
    assert "has the progress of another version" in error_of(bundle)


def test_a_recipe_of_another_version_is_one_line(gates, copy_bundle):
    bundle = restate(copy_bundle(gates.bundle), lambda config: config["recipe"].update(surprise=1))
    assert "config.json of" in error_of(bundle)


def test_damaged_constants_are_one_line(levels, copy_bundle):
    def zeroed(tensors):
        weight = numpy_helper.to_array(tensors["output.weight"]).copy()
        weight[3] += 0.25  # no longer of a sum of zero
        tensors["output.weight"].CopyFrom(numpy_helper.from_array(weight, "output.weight"))

    assert "has logits that no cosines give" in error_of(rewritten(copy_bundle(levels.bundle), "decoder", zeroed))


def test_constants_of_another_type_or_name_are_one_line(levels, copy_bundle):
    def integers(tensors):
        bias = numpy_helper.to_array(tensors["stem.bias"]).astype(np.int64)
        tensors["stem.bias"].CopyFrom(numpy_helper.from_array(bias, "stem.bias"))

    folder = copy_bundle(levels.bundle)
    assert "encoder.onnx has no weight stem.bias of shape (4,)" in error_of(rewritten(folder, "encoder", integers))
    shutil.copy(levels.bundle.folder / "encoder.onnx", folder)
    bundle = rewritten(folder, "encoder", lambda tensors: setattr(tensors["stem.bias"], "name", "other"))
    assert "has no weight stem.bias" in error_of(bundle)


def test_what_is_no_graph_is_one_line(gates, copy_bundle):
    folder = copy_bundle(gates.bundle)
    (folder / "encoder.onnx").write_bytes(b"nothing")
    spec = {"size": 7, "sha256": hashlib.sha256(b"nothing").hexdigest()}
    bundle = restate(folder, lambda config: config["graphs"]["encoder"].update(spec))
    assert "encoder.onnx is no graph: pull or export the bundle again" in error_of(bundle)


@pytest.mark.parametrize("name", model_names())
def test_the_models_of_the_zoo_are_read_out_of_their_graphs_and_exported_to_the_same_graphs(name, tmp_path):
    bundle = open_bundle(name)
    write_bundle(checkpoint_of(bundle), tmp_path)
    for role in bundle.config.roles:
        # Beside them stands what a graph says in words, which newer versions say more of.
        mine, theirs = (onnx.load(folder / f"{role}.onnx").graph for folder in (tmp_path, bundle.folder))
        assert list(mine.node) == list(theirs.node) and list(mine.initializer) == list(theirs.initializer), role
