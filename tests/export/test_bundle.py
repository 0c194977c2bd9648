import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from pvae_zoo import __version__
from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.folder import CONFIG, GOLDEN, Bundle
from pvae_zoo.explain.tensors import tensor_words
from pvae_zoo.export.bundle import halved, model_of, write_bundle
from pvae_zoo.export.parity import check_parity
from pvae_zoo.graphs.builder import GraphBuilder
from pvae_zoo.runtime.sessions import open_session
from pvae_zoo.training.checkpoint import RunProgress
from pvae_zoo.training.recipe import parse_recipe

FORBIDDEN = {"Loop", "If", "Scan", "CumSum", "RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike"}
FORBIDDEN |= {"Multinomial", "Bernoulli", "Dropout", "GatherElements"}


def graphs(tiny):
    return graphs_of(tiny.bundle)


def graphs_of(bundle):
    return {role: onnx.load_from_string(bundle.read_graph(role)) for role in bundle.config.roles}


def test_two_exports_are_the_same_bytes(tiny, tmp_path):
    write_bundle(tiny.checkpoint, tmp_path)
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert sorted(written) == sorted([CONFIG, GOLDEN, *(f"{role}.onnx" for role in tiny.bundle.config.roles)])
    for name, data in written.items():
        assert (tiny.bundle.folder / name).read_bytes() == data, name


def test_every_file_is_as_the_config_states(tiny):
    for spec in tiny.bundle.files():
        assert len(tiny.bundle.read(spec)) == spec.size
    stated = [spec.file for spec in tiny.bundle.files()] + [CONFIG]
    assert sorted(stated) == sorted(path.name for path in tiny.bundle.folder.iterdir())


def test_graphs_are_valid_and_of_portable_operators_only(tiny):
    for role, model in graphs(tiny).items():
        onnx.checker.check_model(model, full_check=True)
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
        assert [(o.domain, o.version) for o in model.opset_import] == [("", 13)] and model.ir_version == 8, role
        assert {node.domain for node in model.graph.node} == {""} and not model.functions
        assert not FORBIDDEN & {node.op_type for node in model.graph.node}
        for tensor in model.graph.initializer:
            assert tensor.data_type in (TensorProto.FLOAT, TensorProto.INT64, TensorProto.FLOAT16)
            readers = {node.op_type for node in model.graph.node if tensor.name in node.input}
            assert tensor.data_type != TensorProto.FLOAT16 or readers == {"Cast"}
            assert tensor.data_location == TensorProto.DEFAULT and not tensor.external_data
            assert np.isfinite(numpy_helper.to_array(tensor)).all()
        used = {name for node in model.graph.node for name in node.input}
        assert {tensor.name for tensor in model.graph.initializer} <= used


def test_the_config_lists_the_inputs_and_outputs_that_the_graphs_have(tiny):
    for role, model in graphs(tiny).items():
        spec = tiny.bundle.config.graphs[role]
        session = open_session(model.SerializeToString(), "cpu")
        types = {"float32": "tensor(float)", "int64": "tensor(int64)", "uint8": "tensor(uint8)"}
        for stated, found in ((spec.inputs, session.get_inputs()), (spec.outputs, session.get_outputs())):
            expected = [(s.name, types[s.dtype], list(s.shape)) for s in stated]
            assert [(f.name, f.type, f.shape) for f in found] == expected


def test_each_graph_repeats_the_contract(tiny):
    stored = json.loads((tiny.bundle.folder / CONFIG).read_text())
    for role, model in graphs(tiny).items():
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        contract = json.loads(metadata["pvae.config"])
        assert metadata["pvae.format_version"] == "1" and contract.pop("role") == role
        assert contract.pop("inputs") == stored["graphs"][role]["inputs"]
        assert contract.pop("outputs") == stored["graphs"][role]["outputs"]
        beside = ("graphs", "golden", "training", "recipe", "progress", "guide")
        assert contract == {key: value for key, value in stored.items() if key not in beside}


def test_each_graph_says_what_goes_in_and_out_and_whose_it_is(tiny):
    config = tiny.bundle.config
    for role, model in graphs(tiny).items():
        words = {tensor.name: tensor.doc_string for tensor in (*model.graph.input, *model.graph.output)}
        assert words == {name: tensor_words(config, role)[name] for name in words}
        assert all(40 < len(line) < 500 and line.isprintable() for line in words.values()), role
        assert (model.producer_version, model.model_version) == (__version__, 48)
        assert {e.key: e.value for e in model.metadata_props}["model_license"] == "MIT"
    image, step = config.image, config.steps["decoder_step"]
    words = tensor_words(config, "decoder_step")
    assert f"0 to {image.levels - 1} to keep, -1 where to draw" in words["given"] and "[0, 1)" in words["uniforms"]
    assert f"image * {step.geometry.rows_per_image} + (y + {step.geometry.top})" in words["positions"]


def test_what_tells_of_the_training_changes_no_graph(gates, tmp_path):
    checkpoint = gates.checkpoint
    other = replace(checkpoint.recipe, training=replace(checkpoint.recipe.training, learning_rate=0.5))
    config = write_bundle(replace(checkpoint, recipe=other), tmp_path)
    assert config.training["learning_rate"] == 0.5 and config.graphs == gates.bundle.config.graphs


def test_a_tensor_that_nothing_describes_is_in_no_graph():
    b = GraphBuilder("doubler", "Doubles")
    b.output(b.op("Neg", b.input("x", "float32", ["N"])), "y", "float32", ["N"])
    with pytest.raises(ValueError, match="nothing says what y of the graph doubler is"):
        b.build({}, {"x": "A number"})


def test_the_contract_is_plain_json(tiny):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    json.loads((tiny.bundle.folder / CONFIG).read_text(), parse_constant=refuse)


def test_what_is_read_is_what_was_written(tiny, tmp_path):
    assert write_bundle(tiny.checkpoint, tmp_path) == Bundle(tmp_path).config == tiny.bundle.config


def test_the_contract_says_what_the_model_is(tiny):
    config, architecture = tiny.bundle.config, tiny.model.architecture
    assert config.image == architecture.image
    assert [(latent.name, latent.shape) for latent in config.latents] == [
        (f"z{level}", shape) for level, shape in enumerate(architecture.latent_shapes, start=1)
    ]
    gates = architecture.decoder.conditioning == "gates"
    assert config.steps["decoder_step"].context.rows == (1 if gates else config.image.height * config.image.width)
    assert config.parameters == sum(p.numel() for p in tiny.model.parameters())
    assert config.steps["decoder_step"].geometry.slope == architecture.decoder.pixelcnn.reach + 1
    progress = tiny.checkpoint.progress
    assert config.training["valid_elbo_nats"] == progress.best_elbo and config.training["hours"] == 2.0
    assert config.training["images_seen"] == 48 and config.training["steps"] == tiny.checkpoint.recipe.training.steps


def test_a_bundle_carries_the_recipe_it_was_made_from_and_how_far_that_came(tiny):
    config = tiny.bundle.config
    assert parse_recipe(config.recipe, "config") == tiny.checkpoint.recipe
    assert RunProgress(**config.progress) == tiny.checkpoint.progress


def test_the_averaged_weights_are_exported_in_evaluation_mode(tiny):
    assert not model_of(tiny.checkpoint).training


def test_no_config_is_written_where_a_file_cannot_be(tiny, tmp_path):
    (tmp_path / "decoder.onnx").mkdir()
    with pytest.raises(PvaeZooError, match=r"cannot write .*decoder\.onnx"):
        write_bundle(tiny.checkpoint, tmp_path)
    assert not (tmp_path / CONFIG).exists()


def test_weights_rounded_to_float16_halve_a_bundle_and_agree_with_torch(make_tiny, tmp_path):
    tiny = make_tiny(image=(3, 8, 8, 4), top=4, channels=24, head=24, stem=16)
    small = tmp_path / "small"
    write_bundle(halved(tiny.checkpoint), small)
    bundle = Bundle(small)
    assert check_parity(bundle, halved(tiny.checkpoint)).ok
    assert not check_parity(bundle, tiny.checkpoint).ok
    for name in ("decoder_step.onnx", "decoder.onnx"):
        assert (small / name).stat().st_size < 0.9 * (tiny.bundle.folder / name).stat().st_size
    types = {tensor.data_type for model in graphs_of(bundle).values() for tensor in model.graph.initializer}
    assert TensorProto.FLOAT16 in types
