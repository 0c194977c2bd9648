"""All pixels at once on a GPU: the images of the CPU, in captured passes. These need a GPU."""

import numpy as np
import pytest

import pvae_zoo

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("name", ["mnist", "mnist-upsample"])
def test_a_fixed_point_on_cuda_is_the_image_of_the_cpu(name):
    on_cpu, on_cuda = pvae_zoo.load(name, device="cpu"), pvae_zoo.load(name, device="cuda")
    expected = on_cpu.sample(16, seed=5)
    # Where a uniform stands within rounding of a threshold, a pixel falls to the other side, and the rest follows it.
    same = (on_cuda.sample(16, seed=5, order="fixed-point") == expected).all(axis=(1, 2, 3))
    assert same.mean() >= 14 / 16


def test_passes_are_captured_and_buffers_kept_for_the_next_batch_of_their_size():
    model = pvae_zoo.load("mnist", device="cuda")
    first = model.sample(16, seed=1, order="fixed-point")
    sampler = model.networks.fixed_point_sampler
    assert sampler.graphs, "the session did not open with CUDA graphs: a node is not CUDA's own"
    kept = dict(sampler._kept)
    assert 16 in kept and all(value.device_name() == "cuda" for value in kept[16]._images)
    other, again = model.sample(16, seed=2, order="fixed-point"), model.sample(16, seed=1, order="fixed-point")
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert all(sampler._kept[rows] is passes for rows, passes in kept.items())


def test_given_values_are_kept_on_the_device():
    on_cpu, model = pvae_zoo.load("mnist", device="cpu"), pvae_zoo.load("mnist", device="cuda")
    images, keep = on_cpu.sample(4, seed=3), np.arange(28)[:, None].repeat(28, 1) < 14
    z1 = model.encode(images)[0].mean
    given = np.where(keep, images.astype(np.int64), -1)
    uniforms = np.full(images.shape, 0.5, np.float32)
    drawn = model.networks.draw_images(z1, uniforms, given, 1.0, order="fixed-point")
    assert np.array_equal(drawn[:, :, keep], images[:, :, keep])
    expected = on_cpu.networks.draw_images(z1, uniforms, given, 1.0, order="wavefront")
    assert (drawn == expected).all(axis=(1, 2, 3)).mean() >= 3 / 4
