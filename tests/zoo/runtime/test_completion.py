import numpy as np
import pytest

from pvae_zoo.runtime import completion, latents, networks
from pvae_zoo.runtime import model as runtime
from pvae_zoo.runtime.completion import completed_z1, known_places
from pvae_zoo.runtime.filling import fill
from pvae_zoo.runtime.model import Model
from pvae_zoo.runtime.sessions import CPU


@pytest.fixture(scope="module")
def model(levels):
    """Images 7 x 6 of 3 channels with 4 levels, z1 on 4 x 3 places, each of 2 x 2 pixels."""
    return Model(levels.bundle, "cpu", 1)


def random_images(model, count):
    shape = (count, *model.image.chw)
    return np.random.default_rng(0).integers(model.image.levels, size=shape, dtype=np.uint8)


def half():
    keep = np.zeros((7, 6), bool)
    keep[:4] = True
    return keep


def masks(count):
    return np.random.default_rng(1).random((count, 7, 6)) < np.linspace(0.1, 0.9, count)[:, None, None]


def test_a_place_is_known_when_all_of_its_pixels_are_kept():
    keep = np.zeros((3, 1, 7, 6), bool)
    keep[0, 0, :4] = True
    keep[0, 0, 1, 2] = False
    keep[1, 0, 5:] = True  # the last row of places has one row of pixels
    found = known_places(keep, (4, 3))
    assert found.shape == (3, 1, 4, 3)
    assert found[0, 0].tolist() == [[True, False, True], [True] * 3, [False] * 3, [False] * 3]
    assert found[1, 0].tolist() == [[False] * 3, [False] * 3, [False] * 3, [True] * 3]
    assert not found[2].any()
    assert known_places(np.ones((1, 1, 5, 9), bool), (2, 3)).all()


def test_given_places_of_z1_stay_and_the_others_are_drawn_given_them(model):
    eps = latents.prior_noise(model.networks, 0, range(3))
    known = np.where(np.arange(4)[:, None] == [1, 3, 2], 3.0, np.nan).astype(np.float32)
    known = np.ascontiguousarray(np.broadcast_to(known, eps[0].shape))
    z1 = model.networks.draw_z1(eps, known=known)
    assert (z1[~np.isnan(known)] == 3.0).all()
    prior = model.networks.priors([z1, eps[1]])[0]  # of each place given all before it
    np.testing.assert_allclose(z1[np.isnan(known)], prior.sample(eps[0])[np.isnan(known)], rtol=1e-4, atol=1e-5)
    assert not np.allclose(z1[np.isnan(known)], model.networks.draw_z1(eps)[np.isnan(known)])


def test_known_places_and_z2_come_from_the_posterior_of_the_filled_image(model, monkeypatch):
    images, seen = random_images(model, 3), []
    keep = np.broadcast_to(half(), (3, 1, 7, 6))
    q = model.networks.posteriors(fill(images, keep, 4))
    posterior = latents.posterior_draws(model.networks, q, 5, range(3))
    draw = networks.Networks.draw_z1

    def noted(self, noise, *rest):
        seen.append(noise[1])
        return draw(self, noise, *rest)

    monkeypatch.setattr(networks.Networks, "draw_z1", noted)
    z1 = completed_z1(model.networks, images, keep, range(3), 4, 5)
    assert np.array_equal(z1[:, :, :2], posterior[0][:, :, :2])
    assert not np.isclose(z1[:, :, 2:], posterior[0][:, :, 2:]).any()
    assert np.array_equal(seen[0], posterior[1].repeat(4, 0))


def test_what_is_hidden_has_no_influence(model):
    images = random_images(model, 9)
    keep = masks(9)
    found = model.complete(images, keep, seed=2)
    assert np.array_equal(np.where(keep[:, None], found, 0), np.where(keep[:, None], images, 0))
    hidden = np.where(keep[:, None], images, 3 - images).astype(np.uint8)
    assert np.array_equal(model.complete(hidden, keep, seed=2), found)


def test_a_completion_depends_on_the_image_its_mask_the_seed_and_its_index(model, monkeypatch):
    images, keep = random_images(model, 9), masks(9)
    images[5], keep[5] = images[1], keep[1]  # a copy is a draw of its own
    found = model.complete(images, keep, seed=2)
    assert not np.array_equal(found[5], found[1])
    assert np.array_equal(model.complete(images[:4], keep[:4], seed=2), found[:4])
    others = images.copy()
    others[:8] = images[7::-1]
    other_masks = np.concatenate([keep[7::-1], keep[8:]])
    assert np.array_equal(model.complete(others, other_masks, seed=2)[8], found[8])
    monkeypatch.setitem(runtime.SAMPLE_BATCH, CPU, 2)
    monkeypatch.setattr(completion, "MAP_CANDIDATES", 4)
    steps = []
    assert np.array_equal(model.complete(images, keep, seed=2, progress=lambda *at: steps.append(at)), found)
    assert [done for done, _ in steps] == list(range(1, steps[-1][1] + 1))
    assert not np.array_equal(model.complete(images, keep, seed=3), found)


def test_more_threads_draw_the_same(levels, model):
    images, keep = random_images(model, 9), masks(9)
    assert np.array_equal(Model(levels.bundle, "cpu", 3).complete(images, keep), model.complete(images, keep))


@pytest.mark.parametrize("kept", [0, 1, 41, 42])
def test_masks_of_nearly_all_or_nothing(model, kept):
    images, keep = random_images(model, 2), np.arange(42).reshape(7, 6) < kept
    found = model.complete(images, keep)
    assert np.array_equal(found[:, :, keep], images[:, :, keep])
    if kept == 0:  # nothing is known: the noise of the prior draws what `sample` draws
        assert np.array_equal(model.complete(images, keep, candidates=1), model.sample(2))


def test_the_candidate_that_explains_the_kept_pixels_is_picked(model, monkeypatch):
    images, keep = random_images(model, 40), np.broadcast_to(half(), (40, 1, 7, 6))

    def first_value(self, images, z1, check):
        """A likelihood that wants a large value at a place that is drawn."""
        return np.broadcast_to(3.0 * z1[:, :1, 3:, 2:], images.shape).astype(np.float32)

    one = completed_z1(model.networks, images, keep, range(40), 1, 0)
    monkeypatch.setattr(networks.Networks, "log_prob", first_value)
    picked = completed_z1(model.networks, images, keep, range(40), 8, 0)
    eps = latents.prior_noise(model.networks, 0, range(40), 8)[0].reshape(40, 8, *picked.shape[1:])
    assert picked[:, 0, 3, 2].mean() > one[:, 0, 3, 2].mean() + 0.3 * eps[:, :, 0, 3, 2].std()


def test_known_places_after_the_drawn_ones_weigh_the_candidates(model, monkeypatch):
    """Importance weights: with no likelihood, the frequencies are those of p(z1 of free places|known, z2)."""
    keep = np.zeros((1, 1, 7, 6), bool)
    keep[:, :, 2:] = True
    monkeypatch.setattr(
        networks.Networks, "log_prob", lambda self, images, z1, check: np.zeros(images.shape, np.float32)
    )
    images = random_images(model, 1)
    draws = {}
    choose = completion._picked

    def noted(log_weights, seed, index):
        draws["weights"] = log_weights
        return choose(log_weights, seed, index)

    monkeypatch.setattr(completion, "_picked", noted)
    completed_z1(model.networks, images, keep, [0], 6, 0)
    q = model.networks.posteriors(fill(images, keep, 4))
    z1, z2 = (z.repeat(6, 0) for z in latents.posterior_draws(model.networks, q, 0, [0]))
    free = latents.prior_noise(model.networks, 0, [0], 6)[0]
    known = z1.copy()
    known[:, :, :1] = np.nan
    drawn = model.networks.draw_z1([free, z2], known=known)
    prior = model.networks.priors([drawn, z2])[0]
    place = (drawn - prior.mean) / np.exp(prior.log_std)
    expected = (-0.5 * place**2 - prior.log_std)[:, :, 1:].reshape(6, -1).sum(1)
    assert np.ptp(expected) > 1e-3
    np.testing.assert_allclose(draws["weights"] - draws["weights"][0], expected - expected[0], rtol=1e-3, atol=1e-4)
