import math

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator

from pvae_zoo.models.likelihood import pixel_log_prob
from pvae_zoo.runtime.sessions import open_session


def on_onnxruntime(tiny, role, **inputs):
    return open_session(tiny.bundle.read_graph(role), "cpu").run(None, inputs)


def on_onnx(tiny, role, **inputs):
    return ReferenceEvaluator(onnx.load_from_string(tiny.bundle.read_graph(role))).run(None, inputs)


@pytest.fixture
def case(tiny):
    """Images, latents and their context, from a seed."""
    config, random = tiny.bundle.config, np.random.default_rng(0)
    x = random.integers(config.image.levels, size=(3, *config.image.chw), dtype=np.uint8)
    z1 = random.normal(size=(3, *config.latents[0].shape)).astype(np.float32)
    with torch.no_grad():
        context = tiny.model.decoder.context(torch.from_numpy(z1)).flatten(2).transpose(1, 2).contiguous().numpy()
    return x, z1, context


@pytest.mark.parametrize("run", [on_onnxruntime, on_onnx])
@torch.no_grad()
def test_the_encoder_is_torchs(tiny, case, run):
    x, _, _ = case
    expected = tiny.model.posteriors(torch.from_numpy(x))
    found = run(tiny, "encoder", image=x)
    for q, mean, log_std in zip(expected, found[0::2], found[1::2], strict=True):
        assert mean.std() > 0.1 and log_std.std() > 0.02
        np.testing.assert_allclose(mean, q.mean, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(log_std, q.log_std, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("run", [on_onnxruntime, on_onnx])
@torch.no_grad()
def test_the_prior_of_one_level_hands_on_noise_and_that_of_two_is_torchs(tiny, case, run):
    _, z1, _ = case
    if len(tiny.model.priors) == 1:
        assert np.array_equal(run(tiny, "prior", z1_noise=z1)[0], z1)
        return
    z2 = np.random.default_rng(1).normal(size=(3, *tiny.bundle.config.latents[1].shape)).astype(np.float32)
    context = tiny.model.priors[0].context(torch.from_numpy(z2)).flatten(2).transpose(1, 2).contiguous().numpy()
    np.testing.assert_allclose(run(tiny, "prior_context", z2=z2)[0], context, rtol=1e-5, atol=1e-5)
    expected = tiny.model.priors[0](torch.from_numpy(z1), torch.from_numpy(z2))
    mean, log_std = run(tiny, "prior", z1=z1, context=context)
    assert mean.std() > 0.1 and log_std.std() > 0.02
    np.testing.assert_allclose(mean, expected.mean, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(log_std, expected.log_std, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("run", [on_onnxruntime, on_onnx])
def test_the_context_is_torchs(tiny, case, run):
    _, z1, context = case
    found = run(tiny, "decoder_context", z1=z1)[0]
    spec = tiny.bundle.config.steps["decoder_step"].context
    assert found.shape[1:] == (spec.rows, spec.channels)
    np.testing.assert_allclose(found, context, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("run", [on_onnxruntime, on_onnx])
@torch.no_grad()
def test_the_decoder_is_torchs(tiny, case, run):
    x, z1, context = case
    image = torch.from_numpy(x)
    expected = pixel_log_prob(tiny.model.decoder(image, torch.from_numpy(z1)), image, tiny.bundle.config.image)
    np.testing.assert_allclose(run(tiny, "decoder", image=x, context=context)[0], expected, rtol=1e-5, atol=1e-5)


def in_raster_order(log_prob):
    """``(N, C, H, W)`` as rows in the order in which values are drawn: pixel by pixel, R, G, B."""
    return log_prob.transpose(0, 2, 3, 1).reshape(len(log_prob), -1)


def test_changing_a_value_changes_no_earlier_probability_in_the_exported_decoder(tiny, case):
    """Bit for bit, with no other image in the batch; and every value matters to some later one."""
    x, _, context = case
    image, session = tiny.bundle.config.image, open_session(tiny.bundle.read_graph("decoder"), "cpu")

    def score(images):
        return in_raster_order(session.run(None, {"image": images, "context": context[:1]})[0])[0]

    before, reached = score(x[:1]), 0
    order = [(c, y, i) for y in range(image.height) for i in range(image.width) for c in range(image.channels)]
    for position, (c, y, i) in enumerate(order):
        changed = x[:1].copy()
        changed[0, c, y, i] = (int(changed[0, c, y, i]) + 1 + image.levels // 3) % image.levels
        after = score(changed)
        assert np.array_equal(after[:position], before[:position])
        assert after[position] != before[position]
        reached += bool((after[position + 1 :] != before[position + 1 :]).any())
    assert reached == len(order) - 1


def test_the_values_of_every_position_have_probabilities_that_sum_to_one(tiny, case):
    x, _, context = case
    image, session = tiny.bundle.config.image, open_session(tiny.bundle.read_graph("decoder"), "cpu")
    for c in range(image.channels):
        for y in range(image.height):
            for i in range(image.width):
                every = np.repeat(x[:1], image.levels, axis=0)
                every[:, c, y, i] = np.arange(image.levels)
                feed = {"image": every, "context": np.repeat(context[:1], image.levels, axis=0)}
                log_prob = session.run(None, feed)[0][:, c, y, i].astype(np.float64)
                assert np.exp(log_prob).sum() == pytest.approx(1, abs=1e-5)


def test_all_images_of_a_tiny_model_sum_to_one_over_the_exported_graphs(square):
    every = ((np.arange(16)[:, None] >> np.arange(4)) & 1).astype(np.uint8).reshape(16, 1, 2, 2)
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    context = on_onnxruntime(square, "decoder_context", z1=nodes.astype(np.float32)[:, None])[0]
    decoder, total = open_session(square.bundle.read_graph("decoder"), "cpu"), np.zeros(16)
    for row, weight in zip(context, weights / math.sqrt(2 * math.pi), strict=True):
        log_prob = decoder.run(None, {"image": every, "context": np.repeat(row[None], 16, axis=0)})[0]
        total += weight * np.exp(log_prob.astype(np.float64).reshape(16, -1).sum(1))
    assert total.sum() == pytest.approx(1, abs=1e-5) and total.std() > 0.01


def test_extreme_logits_have_finite_probabilities(make_tiny):
    """The scored value may be as unlikely as it likes: its logarithm is a number."""
    for image in ((1, 2, 2, 2), (1, 2, 2, 4)):
        tiny = make_tiny(image=image, latents=1)
        context = np.full((4, 1, tiny.bundle.config.steps["decoder_step"].context.channels), 50, np.float32)
        x = np.arange(4, dtype=np.uint8)[:, None, None, None] % image[3] * np.ones((1, 1, 2, 2), np.uint8)
        log_prob = on_onnxruntime(tiny, "decoder", image=x, context=context)[0]
        assert np.isfinite(log_prob).all() and (log_prob <= 0).all()
