import hashlib
import math

import numpy as np
import pytest

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.runtime import noise

MASK = 2**64 - 1


def philox(counter, key):
    """One block of Philox4x64-10, four words, from the paper."""
    (k0, k1), (c0, c1, c2, c3) = key, counter
    for _ in range(10):
        first, second = 0xD2E7470EE14C6C93 * c0, 0xCA5A826395121157 * c2
        c0, c1, c2, c3 = second >> 64 ^ c1 ^ k0, second & MASK, first >> 64 ^ c3 ^ k1, first & MASK
        k0, k1 = k0 + 0x9E3779B97F4A7C15 & MASK, k1 + 0xBB67AE8584CAA73B & MASK
    return [c0, c1, c2, c3]


def words(seed, image, stage, count):
    """The stream that noise.py documents: block b, from 1, is the block of counter (b, 0, stage, 0)."""
    blocks = [philox((b, 0, stage, 0), (seed, image)) for b in range(1, count // 4 + 2)]
    return [word for block in blocks for word in block][:count]


def test_philox_gives_the_known_answers_of_its_authors():
    zero = [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B]
    assert philox((0, 0, 0, 0), (0, 0)) == zero


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1])
@pytest.mark.parametrize("image", [0, 5, 2**40, 2**63, MASK])
@pytest.mark.parametrize("stage", [noise.PIXELS, 1, noise.POSTERIOR + 1, noise.RESAMPLING])
def test_noise_can_be_computed_from_its_description(seed, image, stage):
    raw = words(seed, image, stage, 10)
    assert noise.uniforms(seed, [image], stage, 10)[0].tolist() == [(word >> 40) / 2**24 for word in raw]
    u = [(word >> 11) / 2**53 for word in raw]
    expected = []
    for first, second in zip(u[0::2], u[1::2], strict=True):
        radius, angle = math.sqrt(-2 * math.log1p(-first)), 2 * math.pi * second
        expected += [radius * math.cos(angle), radius * math.sin(angle)]
    np.testing.assert_allclose(noise.normals(seed, [image], stage, 10)[0], expected, rtol=1e-6)


@pytest.mark.parametrize("draw", [noise.uniforms, noise.normals])
def test_more_numbers_continue_the_same_stream(draw):
    longest = draw(3, [8], 1, 101)
    assert longest.dtype == np.float32 and longest.shape == (1, 101)
    for count in (1, 2, 3, 100):
        assert np.array_equal(draw(3, [8], 1, count), longest[:, :count])


@pytest.mark.parametrize("draw", [noise.uniforms, noise.normals])
def test_an_images_noise_depends_on_no_other_image(draw):
    together = draw(3, [4, 9, 4, 0], 1, 7)
    for row, image in zip(together, [4, 9, 4, 0], strict=True):
        assert np.array_equal(row, draw(3, [image], 1, 7)[0])


@pytest.mark.parametrize("draw", [noise.uniforms, noise.normals])
def test_seeds_images_and_stages_have_streams_of_their_own(draw):
    keys = [(seed, image, stage) for seed in (0, 1, 2) for image in (0, 1, 2) for stage in (0, 1, 1025, 2048)]
    rows = np.concatenate([draw(seed, [image], stage, 256) for seed, image, stage in keys]).astype(np.float64)
    assert len(np.unique(rows)) > 0.999 * rows.size
    correlation = np.corrcoef(rows) - np.eye(len(rows))
    assert np.abs(correlation).max() < 0.35


def kolmogorov(values, cdf):
    """sqrt(n) times the largest gap to the distribution; above 2.3 once in 20,000."""
    ordered = cdf(np.sort(values.ravel().astype(np.float64)))
    steps = np.arange(ordered.size + 1) / ordered.size
    return math.sqrt(ordered.size) * max(np.abs(ordered - steps[1:]).max(), np.abs(ordered - steps[:-1]).max())


def test_uniforms_are_multiples_of_two_to_the_minus_24_below_one():
    u = noise.uniforms(0, range(100), noise.PIXELS, 1000)
    assert u.min() >= 0 and u.max() < 1
    assert np.array_equal(u * 2**24, np.round(u * 2**24))
    assert kolmogorov(u, lambda values: values) < 2.3


def test_normals_are_standard():
    z = noise.normals(0, range(100), 1, 1000).astype(np.float64)
    assert abs(z.mean()) < 4 / z.size**0.5
    assert abs(z.var() - 1) < 4 * (2 / z.size) ** 0.5
    assert abs((z[:, 0::2] * z[:, 1::2]).mean()) < 4 / (z.size / 2) ** 0.5
    assert kolmogorov(z, np.vectorize(lambda value: 0.5 * math.erfc(-value / math.sqrt(2)))) < 2.3


def test_every_word_makes_a_finite_normal(monkeypatch):
    extremes = np.array([0, 0, MASK, MASK, 0, MASK], np.uint64)
    monkeypatch.setattr(noise, "_words", lambda seed, image, stage, count: extremes)
    z = noise.normals(0, [0], 1, 6)
    assert np.isfinite(z).all() and np.abs(z).max() < 9
    assert noise.uniforms(0, [0], 0, 6).max() == 1 - 2**-24


def test_the_number_of_an_image_is_the_start_of_the_hash_of_its_values():
    image = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    known = int.from_bytes(hashlib.sha256(bytes(range(24))).digest()[:8], "little")
    assert noise.content_key(image) == known
    assert noise.content_key(np.asfortranarray(image)) == known  # the values, not how they lie in memory
    changed = image.copy()
    changed[1, 2, 3] ^= 1
    assert noise.content_key(changed) != known


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_out_of_range_is_refused(seed):
    with pytest.raises(PvaeZooError, match=rf"seed {seed} is out of range: choose one from 0 to 2\^63 - 1"):
        noise.check_seed(seed)


def test_seeds_in_range_pass():
    assert [noise.check_seed(seed) for seed in (0, 7, 2**63 - 1)] == [0, 7, 2**63 - 1]
