import onnx
import pytest

from pvae_zoo.contract.folder import Bundle
from pvae_zoo.export.bundle import halved, write_bundle
from pvae_zoo.graphs.builder import IR_VERSION, OPSET
from pvae_zoo.graphs.quantised import as_int8
from pvae_zoo.sources.registry import bundles_folder, model_names
from pvae_zoo.trust.screening import ATTRIBUTES, IR_VERSIONS, OPERATORS, OPSETS, SHAPE_INPUTS, screen_graph


def screened(bundle):
    roles = bundle.config.roles
    return [line for role in roles for line in screen_graph(bundle.read_graph(role), bundle.config.graphs[role], role)]


@pytest.fixture(scope="module")
def nodes(gates, upsample, colour, levels, make_tiny):
    """Of graphs with all that the export and conversions can do."""
    bundles = [tiny.bundle for tiny in (gates, upsample, colour, levels)]
    graphs = [onnx.load_from_string(b.read_graph(role)) for b in bundles for role in b.config.roles]
    wide = onnx.load_from_string(make_tiny(image=(1, 4, 4, 2), channels=64).bundle.read_graph("decoder_step"))
    return [node for model in (*graphs, as_int8(wide, "decoder_step")) for node in model.graph.node]


def test_every_tiny_bundle_passes(tiny):
    assert screened(tiny.bundle) == []


@pytest.mark.parametrize("name", model_names())
def test_every_bundle_of_the_zoo_passes(name):
    assert screened(Bundle(bundles_folder() / name)) == []


def test_a_bundle_with_weights_in_float16_passes(make_tiny, tmp_path):
    wide = make_tiny(image=(1, 4, 4, 2), head=64, channels=32)
    write_bundle(halved(wide.checkpoint), tmp_path)
    bundle = Bundle(tmp_path)
    graph = onnx.load_from_string(bundle.read_graph("decoder")).graph
    assert any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in graph.initializer)
    assert screened(bundle) == []


def test_the_operators_are_those_that_export_and_conversions_use_and_no_others(nodes):
    assert {node.op_type for node in nodes} == OPERATORS


def test_the_attributes_are_those_that_the_export_uses_and_no_others(nodes):
    assert {(a.name, a.type) for node in nodes for a in node.attribute} == set(ATTRIBUTES.items())


def test_the_versions_are_those_of_the_export():
    assert {IR_VERSION} == IR_VERSIONS and {OPSET} == OPSETS


@pytest.mark.parametrize("operator", sorted(OPERATORS))
def test_every_input_that_decides_a_shape_is_among_those_that_must_be_constant(operator):
    """By onnx's own words: a shape input is of type int64 alone, or it is one of Resize's."""
    schema = onnx.defs.get_schema(operator, 13)
    integers = [i for i, value in enumerate(schema.inputs) if value.type_str in ("tensor(int64)", "Tind")]
    expected = {"Resize": (1, 2, 3), "Gather": (), "GatherND": (), "ScatterND": ()}.get(operator, tuple(integers))
    assert SHAPE_INPUTS.get(operator, ()) == expected


def test_metadata_that_means_nothing_to_us_is_ignored(gates):
    model = onnx.load_from_string(gates.bundle.read_graph("prior"))
    for key in ("author", "", "pvae.format_version", "\x1b[2J"):
        model.metadata_props.add(key=key, value="__import__('os')")
    spec = gates.bundle.config.graphs["prior"]
    assert screen_graph(model.SerializeToString(deterministic=True), spec, "prior") == []
