import math
import os
import signal
import time
from functools import partial
from itertools import product

import numpy as np
import pytest
import torch

import pvae_zoo
from pvae_zoo.base.errors import PvaeZooError, PvaeZooWarning
from pvae_zoo.contract.folder import Bundle
from pvae_zoo.export.reference import sample_z1
from pvae_zoo.runtime import grid, latents, networks, noise
from pvae_zoo.runtime import model as runtime
from pvae_zoo.runtime.drawing import Slices
from pvae_zoo.runtime.failures import DeviceMemoryError
from pvae_zoo.runtime.model import Model
from pvae_zoo.runtime.networks import Networks
from pvae_zoo.runtime.scoring import Gaussian, merge_scores
from pvae_zoo.runtime.sessions import CPU

TAKES = "tiny takes uint8 (N, 1, 7, 6) with at least one image"


def load(tiny, threads=1):
    return Model(tiny.bundle, "cpu", threads)


def random_images(tiny, count, seed=0):
    image = tiny.bundle.config.image
    return np.random.default_rng(seed).integers(image.levels, size=(count, *image.chw), dtype=np.uint8)


def exact_log_prob(tiny, images):
    """log p(x) of images of a model with one latent dimension, by Gauss-Hermite quadrature over PyTorch."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    z = torch.from_numpy(nodes).float()[:, None]
    with torch.no_grad():
        given = [tiny.model.log_likelihood(x.expand(80, -1, -1, -1), z).double() for x in torch.from_numpy(images)]
    log_weights = torch.from_numpy(np.log(weights / math.sqrt(2 * math.pi)))
    return torch.stack([(log_weights + log_prob).logsumexp(0) for log_prob in given]).numpy()


class Recorder:
    """A session that notes how many rows it is given."""

    def __init__(self, session, rows):
        self.session, self.rows = session, rows

    def run(self, names, feed, options=None):
        self.rows.append(len(next(iter(feed.values()))))
        return self.session.run(names, feed)


def test_a_sample_is_the_same_whatever_the_batch_the_count_and_the_workers(tiny, monkeypatch):
    model = load(tiny)
    expected = model.sample(9, seed=3)
    assert expected.dtype == np.uint8 and expected.shape == (9, *model.image.chw)
    assert np.array_equal(model.sample(9, seed=3, batch_size=4), expected)
    assert np.array_equal(model.sample(9, seed=3, batch_size=1), expected)
    assert np.array_equal(model.sample(2, seed=3), expected[:2])
    assert np.array_equal(model.sample(4, seed=3, first=5), expected[5:])
    assert np.array_equal(model.sample(9, seed=3, order="raster"), expected)
    monkeypatch.setitem(runtime.SAMPLE_BATCH, CPU, 5)
    monkeypatch.setattr(grid, "POSITIONS", 4)
    for threads in (1, 2, 3):
        assert np.array_equal(load(tiny, threads).sample(9, seed=3), expected)


@pytest.mark.parametrize(
    ("use", "roles"),
    [
        (lambda model, images: model.sample(1), ["decoder_context", "decoder_step", "prior"]),
        (lambda model, images: model.nll(images), ["decoder", "decoder_context", "encoder"]),
        (lambda model, images: model.encode(images), ["encoder"]),
    ],
)
def test_a_graph_is_read_when_it_is_needed_and_once(gates, use, roles, monkeypatch):
    read, read_graph = [], Bundle.read_graph
    monkeypatch.setattr(Bundle, "read_graph", lambda self, role: read.append(role) or read_graph(self, role))
    model = load(gates, 2)
    assert model.provider == model.where == CPU and model.device == "cpu" and read == []
    use(model, np.zeros((40, *model.image.chw), np.uint8))
    assert sorted(read) == roles


def test_an_interrupt_ends_all_workers_before_their_next_batch_of_draws(levels, monkeypatch):
    """Each piece is one image of 1,600 draws: two times a hundred batches."""
    model, runs, run = load(levels, 2), [], Networks._run

    def counted(self, role, *args):
        runs.append(role)
        if len(runs) == 20:
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.002)  # lets the main thread see it
        return run(self, role, *args)

    monkeypatch.setattr(Networks, "_run", counted)
    with pytest.raises(KeyboardInterrupt):
        model.nll(random_images(levels, 4), samples=1600)
    assert len(runs) < 100


@pytest.mark.parametrize("threads", [1, 3])
def test_neither_the_batch_size_nor_where_a_slice_begins_changes_an_image(tiny, threads):
    model, images = load(tiny, threads), random_images(tiny, 5)
    top = np.arange(model.image.height)[:, None].repeat(model.image.width, 1) < 2
    draws = [
        lambda **options: model.reconstruct(images, seed=2, **options),
        lambda **options: model.reconstruct(images, level="top", seed=2, **options),
        lambda **options: model.complete(images, top, seed=2, candidates=4, **options),
        lambda **options: model.interpolate(steps=5, seed=2, first=1, **options),
        lambda **options: model.interpolate(images[:2], steps=5, seed=2, **options),
        *(partial(model.vary, level, 5, seed=2, first=1) for level in model.levels),
    ]
    seen = []

    def note(done, total):
        seen.append((done, total))

    for draw in draws:
        seen.clear()
        expected = draw(progress=note)
        assert seen[-1][0] == seen[-1][1] == len(seen)
        for batch in (1, 2):
            seen.clear()
            assert np.array_equal(draw(batch_size=batch, progress=note), expected)
            assert seen[-1][0] == seen[-1][1] == len(seen)
    for draw in (model.reconstruct, partial(model.complete, keep=top, candidates=4)):
        assert np.array_equal(draw(images[2:], first=2), draw(images)[2:])


@pytest.mark.parametrize("options", [{"batch_size": -1}, {"first": -1}])
def test_a_slice_has_images_and_a_place(gates, options):
    model, images = load(gates), random_images(gates, 2)
    for draw in (model.reconstruct, partial(model.complete, keep=np.zeros((7, 6), bool))):
        with pytest.raises(PvaeZooError, match=f"{next(iter(options))} is -1; it must be at least"):
            draw(images, **options)


def test_the_context_of_a_large_map_is_its_own_whatever_is_beside_it():
    """Maps of 8 x 8 are not filled up to a multiple of 16, as the tiny ones are."""
    nets = pvae_zoo.load("lsun", device="cpu", threads=1).networks
    z1 = np.random.default_rng(0).standard_normal((3, *nets.latent_shape(1)), np.float32)
    rows = []
    session = nets.session("decoder_context")
    nets._sessions["decoder_context"] = Recorder(session, rows)
    together = nets._context("decoder_context", "z1", z1)
    for index in range(3):
        assert np.array_equal(nets._context("decoder_context", "z1", z1[index : index + 1])[0], together[index])
    assert rows == [3, 1, 1, 1]


def test_another_seed_is_another_sample(tiny):
    model = load(tiny)
    drawn = {model.sample(9, seed=seed).tobytes() for seed in (0, 1, 2, 2**63 - 1)}
    assert len(drawn) == 4
    assert len({image.tobytes() for image in model.sample(9)}) > 4


def test_a_sample_is_decoded_from_the_priors_noise(tiny):
    model = load(tiny)
    shapes = [level.shape for level in tiny.bundle.config.latents]
    eps = [noise.normals(3, range(5), n, math.prod(shape)).reshape(5, *shape) for n, shape in enumerate(shapes, 1)]
    z1 = sample_z1(tiny.model, *(torch.from_numpy(e) for e in (eps[0], *eps[1:]))).numpy()
    assert np.array_equal(model.decode(z1, seed=3), model.sample(5, seed=3))
    assert np.array_equal(model.decode(z1, seed=3, batch_size=2), model.sample(5, seed=3))
    assert not np.array_equal(model.decode(z1, seed=4), model.sample(5, seed=3))
    assert not np.array_equal(model.decode(-z1, seed=3), model.sample(5, seed=3))


@pytest.mark.parametrize("n", [3, 7])
def test_progress_grows_to_the_whole(gates, n):
    seen = []
    load(gates).sample(n, batch_size=3, progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert len({total for _, total in seen}) == 1 and seen[-1][0] == seen[-1][1]


@torch.no_grad()
def test_scores_are_those_of_torch_on_the_documented_noise(tiny):
    model, images, samples = load(tiny), random_images(tiny, 5), 3
    scores = model.nll(images, samples=samples, seed=2)
    keys = [noise.content_key(image) for image in images]
    x = torch.from_numpy(images)
    shapes = [level.shape for level in tiny.bundle.config.latents]
    eps = [
        torch.from_numpy(noise.normals(2, keys, noise.POSTERIOR + n, samples * math.prod(shape)))
        for n, shape in enumerate(shapes, start=1)
    ]
    eps = [e.view(5, samples, *shape) for e, shape in zip(eps, shapes, strict=True)]
    elbos = [tiny.model(x, [e[:, k] for e in eps]) for k in range(samples)]
    close = {"rtol": 1e-5, "atol": 1e-4}
    np.testing.assert_allclose(scores.reconstruction_nats, -sum(e.log_likelihood for e in elbos) / samples, **close)
    kl = sum(torch.stack(e.kl, dim=1) for e in elbos) / samples
    np.testing.assert_allclose(scores.kl_nats, kl, **close)
    np.testing.assert_allclose(scores.nll_nats, -sum(e.value for e in elbos) / samples, **close)
    iwae = tiny.model.iwae(x, samples, lambda n: [e.flatten(0, 1) for e in eps])
    np.testing.assert_allclose(scores.iwae_nll_nats, -iwae, **close)
    np.testing.assert_allclose(-scores.log_prob.sum((1, 2, 3)), scores.reconstruction_nats, rtol=1e-5)


FIGURES = ("nll_nats", "reconstruction_nats", "kl_nats", "log_prob", "iwae_nll_nats")


def assert_same_bits(found, expected):
    for name in FIGURES:
        if expected.iwae_nll_nats is None and name == "iwae_nll_nats":
            assert found.iwae_nll_nats is None
        else:
            assert np.array_equal(getattr(found, name), getattr(expected, name)), name


@pytest.mark.parametrize("samples", [1, 3])
def test_an_images_figures_are_its_own_whatever_is_beside_it(tiny, monkeypatch, samples):
    model, images = load(tiny), random_images(tiny, 23)
    whole = model.nll(images, samples=samples, seed=1)
    for size in (1, 2, 5, 23):
        parts = [model.nll(images[i : i + size], samples=samples, seed=1) for i in range(0, 23, size)]
        assert_same_bits(merge_scores(parts), whole)
    for threads in (2, 3):
        assert_same_bits(load(tiny, threads).nll(images, samples=samples, seed=1), whole)
    order = np.random.default_rng(5).permutation(23)
    backwards = model.nll(images[order], samples=samples, seed=1)
    assert np.array_equal(backwards.nll_nats, whole.nll_nats[order])
    for size in (1, 2, 5):
        monkeypatch.setitem(networks.SCORE_BATCH, CPU, size)
        assert_same_bits(model.nll(images, samples=samples, seed=1), whole)
    monkeypatch.setattr(networks, "LOGITS_AT_ONCE", 500)
    np.testing.assert_allclose(model.nll(images, samples=samples, seed=1).nll_nats, whole.nll_nats, rtol=1e-5)
    assert not np.allclose(model.nll(images, samples=samples, seed=2).nll_nats, whole.nll_nats)


@pytest.mark.parametrize("name", ["mnist", "mnist-upsample", "lsun"])
def test_an_image_is_scored_alone_and_not_beside_copies_of_itself(name):
    """A map of 28 x 28 or 64 x 64 is a whole number of registers, those of the tiny models are not."""
    model = pvae_zoo.load(name, device="cpu", threads=1)
    images, rows = model.sample(3, seed=2), []
    model.networks._sessions["decoder"] = Recorder(model.networks.session("decoder"), rows)
    whole = model.nll(images)
    assert_same_bits(merge_scores([model.nll(images[i : i + 1]) for i in range(3)]), whole)
    assert rows == [3, 1, 1, 1]


def test_different_images_have_different_noise(gates):
    """Two posteriors' draws in standard units: equal would mean that the key ignores the pixels."""
    model, images = load(gates), random_images(gates, 2)
    q = model.encode(images)[0]
    keys = [noise.content_key(image) for image in images]
    z = latents.posterior_draws(model.networks, [q], 0, keys)[0]
    eps = (z - q.mean) / np.exp(q.log_std)
    assert np.abs(eps[0] - eps[1]).min() > 1e-3


def test_bounds_are_ordered_and_close_in_on_the_exact_likelihood(square):
    every = np.array(list(product(range(2), repeat=4)), np.uint8).reshape(-1, 1, 2, 2)
    exact = -exact_log_prob(square, every)
    assert np.exp(-exact).sum() == pytest.approx(1, abs=1e-5) and exact.std() > 0.1
    truth = np.tile(exact, 40)
    model = load(square)
    few, many = (merge_scores([model.nll(every, samples=k, seed=s) for s in range(40)]) for k in (4, 64))
    gaps = few.nll_nats - few.iwae_nll_nats, few.iwae_nll_nats - many.iwae_nll_nats
    for gap in gaps:
        assert gap.mean() > 3 * gap.std() / math.sqrt(len(gap))
    wide = np.exp(model.encode(every)[0].log_std[:, 0]) > 0.9  # narrow posteriors have weights of infinite variance
    assert wide.sum() > 3
    gap = (many.iwae_nll_nats - truth).reshape(40, 16)[:, wide]
    assert (np.abs(gap.mean(0)) < 4.5 * gap.std(0) / math.sqrt(40) + 0.01).all()
    assert gap.std() < 0.2
    assert (many.nll_nats - truth).reshape(40, 16).mean(0).min() > 0


def test_posteriors_are_the_encoders_in_any_batch(tiny, monkeypatch):
    model, images = load(tiny), random_images(tiny, 7)
    whole = model.encode(images)
    assert [q.mean.shape[1:] for q in whole] == [level.shape for level in tiny.bundle.config.latents]
    with torch.no_grad():
        expected = tiny.model.posteriors(torch.from_numpy(images))
    monkeypatch.setitem(networks.SCORE_BATCH, CPU, 3)
    for posteriors in (whole, model.encode(images)):
        for found, q in zip(posteriors, expected, strict=True):
            np.testing.assert_allclose(found.mean, q.mean, rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(found.log_std, q.log_std, rtol=1e-5, atol=1e-5)


def test_reconstructions_are_drawn_from_the_posterior(tiny):
    model, images = load(tiny), random_images(tiny, 5)
    q = model.encode(images)[0]
    shape = tiny.bundle.config.latents[0].shape
    eps = noise.normals(6, range(5), noise.POSTERIOR + 1, math.prod(shape)).reshape(5, *shape)
    z1 = q.mean + np.exp(q.log_std) * eps
    found = model.reconstruct(images, seed=6)
    assert found.shape == images.shape and found.dtype == np.uint8
    assert np.array_equal(found, model.decode(z1, seed=6))


def test_a_reconstruction_from_the_top_draws_z1_anew(levels):
    model, images = load(levels), random_images(levels, 5)
    q = model.encode(images)
    eps = latents.posterior_noise(model.networks, 6, range(5))
    z1 = model.networks.draw_z1([latents.prior_noise(model.networks, 6, range(5))[0], q[1].sample(eps[1])])
    found = model.reconstruct(images, level="top", seed=6)
    assert np.array_equal(found, model.decode(z1, seed=6))
    assert not np.array_equal(found, model.reconstruct(images, seed=6))


def test_rows_that_vary_one_level_share_all_other_noise(tiny):
    model, n = load(tiny), 6
    whole = model.sample(n, seed=2, first=3)
    levels = ["top", "bottom", "pixels"] if len(tiny.model.priors) > 1 else ["top", "pixels"]
    assert list(model.levels) == levels
    free = latents.prior_noise(model.networks, 2, range(3, 3 + n))
    held = latents.prior_noise(model.networks, 2, [3] * n)
    u = noise.uniforms(2, range(3, 3 + n), noise.PIXELS, model.image.dimensions).reshape(n, *model.image.chw)
    for level in levels:
        row = model.vary(level, n, seed=2, first=3)
        assert np.array_equal(row[0], whole[0]) and len({image.tobytes() for image in row}) > 1
        eps = list(held)
        if level != "pixels":
            eps[{"top": -1, "bottom": 0}[level]] = free[{"top": -1, "bottom": 0}[level]]
        uniforms = u if level == "pixels" else np.repeat(u[:1], n, axis=0)
        drawn = model.networks.draw_pixels(model.networks.draw_z1(eps), uniforms, np.full(u.shape, -1), 1.0)
        assert np.array_equal(row, drawn.images)


def test_a_path_between_two_draws_starts_and_ends_with_them(tiny):
    model = load(tiny)
    path = model.interpolate(steps=5, seed=4, first=2)
    assert path.shape == (5, *model.image.chw)
    assert np.array_equal(path[0], model.sample(1, seed=4, first=2)[0])
    assert np.array_equal(path[-1], model.vary("top", 2, seed=4, first=2)[1])


def test_a_path_between_two_images_runs_between_the_means_of_their_posteriors(tiny):
    model, images = load(tiny), random_images(tiny, 2)
    path = model.interpolate(images, 3, seed=4)
    for end, at in ((0, 0), (1, -1)):
        eps = latents.prior_noise(model.networks, 4, [0])
        eps[-1] = model.encode(images)[-1].mean[end : end + 1]
        assert np.array_equal(path[at], model.decode(model.networks.draw_z1(eps), seed=4)[0])


def test_completions_keep_what_they_are_told_to_keep(tiny):
    model, images = load(tiny), random_images(tiny, 6)
    keep = np.random.default_rng(1).random((6, *images.shape[2:])) < 0.5
    found = model.complete(images, keep, candidates=4)
    assert np.array_equal(np.where(keep[:, None], found, 0), np.where(keep[:, None], images, 0))
    assert not np.array_equal(found, images)
    everything = np.ones(images.shape[2:], bool)
    assert np.array_equal(model.complete(images, everything), images)
    assert np.array_equal(model.complete(images, keep, candidates=4), found)


def test_what_is_hidden_has_no_influence_and_what_is_kept_has(gates):
    model, images = load(gates), random_images(gates, 30)
    keep = np.zeros((7, 6), bool)
    keep[:3] = True
    found = model.complete(images, keep)
    assert np.array_equal(model.complete(np.where(keep, images, 1 - images), keep), found)
    assert not np.array_equal(model.complete(np.where(keep, 1 - images, images), keep)[:, :, 4:], found[:, :, 4:])


def test_completions_of_a_top_row_have_the_exact_probabilities(make_tiny, monkeypatch):
    """p(bottom | top) = sum over z of p(z | top) p(bottom | top, z): z weighed by the top, not from the prior."""
    tiny = make_tiny(image=(1, 2, 2, 2), latents=1, layers=1, channels=8)
    # Weights make up for any posterior: here one that is the wrong one for every image.
    wrong = Gaussian(np.full((1, 1), 1.2, np.float32), np.full((1, 1), -0.7, np.float32))
    monkeypatch.setattr(networks.Networks, "posteriors", lambda self, images: [wrong])
    every = np.array(list(product(range(2), repeat=4)), np.uint8)  # rows of a top, columns of a bottom
    log_prob = exact_log_prob(tiny, every.reshape(-1, 1, 2, 2)).reshape(4, 4)
    exact = np.exp(log_prob) / np.exp(log_prob).sum(1, keepdims=True)
    keep, count, deviations, z = np.array([[True, True], [False, False]]), 1000, [], torch.randn(4000, 1)
    for top in range(4):
        image = np.array([[[top // 2, top % 2], [0, 0]]], np.uint8)
        found = load(tiny).complete(np.broadcast_to(image, (count, 1, 2, 2)), keep, seed=top)
        frequency = np.bincount(2 * found[:, 0, 1, 0].astype(int) + found[:, 0, 1, 1], minlength=4) / count
        error = 4.5 * np.sqrt(exact[top] * (1 - exact[top]) / count) + 0.01
        assert (np.abs(frequency - exact[top]) < error).all()
        from_prior = naive_bottom(tiny, image, z)
        deviations.append(np.max(np.abs(from_prior - exact[top]) - error))
    assert max(deviations) > 0.02  # z from the prior would be seen


@torch.no_grad()
def naive_bottom(tiny, image, z):
    """p(bottom | top) if z came from the prior."""
    result = []
    for bottom in product(range(2), repeat=2):
        x = torch.from_numpy(np.concatenate([image[:, :1], np.array([[bottom]], np.uint8)], axis=1))[None]
        x = x.expand(len(z), -1, -1, -1)
        logits = tiny.model.decoder(x, z)
        result.append(torch.where(x.bool(), logits.sigmoid(), 1 - logits.sigmoid())[:, 0, 1].prod(1).mean().item())
    return np.array(result)


def error_of(call):
    with pytest.raises(PvaeZooError) as caught:
        call()
    return str(caught.value)


@pytest.mark.parametrize("method", ["nll", "encode", "reconstruct", "complete"])
@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 1, 7, 6), np.float32), f"images of type float32 and shape (2, 1, 7, 6): {TAKES}"),
        (np.zeros((2, 1, 6, 7), np.uint8), f"images of type uint8 and shape (2, 1, 6, 7): {TAKES}"),
        (np.zeros((7, 6), np.uint8), f"images of type uint8 and shape (7, 6): {TAKES}"),
        (np.zeros((0, 1, 7, 6), np.uint8), f"images of type uint8 and shape (0, 1, 7, 6): {TAKES}"),
        (np.full((1, 1, 7, 6), 255, np.uint8), "values up to 255: tiny takes 0..1"),
    ],
    ids=["type", "transposed", "no batch", "empty", "grey"],
)
def test_images_of_another_kind_are_refused(gates, method, images, message):
    extra = [np.ones((7, 6), bool)] if method == "complete" else []
    assert error_of(lambda: getattr(load(gates), method)(images, *extra)) == message


def test_impossible_requests_are_refused(gates):
    model, images = load(gates), random_images(gates, 2)
    z1 = np.zeros((2, 3), np.float32)
    assert error_of(lambda: model.sample(0)) == "n is 0; it must be at least 1"
    assert error_of(lambda: model.sample(1, batch_size=-1)) == "batch_size is -1; it must be at least 1"
    assert error_of(lambda: model.nll(images, samples=0)) == "samples is 0; it must be at least 1"
    assert error_of(lambda: model.sample(1, first=-1)) == "first is -1; it must be at least 0"
    for call in (model.sample, lambda n, **options: model.nll(images, **options)):
        assert error_of(lambda call=call: call(1, seed=-1)).startswith("seed -1 is out of range: choose one from 0 to")
    for temperature in (-1.0, math.nan, math.inf, 1e-45, 1e39):
        for call in (
            lambda t=temperature: model.sample(1, temperature=t),
            lambda t=temperature: model.decode(z1, temperature=t),
            lambda t=temperature: model.reconstruct(images, temperature=t),
            lambda t=temperature: model.complete(images, np.ones((7, 6), bool), temperature=t),
        ):
            assert f"temperature {temperature:g} must be from 1e-06 to 1e+06" in error_of(call)
    for temperature in (0, -1.0, math.nan, math.inf, 1e-45, 1e39):
        for call in (
            lambda t=temperature: model.sample(1, latent_temperature=t),
            lambda t=temperature: model.vary("top", 2, latent_temperature=t),
            lambda t=temperature: model.interpolate(None, 2, latent_temperature=t),
            lambda t=temperature: model.reconstruct(images, latent_temperature=t),
            lambda t=temperature: model.complete(images, np.ones((7, 6), bool), latent_temperature=t),
        ):
            assert f"temperature {temperature:g} must be from 1e-06 to 1e+06" in error_of(call)
    assert error_of(lambda: model.decode(z1[:, :2])) == "z1 has shape (2, 2); tiny takes (N, 3) with at least one row"
    assert error_of(lambda: model.decode(z1[:0])) == "z1 has shape (0, 3); tiny takes (N, 3) with at least one row"
    assert error_of(lambda: model.vary("bottom")) == "tiny has no noise of level 'bottom': choose top or pixels"
    assert error_of(lambda: model.vary("top", 0)) == "n is 0; it must be at least 1"
    assert error_of(lambda: model.interpolate(steps=1)) == "steps is 1; it must be at least 2"
    assert error_of(lambda: model.interpolate(images[:1])) == "1 images: a path has two ends"
    assert "from the top or the bottom" in error_of(lambda: model.reconstruct(images, level="pixels"))
    for shape in ((6, 7), (3, 7, 6), (2, 1, 7, 6)):
        expected = f"the mask has shape {shape}; expected (7, 6) or (2, 7, 6)"
        assert error_of(lambda shape=shape: model.complete(images, np.ones(shape, bool))) == expected


def test_load_opens_a_folder(gates):
    model = pvae_zoo.load(str(gates.bundle.folder), device="cpu", threads=1)
    assert (model.name, model.provider, model.threads) == ("tiny", CPU, 1)
    assert model.image == gates.model.architecture.image


def test_as_many_images_are_drawn_at_once_as_their_memory_allows(gates, monkeypatch):
    model = load(gates)
    one = model.networks.pixel_sampler.grid.bytes_per_image
    for bytes_, at_once in ((one - 1, 1), (3 * one, 3), (1 << 60, runtime.SAMPLE_BATCH[CPU])):
        monkeypatch.setitem(runtime.SAMPLE_BYTES, CPU, bytes_)
        assert model.sample_batch == at_once


def test_the_temperature_of_latents_widens_what_they_are_drawn_from(tiny):
    model, indices = load(tiny), range(4)
    eps = [np.float32(0.25) * e for e in latents.prior_noise(model.networks, 5, indices)]
    expected = runtime.draw_from_noise(model.networks, eps, runtime.PixelNoise(5, indices, 1.0))
    assert np.array_equal(model.sample(4, seed=5, latent_temperature=0.25), expected)
    assert np.array_equal(model.sample(4, seed=5, latent_temperature=1.0), model.sample(4, seed=5))
    for level in model.levels:
        first = model.vary(level, 2, seed=5, latent_temperature=0.25)[0]
        assert np.array_equal(first, expected[0])
    path = model.interpolate(None, 3, seed=5, latent_temperature=0.25)
    assert np.array_equal(path[0], expected[0])


def test_a_prior_of_another_temperature_has_the_density_of_its_width():
    z = np.linspace(-2, 2, 12, dtype=np.float32).reshape(2, 6)
    narrow = Gaussian(np.zeros((2, 6), np.float32), np.full((2, 6), math.log(0.5), np.float32))
    assert np.allclose(latents.log_prior([z], [None], 0.5), narrow.log_prob(z))
    wide = Gaussian(np.ones((2, 6), np.float32), np.full((2, 6), math.log(3.0), np.float32))
    halved = Gaussian(wide.mean, wide.log_std + np.float32(math.log(0.5)))
    assert np.allclose(latents.log_prior([z], [wide], 0.5), halved.log_prob(z))


def test_slices_that_do_not_fit_the_device_are_halved_once_for_all_and_nothing_is_lost():
    slices, tried, seen, calls = Slices(), [], [], []

    def draw(part, progress):
        tried.append(len(part))
        if len(part) > 3:
            raise DeviceMemoryError("no memory left on the GPU")
        calls.append(part)
        progress(len(part), len(part))
        return np.arange(part.start, part.stop, dtype=np.uint8).reshape(-1, 1, 1, 1)

    def drawn(count, batch):
        return slices.draw(count, batch, draw, lambda count: count, lambda *at: seen.append(at)).ravel().tolist()

    with pytest.warns(PvaeZooWarning, match="no memory left on the GPU to draw 8 images at once") as warned:
        assert drawn(11, 8) == list(range(11))
    assert len(warned) == 1 and tried == [8, 4, 2, 2, 2, 2, 2, 1]
    assert [done for done, _ in seen] == [2, 4, 6, 8, 10, 11] and seen[-1] == (11, 11)
    tried.clear()
    assert drawn(5, 8) == list(range(5)) and tried == [2, 2, 1]


def test_a_device_without_memory_for_one_image_is_an_error():
    def draw(part, progress):
        raise DeviceMemoryError("no memory left on the GPU")

    with pytest.warns(PvaeZooWarning), pytest.raises(DeviceMemoryError):
        Slices().draw(4, 2, draw, lambda count: count)
