"""The same data drives a graph in any runtime, and what comes out is what the network gives."""

from dataclasses import replace

import numpy as np
import pytest

from pvae_zoo.checks.verification import golden_gap, read_golden, whole_image, with_contexts
from pvae_zoo.conformance.cases import draw_sample, golden_case, golden_step_case, run_case
from pvae_zoo.conformance.engines import ENGINES
from pvae_zoo.runtime.sessions import open_session


@pytest.fixture
def execute(tiny):
    """Runs a case in onnxruntime, without any binding of canvases."""
    opened = {}

    def execute(case):
        if case.role not in opened:
            path = tiny.bundle.folder / f"{case.role}.onnx"
            opened[case.role] = ENGINES["onnxruntime"](path, tiny.bundle.config.graphs[case.role])
        return run_case(opened[case.role], case)

    return execute


def whole_of(bundle, golden):
    return with_contexts(bundle, golden, lambda role: open_session(bundle.read_graph(role), "cpu"))


def test_a_whole_sample_has_the_pixels_of_the_network(tiny, execute):
    golden = read_golden(tiny.bundle, [])
    assert np.array_equal(draw_sample(tiny.bundle.config, golden, execute), golden["image"])


def test_every_graph_gives_its_golden_vectors(tiny, execute):
    golden = read_golden(tiny.bundle, [])
    whole = whole_of(tiny.bundle, golden)
    for role in whole_image(tiny.bundle):
        case, expected = golden_case(tiny.bundle, role, golden, whole)
        (outputs,) = execute(case)
        for name, value in expected.items():
            assert golden_gap(name, outputs[name], value) < 1e-4
    for role in tiny.bundle.config.steps:
        drawing, expected = golden_step_case(tiny.bundle.config, role, whole)
        np.testing.assert_allclose(drawing.images(execute(drawing.case)), expected, atol=1e-4)


def test_canvases_go_from_run_to_run(tiny, execute):
    whole = whole_of(tiny.bundle, read_golden(tiny.bundle, []))
    drawing, expected = golden_step_case(tiny.bundle.config, "decoder_step", whole)
    forgetful = [execute(replace(drawing.case, feeds=(feed,)))[0] for feed in drawing.case.feeds]
    assert np.abs(drawing.images(forgetful) - expected).max() > 1e-2
