"""Golden vectors of single steps: what a step graph gives, and nothing that a config does not allow."""

import io

import numpy as np
import pytest

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.checks.step_vectors import STEPS, step_gap, step_vectors
from pvae_zoo.checks.verification import read_golden, verify_bundle
from pvae_zoo.contract.folder import GOLDEN, Bundle, file_spec
from pvae_zoo.runtime.sessions import open_session


def golden_of(bundle):
    problems = []
    golden = read_golden(bundle, problems)
    assert problems == []
    return golden


def test_each_step_graph_gives_what_its_vectors_say(tiny):
    config, golden = tiny.bundle.config, golden_of(tiny.bundle)
    for role, spec in config.steps.items():
        session = open_session(tiny.bundle.read_graph(role), "cpu")
        vectors = step_vectors(config, role, golden)
        assert [vector.step for vector in vectors] == list(STEPS)
        for vector in vectors:
            assert set(vector.feed) == {tensor.name for tensor in config.graphs[role].inputs}
            outputs = dict(zip(vector.expected, session.run(list(vector.expected), vector.feed), strict=True))
            assert step_gap(vector, outputs) < 1e-5
            for name, value in outputs.items():  # every output is compared
                assert step_gap(vector, outputs | {name: value + 1}) > 1e-3
        first, middle, last = (vector.feed["positions"] for vector in vectors)
        geometry = spec.geometry
        assert first.tolist() == [geometry.top * geometry.stride + geometry.left]
        assert last.tolist() == [(geometry.top + spec.height - 1) * geometry.stride + geometry.left + spec.width - 1]
        assert len(middle) >= 1 and all(vectors[1].feed[canvas.name].any() for canvas in spec.canvases)


def rewritten(bundle, folder, change):
    """The bundle with other golden vectors, as its config then states them."""
    golden = golden_of(bundle)
    change(golden)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **golden)
    (folder / GOLDEN).write_bytes(buffer.getvalue())
    config = (folder / "config.json").read_text()
    before, after = bundle.config.golden, file_spec(folder / GOLDEN)
    config = config.replace(before.sha256, after.sha256).replace(f'"size": {before.size}', f'"size": {after.size}')
    (folder / "config.json").write_text(config)
    return Bundle(folder)


KEY = "decoder_step.middle."
CHANGES = {
    "missing": (lambda g: g.pop(KEY + "positions"), f"the golden vectors lack {KEY}positions"),
    "row": (lambda g: g[KEY + "positions"].fill(10**9), f"{KEY}positions of the golden vectors names rows"),
    "negative": (lambda g: g[KEY + "canvas_rows"].fill(-1), f"{KEY}canvas_rows of the golden vectors names rows"),
    "type": (lambda g: g.update({KEY + "log_prob": g[KEY + "log_prob"].astype("f8")}), "is float64 (2, 1), not as"),
    "shape": (lambda g: g.update({KEY + "context": np.zeros((2, 10**6), "f4")}), "is float32 (2, 1000000), not as"),
    "number": (lambda g: g.update({KEY + "context_rows": np.zeros(1, "i8")}), "not one row of the context for each"),
    "value": (lambda g: g[KEY + "log_prob"].__iadd__(1e-2) is None, "decoder_step: differs by "),
    "no number": (lambda g: g[KEY + "log_prob"].fill(np.nan), "decoder_step: differs by "),
}


@pytest.mark.parametrize(("change", "fragment"), CHANGES.values(), ids=CHANGES.keys())
def test_vectors_that_do_not_hold_are_told_in_one_line(gates, copy_bundle, change, fragment):
    bundle = rewritten(gates.bundle, copy_bundle(gates.bundle), change)
    (problem,) = verify_bundle(bundle).problems
    assert fragment in problem and problem.isprintable()


def test_a_bundle_from_before_there_were_any_has_none(gates):
    golden = {name: value for name, value in golden_of(gates.bundle).items() if "." not in name}
    assert step_vectors(gates.bundle.config, "decoder_step", golden) == []
    with pytest.raises(PvaeZooError, match=r"lack decoder_step\.first\.positions"):
        step_vectors(gates.bundle.config, "decoder_step", golden | {KEY + "noise": golden["z1"]})
