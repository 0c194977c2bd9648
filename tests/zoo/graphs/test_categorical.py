import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvae_zoo.graphs.builder import GraphBuilder
from pvae_zoo.graphs.categorical import Categorical, usable
from pvae_zoo.runtime.sessions import open_session

LARGEST = np.float32(1 - 2**-24)


@pytest.fixture(scope="module")
def draw():
    def session(levels):
        b = GraphBuilder("draw", "")
        logits, uniform = b.input("logits", "float32", ["M", levels]), b.input("uniform", "float32", ["M", 1])
        b.output(Categorical(b, levels).draw(logits, usable(b, uniform)), "drawn", "int64", ["M", 1])
        return open_session(b.build({}).SerializeToString(), "cpu")

    sessions = {levels: session(levels) for levels in (3, 12, 256)}

    def draw(logits, uniforms):
        shifted = (logits - logits.max(axis=1, keepdims=True)).astype(np.float32)
        feed = {"logits": shifted, "uniform": np.asarray(uniforms, np.float32)[:, None]}
        return sessions[logits.shape[1]].run(None, feed)[0][:, 0].astype(int)

    return draw


def cumulative(logits):
    weights = np.exp(np.float64(logits) - logits.max(axis=1, keepdims=True))
    return np.cumsum(weights / weights.sum(axis=1, keepdims=True), axis=1)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    levels=st.sampled_from([3, 12, 256]),
    spread=st.sampled_from([0.0, 1.0, 10.0, 300.0]),
)
def test_the_class_is_the_first_whose_cumulative_probability_is_above_the_uniform(draw, seed, levels, spread):
    rng = np.random.default_rng(seed)
    logits = (spread * rng.standard_normal((64, levels))).astype(np.float32)
    uniforms = rng.random(64, np.float32)
    reached, u = cumulative(logits), np.float64(uniforms)[:, None]
    rounding = 1e-6  # float32 sums of up to 256 terms
    earliest, latest = ((reached <= u + delta).sum(axis=1) for delta in (-rounding, rounding))
    drawn = draw(logits, uniforms)
    assert ((earliest <= drawn) & (drawn <= latest)).all()
    assert (drawn < levels).all()


@pytest.mark.parametrize("levels", [3, 12, 256])
def test_the_outermost_uniforms_draw_no_class_that_adds_nothing(draw, levels):
    for only in range(levels):
        logits = np.full((1, levels), -200, np.float32)
        logits[0, only] = 0
        assert draw(np.repeat(logits, 3, axis=0), [0, 0.5, LARGEST]).tolist() == [only] * 3


def test_uniforms_at_the_ends_of_blocks_draw_no_class_that_adds_nothing(draw):
    rng = np.random.default_rng(0)
    logits = np.full((4000, 256), -200, np.float32)
    likely = [3, 17, 18, 40, 100, 101]  # the last classes of a block are never likely
    logits[:, likely] = rng.standard_normal((4000, len(likely)))
    weights = np.exp(np.float64(logits[:, likely]))
    ends = (np.cumsum(weights, axis=1) / weights.sum(axis=1, keepdims=True))[np.arange(4000), np.arange(4000) % 6]
    assert set(draw(logits, np.minimum(ends.astype(np.float32), LARGEST))) <= set(likely)


def test_shares_are_the_probabilities(draw):
    probabilities = np.array([[0.125, 0.5, 0.375]], np.float32)
    uniforms = (np.arange(1000, dtype=np.float32) + 0.5) / 1000
    drawn = draw(np.log(np.repeat(probabilities, 1000, axis=0)), uniforms)
    assert np.bincount(drawn).tolist() == [125, 500, 375]
