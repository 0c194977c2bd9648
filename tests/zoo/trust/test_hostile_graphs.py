"""Graphs made to read, hang, exhaust or deceive: each is refused for the reason that makes it so."""

import dataclasses
import os
import time

import onnx
import pytest
from onnx import TensorProto, helper

from pvae_zoo.trust.limits import ENTRIES, METADATA_BYTES
from pvae_zoo.trust.screening import screen_graph

ROLE = "decoder_context"  # a Gemm and an Unsqueeze
CASES = {}


def case(fragment, name=None):
    """Register a change of a sound graph and a part of the line that must refuse it.

    A change is given the parsed graph and alters it, or returns bytes to stand in its place.
    """

    def register(change):
        CASES[(name or change.__name__).replace("_", " ")] = (change, fragment)
        return change

    return register


def refusals(bundle, change):
    model = onnx.load_from_string(bundle.read_graph(ROLE))
    data = change(model)
    data = data if isinstance(data, bytes) else model.SerializeToString(deterministic=True)
    return screen_graph(data, bundle.config.graphs[ROLE], ROLE)


# ---- words for people ----


@case("it says '\\x1b]0;x\\x07', not a line of at most 1000")
def an_input_described_in_escapes(model):
    model.graph.input[0].doc_string = "\x1b]0;x\x07"


@case("not a line of at most 1000 printable characters")
def an_output_described_in_a_book(model):
    model.graph.output[0].doc_string = "a" * 1001


@case("it says 'a\\nb', not a line")
def a_producer_of_two_lines(model):
    model.producer_version = "a\nb"


# ---- data in other files ----


def external(tensor, location, **more):
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def weight(name="secret"):
    return helper.make_tensor(name, TensorProto.FLOAT, [4], bytes(16), raw=True)


LOCATIONS = {
    "parent": "../secret.bin",
    "parent in the middle": "a/../../secret.bin",
    "absolute": "/etc/passwd",
    "drive": "C:\\Windows\\win.ini",
    "share": "\\\\host\\share\\secret.bin",
    "symlink": "symlink.bin",
    "hard link": "hardlink.bin",
    "beside the graph": "encoder.onnx",
    "memory": "*/_ORT_MEM_ADDR_/*",
    "empty": "",
}


def elsewhere(model, location):
    external(model.graph.initializer[0], location, offset=0, length=1 << 40)


for kind, location in LOCATIONS.items():
    case("has TensorProto.external_data", f"external data: {kind}")(
        lambda model, location=location: elsewhere(model, location)
    )


@case("TensorProto.data_location")
def external_without_a_place(model):
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL


@case("TensorProto.external_data")
def a_place_without_external(model):
    model.graph.initializer[0].external_data.add(key="location", value="../secret")


@case("AttributeProto.t,")
def external_data_in_an_attribute(model):
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=external(weight(), "../secret")))


@case("AttributeProto.tensors")
def external_data_in_attributes(model):
    attribute = model.graph.node[0].attribute.add(name="values", type=onnx.AttributeProto.TENSORS)
    attribute.tensors.append(external(weight(), "../secret"))


@case("GraphProto.sparse_initializer")
def external_data_in_a_sparse_constant(model):
    sparse = model.graph.sparse_initializer.add(dims=[1 << 20])
    sparse.values.CopyFrom(external(weight(), "../secret"))


@case("AttributeProto.sparse_tensor")
def external_data_in_a_sparse_attribute(model):
    attribute = model.graph.node[0].attribute.add(name="sparse_value", type=onnx.AttributeProto.SPARSE_TENSOR)
    attribute.sparse_tensor.values.CopyFrom(external(weight(), "../secret"))


@case("AttributeProto.g,")
def external_data_in_a_branch(model):
    branch = helper.make_graph([], "branch", [], [], [external(weight(), "../secret")])
    model.graph.node.append(helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch))


@case("ModelProto.functions")
def external_data_in_a_function(model):
    node = helper.make_node("Constant", [], ["y"], value=external(weight(), "../secret"))
    model.functions.append(helper.make_function("f", "F", [], ["y"], [node], [helper.make_opsetid("", 13)]))


def within(field, payload):
    """A message as a field of another, by hand: writers keep to the depth that they read."""
    length, size = b"", len(payload)
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([field << 3 | 2]) + length + bytes([size]) + payload


# ---- control flow, functions, foreign operators ----


def add(model, kind, inputs=("z1",), **attributes):
    model.graph.node.append(helper.make_node(kind, list(inputs), ["grown"], name="odd", **attributes))


@case("AttributeProto.g,")
def an_endless_loop(model):
    body = helper.make_graph(
        [helper.make_node("Identity", ["on"], ["still_on"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("still_on", TensorProto.BOOL, [])],
    )
    add(model, "Loop", ("", "true"), body=body)


@case("AttributeProto.g,")
def a_scan(model):
    add(model, "Scan", body=helper.make_graph([], "body", [], []), num_scan_inputs=1)


@case("AttributeProto.graphs")
def graphs_in_an_operator_of_ours(model):
    attribute = model.graph.node[0].attribute.add(name="axis", type=onnx.AttributeProto.GRAPHS)
    attribute.graphs.append(helper.make_graph([], "hidden", [], []))


@case("'odd' is the operator 'Loop'")
def a_loop_without_a_body(model):
    add(model, "Loop")


@case("the file is no ONNX graph")
def graphs_nested_beyond_the_parser(model):
    nested = b""
    for _ in range(200):  # GraphProto.node, NodeProto.attribute, AttributeProto.g
        nested = within(1, within(5, within(6, nested)))
    return model.SerializeToString(deterministic=True) + within(7, nested)


@case("ModelProto.functions")
def a_function(model):
    model.functions.append(helper.make_function("", "Gemm", ["x"], ["y"], [], [helper.make_opsetid("", 13)]))


@case("ModelProto.training_info")
def training(model):
    model.training_info.add()


@case("ModelProto.configuration")
def devices(model):
    model.configuration.add(name="two", num_devices=2)


for kind, attributes in {
    "ConstantOfShape": {},
    "Expand": {},
    "Tile": {},
    "Range": {},
    "Pad": {},
    "OneHot": {},
    "NonZero": {},
    "RandomNormal": {"shape": [4]},
    "RandomUniformLike": {"seed": 0.5},
    "Multinomial": {"sample_size": 1},
    "Bernoulli": {},
    "StringNormalizer": {},
    "ImageDecoder": {},
    "Constant": {"value_int": 1},
    "EPContext": {"ep_cache_context": "../library.so"},
    "NoSuchOperator": {},
    "gemm": {},
    "": {},
}.items():
    fragment = f"'odd' is the operator '{kind}'"
    if kind in ("RandomUniformLike",):
        fragment = "AttributeProto.f,"
    case(fragment, f"operator {kind}")(lambda model, kind=kind, more=attributes: add(model, kind, **more))


def huge(model, kind):
    model.graph.initializer.append(helper.make_tensor("much", TensorProto.INT64, [2], [10**6, 10**6]))
    inputs = {"ConstantOfShape": ["much"]}.get(kind, ["z1", "much"])
    model.graph.node.append(helper.make_node(kind, inputs, ["grown"], name="odd"))


case("TensorProto.int64_data", "10^12 elements by ConstantOfShape")(lambda model: huge(model, "ConstantOfShape"))
case("TensorProto.int64_data", "10^12 elements by Expand")(lambda model: huge(model, "Expand"))


@case("takes a shape from 'z1', which is no constant")
def a_shape_out_of_the_data(model):
    add(model, "Reshape", ("context", "z1"))


@case("takes a shape from 'z1', which is no constant")
def a_scale_out_of_the_data(model):
    add(model, "Resize", ("context", "", "z1"), mode="nearest")


@case("'odd' is the operator 'DynamicQuantizeLinear', which no graph of ours uses")
def a_scale_that_is_one_for_all_images(model):
    add(model, "DynamicQuantizeLinear")


@case("'odd' has an input 1 that is no constant")
def a_product_of_data_by_itself_in_integers(model):
    add(model, "MatMulInteger", ("z1", "z1"))


@case("'odd' has an input 2 that is no constant")
def a_zero_point_that_is_not_there(model):
    add(model, "QuantizeLinear", ("z1", "linear.bias"))


@case("'odd' casts to the data type 3")
def a_cast_to_int8(model):
    add(model, "Cast", to=TensorProto.INT8)


@case("has a shape out of bounds")
def int8_weights_that_become_a_gigabyte_and_more(model):
    model.graph.initializer.append(onnx.TensorProto(name="w", data_type=TensorProto.INT8, dims=[1 << 29]))


@case("is an operator of the domain 'com.microsoft'")
def an_operator_of_another_domain(model):
    add(model, "Gemm", domain="com.microsoft")


@case("'odd' is an operator of the domain 'com.microsoft'")
def a_compiled_context(model):
    model.opset_import.add(domain="com.microsoft", version=1)
    add(model, "EPContext", domain="com.microsoft")


@case("operators of the domains ', evil.example'")
def another_domain_imported(model):
    model.opset_import.add(domain="evil.example", version=1)


@case("operators of the domains 'ai.onnx.ml'")
def no_default_domain(model):
    model.opset_import[0].domain = "ai.onnx.ml"


@case("operators of the domains ', '")
def the_default_domain_twice(model):
    model.opset_import.add(domain="", version=13)


@case("operators of the domains ''")
def no_opset(model):
    del model.opset_import[:]


@case("opset 9999, not 13")
def a_future_opset(model):
    model.opset_import[0].version = 9999


@case("opset 1, not 13")
def an_ancient_opset(model):
    model.opset_import[0].version = 1


@case("IR version 3, not 8")
def an_ancient_format(model):
    model.ir_version = 3


@case("IR version 9223372036854775807, not 8")
def a_future_format(model):
    model.ir_version = (1 << 63) - 1


@case("has the attribute 'alpha', which no graph of ours has")
def an_attribute_that_is_none_of_ours(model):
    model.graph.node[0].attribute.add(name="alpha", type=onnx.AttributeProto.INT, i=1)


@case("has the attribute 'axis', which no graph of ours has in this way")
def an_attribute_of_another_type(model):
    model.graph.node[0].attribute.add(name="axis", type=onnx.AttributeProto.STRING, s=b"1")


@case("AttributeProto.ref_attr_name")
def an_attribute_by_reference(model):
    model.graph.node[0].attribute.add(name="axis", type=onnx.AttributeProto.INT, ref_attr_name="axis")


@case("casts to the data type 8")
def a_cast_to_strings(model):
    add(model, "Cast", to=TensorProto.STRING)


# ---- bytes that are no graph, or not only one ----

case("the file is no ONNX graph", "garbage")(lambda model: bytes(range(256)) * 8)
case("in another way", "empty")(lambda model: b"")
case("the file is no ONNX graph", "cut short")(lambda model: model.SerializeToString(deterministic=True)[:-7])
case("the file is no ONNX graph", "zeros")(lambda model: bytes(4096))
case("the file is no ONNX graph", "pickle")(lambda model: b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.")


@case("in another way")
def more_after_the_end(model):
    return model.SerializeToString(deterministic=True) + b"\xca\xff\x3f\x04evil"


@case("in another way")
def another_order_of_fields(model):
    graph = within(7, model.graph.SerializeToString(deterministic=True))
    model.ClearField("graph")
    return graph + model.SerializeToString(deterministic=True)


@case("in another way")
def two_graphs_in_one(model):
    data = model.SerializeToString(deterministic=True)
    return data + data


@case("onnxruntime's own format")
def a_graph_that_onnxruntime_takes_for_its_own_format(model):
    model.producer_name = "ORTM-zoo"


@case(f"has {ENTRIES + 1} entries in GraphProto.node")
def nodes_of_two_bytes(model):
    for _ in range(ENTRIES + 1 - len(model.graph.node)):
        model.graph.node.add()


@case(f"has {ENTRIES + 1} entries in NodeProto.input")
def a_node_with_many_inputs(model):
    model.graph.node[0].input.extend(["z1"] * (ENTRIES + 1 - len(model.graph.node[0].input)))


@case(f"has {ENTRIES + 1} entries in GraphProto.initializer")
def many_constants(model):
    count = ENTRIES + 1 - len(model.graph.initializer)
    model.graph.initializer.extend([helper.make_tensor(f"c{i}", TensorProto.FLOAT, [], [0.0]) for i in range(count)])


@case("characters of metadata")
def much_metadata(model):
    model.metadata_props.add(key="k", value="[" * METADATA_BYTES)


@case("metadata that configures onnxruntime")
def settings_for_onnxruntime(model):
    model.metadata_props.add(key="ort_config", value='{"session_options": {"enable_profiling": 1}}')


@case("GraphProto.value_info")
def shapes_within_the_graph(model):
    model.graph.value_info.append(helper.make_tensor_value_info("gemm_1", TensorProto.FLOAT, [1 << 40]))


@case("GraphProto.quantization_annotation")
def quantisation(model):
    model.graph.quantization_annotation.add(tensor_name="z1")


@case("the file has no graph")
def no_graph(model):
    model.ClearField("graph")


# ---- constants ----


def first(model):
    return model.graph.initializer[0]


@case("has a shape out of bounds: [1099511627776, 1099511627776]")
def dimensions_that_overflow(model):
    first(model).dims[:] = [1 << 40, 1 << 40]


@case("has a shape out of bounds: [4294967296, 4294967296]")
def dimensions_whose_product_is_zero_in_64_bits(model):
    first(model).dims[:] = [1 << 32, 1 << 32]
    first(model).raw_data = b""


@case("has a shape out of bounds: [-1, -")
def negative_dimensions(model):
    first(model).dims[:] = [-1, -len(first(model).raw_data) // 4]


@case("has a shape out of bounds: [0]")
def a_dimension_of_nothing(model):
    first(model).dims[:] = [0]
    first(model).raw_data = b""


@case("has a shape out of bounds: [1, 1, 1, 1, 1, 1, 1, 1, 1]")
def many_dimensions(model):
    first(model).dims[:] = [1] * 9
    first(model).raw_data = bytes(4)


@case("bytes, its shape [2] needs 8")
def more_bytes_than_the_shape(model):
    first(model).dims[:] = [2]


@case("bytes, its shape [1000000] needs 4000000")
def fewer_bytes_than_the_shape(model):
    first(model).dims[:] = [10**6]


@case("TensorProto.float_data")
def data_twice(model):
    first(model).float_data.append(1.0)


@case("TensorProto.int32_data")
def integers_for_floats(model):
    first(model).int32_data.extend([1] * 4)


@case("TensorProto.segment")
def a_segment_of_a_constant(model):
    first(model).segment.begin = 0


@case("TensorProto.string_data")
def strings(model):
    model.graph.initializer.append(helper.make_tensor("s", TensorProto.STRING, [1], [b"x"]))


@case("has the data type 11, which no graph of ours has")
def a_constant_of_float64(model):
    first(model).data_type = TensorProto.DOUBLE


@case("has the data type 0, which no graph of ours has")
def a_constant_without_a_type(model):
    first(model).ClearField("data_type")


@case("has the data type 999, which no graph of ours has")
def a_constant_of_an_unknown_type(model):
    first(model).data_type = 999


@case("constant 'z1' stands in place of an input")
def a_constant_for_an_input(model):
    model.graph.initializer.append(helper.make_tensor("z1", TensorProto.FLOAT, [1], bytes(4), raw=True))


@case("constant 'linear.bias' is there twice")
def a_constant_twice(model):
    model.graph.initializer.append(first(model))


# ---- the signature ----


def declared(value):
    return value.type.tensor_type


@case("its inputs are '', config.json says 'z1'")
def no_input(model):
    del model.graph.input[:]


@case("its inputs are 'z1, more', config.json says 'z1'")
def an_input_too_many(model):
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))


@case("its outputs are 'context, grown', config.json says 'context'")
def an_output_too_many(model):
    add(model, "Identity")
    model.graph.output.append(helper.make_tensor_value_info("grown", TensorProto.FLOAT, [1]))


@case("its inputs are 'z9', config.json says 'z1'")
def an_input_of_another_name(model):
    model.graph.input[0].name = "z9"


@case("z1 is of type 11 ['N', 3], config.json says float32")
def an_input_of_another_type(model):
    declared(model.graph.input[0]).elem_type = TensorProto.DOUBLE


@case("z1 is of type 1 ['N', 3, 1], config.json says float32 ('N', 3)")
def an_input_of_another_rank(model):
    declared(model.graph.input[0]).shape.dim.add(dim_value=1)


@case("z1 is of type 1 ['N', 1099511627776], config.json says float32 ('N', 3)")
def an_input_of_another_size(model):
    declared(model.graph.input[0]).shape.dim[1].dim_value = 1 << 40


@case("z1 is of type 1 ['N', 'K'], config.json says float32 ('N', 3)")
def an_input_of_free_size(model):
    declared(model.graph.input[0]).shape.dim[1].dim_param = "K"


@case("z1 is of type 1 [1, 3], config.json says float32 ('N', 3)")
def an_input_of_fixed_size(model):
    declared(model.graph.input[0]).shape.dim[0].dim_value = 1


@case("z1 is of type 1 [], config.json says float32 ('N', 3)")
def an_input_of_no_shape(model):
    declared(model.graph.input[0]).ClearField("shape")


@case("TypeProto.sequence_type")
def an_input_that_is_a_sequence(model):
    model.graph.input[0].type.sequence_type.elem_type.tensor_type.elem_type = TensorProto.FLOAT


@case("TypeProto.optional_type")
def an_output_that_may_be_missing(model):
    model.graph.output[0].type.optional_type.elem_type.tensor_type.elem_type = TensorProto.FLOAT


# ---- names that would control a terminal ----

HOSTILE = "\x1b[2J\x1b]0;owned\x07\r\n\u202e" + "A" * 100_000


@case("node '\\x1b[2J")
def a_node_with_an_escape_for_a_name(model):
    add(model, "Loop")
    model.graph.node[-1].name = HOSTILE


@case("is the operator '\\x1b[2J")
def an_operator_with_an_escape_for_a_name(model):
    add(model, HOSTILE)


@case("constant '\\x1b[2J")
def a_constant_with_an_escape_for_a_name(model):
    first(model).name = HOSTILE
    first(model).dims[:] = [-1]


@case("its inputs are '\\x1b[2J")
def an_input_with_an_escape_for_a_name(model):
    model.graph.input[0].name = HOSTILE


@case("domains ', \\x1b[2J")
def a_domain_with_an_escape_for_a_name(model):
    model.opset_import.add(domain=HOSTILE, version=1)


@pytest.mark.parametrize(("change", "fragment"), CASES.values(), ids=CASES.keys())
def test_a_hostile_graph_is_refused_and_the_reason_said(gates, change, fragment):
    start = time.process_time()
    problems = refusals(gates.bundle, change)
    assert time.process_time() - start < 10
    assert any(fragment in problem for problem in problems), problems
    assert all(line.startswith(f"{ROLE}: ") and line.isprintable() and len(line) < 400 for line in problems)


def test_there_is_a_sound_graph_behind_the_hostile_ones(gates):
    assert refusals(gates.bundle, lambda model: None) == []
    assert len(CASES) >= 25


def test_no_shape_is_not_the_shape_of_a_number(gates):
    model = onnx.load_from_string(gates.bundle.read_graph(ROLE))
    declared(model.graph.input[0]).ClearField("shape")
    spec = gates.bundle.config.graphs[ROLE]
    spec = dataclasses.replace(spec, inputs=(dataclasses.replace(spec.inputs[0], shape=()),))
    (problem,) = screen_graph(model.SerializeToString(deterministic=True), spec, ROLE)
    assert problem == f"{ROLE}: z1 is of type 1 [], config.json says float32 ()"


def test_a_graph_that_is_too_large_is_not_parsed(gates, monkeypatch):
    monkeypatch.setattr("pvae_zoo.trust.screening.GRAPH_BYTES", 1000)
    problems = refusals(gates.bundle, lambda model: bytes(1001))
    assert problems == [f"{ROLE}: the graph has 1001 bytes, more than 1000"]


def test_constants_have_a_bound_together(gates, monkeypatch):
    model = onnx.load_from_string(gates.bundle.read_graph(ROLE))
    size = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    data = model.SerializeToString(deterministic=True)
    half = helper.make_tensor("half", TensorProto.FLOAT16, [len(data)], bytes(2 * len(data)), raw=True)
    monkeypatch.setattr("pvae_zoo.trust.screening.GRAPH_BYTES", size + 3 * len(data))
    (problem,) = refusals(gates.bundle, lambda model: model.graph.initializer.append(half))
    assert problem == f"{ROLE}: constants of {size + 4 * len(data)} bytes, more than {size + 3 * len(data)}"


def test_nothing_outside_the_bytes_is_opened(gates, monkeypatch, tmp_path):
    """What external data names is there, linked and linked hard, and is not touched."""
    (tmp_path / "secret.bin").write_bytes(bytes(4096))
    inside = tmp_path / "bundle"
    inside.mkdir()
    os.link(tmp_path / "secret.bin", inside / "hardlink.bin")
    (inside / "symlink.bin").symlink_to(tmp_path / "secret.bin")
    monkeypatch.chdir(inside)

    def no_open(*_args, **_kwargs):
        raise AssertionError("a file was opened")

    changes = [change for name, (change, _) in CASES.items() if name.startswith("external data")]
    assert len(changes) >= len(LOCATIONS)
    sound, spec = gates.bundle.read_graph(ROLE), gates.bundle.config.graphs[ROLE]
    monkeypatch.setattr("builtins.open", no_open)
    monkeypatch.setattr(os, "open", no_open)
    for change in changes:
        model = onnx.load_from_string(sound)
        change(model)
        assert screen_graph(model.SerializeToString(deterministic=True), spec, ROLE)
