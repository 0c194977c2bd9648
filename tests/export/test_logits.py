import numpy as np
import pytest
import torch

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.export.logits import cosines_of, plain_layer, settled, weights_of
from pvae_zoo.models.pixelcnn import SmoothLogits, cosine_basis

SIZES = [(3, 256), (1, 256), (3, 4), (1, 5), (3, 3)]


def image_of(channels, levels):
    return ImageShape(channels=channels, height=4, width=4, levels=levels)


def random_cosines(image, scale, columns=12):
    random = np.random.default_rng(0)
    return (scale * random.normal(size=(image.channels * (image.levels - 1), columns))).astype(np.float32)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("scale", [1e-30, 0.01, 1.0, 300.0])
def test_cosines_are_read_back_to_the_bit_and_hardly_moved(sizes, scale):
    image = image_of(*sizes)
    cosines = random_cosines(image, scale)
    kept = settled(cosines, image)
    found = cosines_of(weights_of(kept, image), image)
    assert found.tobytes() == kept.tobytes()
    assert settled(kept, image).tobytes() == kept.tobytes()
    assert np.abs(kept - cosines).max() < 2**-20 * np.abs(cosines).max()


def test_the_largest_cosine_may_be_a_power_of_two():
    image = image_of(3, 256)
    for largest in (1.0, np.nextafter(np.float32(1), np.float32(0)), np.nextafter(np.float32(1), np.float32(2))):
        cosines = np.clip(random_cosines(image, 0.2), -0.9, 0.9)
        cosines[5, 3] = largest
        kept = settled(cosines, image)
        assert cosines_of(weights_of(kept, image), image).tobytes() == kept.tobytes()


def test_what_float16_holds_stays_so():
    image = image_of(3, 256)
    cosines = random_cosines(image, 0.5).astype(np.float16)
    cosines[::2] /= np.float16(4096)  # subnormal ones too
    kept = settled(cosines.astype(np.float32), image)
    assert np.array_equal(kept.astype(np.float16).astype(np.float32), kept)
    large = np.abs(cosines) > 0.01
    assert large.sum() > 1000 and np.array_equal(kept[large], cosines[large].astype(np.float32))


def test_weights_are_exact_whatever_the_order_of_the_sums():
    image = image_of(3, 256)
    kept = settled(random_cosines(image, 1.0), image)
    basis = cosine_basis(256).double().numpy()
    backwards = basis[:, ::-1].copy() @ kept.astype(np.float64).reshape(3, 255, -1)[:, ::-1]
    assert backwards.reshape(768, -1).astype(np.float32).tobytes() == weights_of(kept, image).tobytes()


def test_weights_that_no_cosines_give_have_none():
    image = image_of(3, 4)
    weights = weights_of(settled(random_cosines(image, 1.0), image), image)
    assert cosines_of(weights + np.float32(0.1), image) is None  # the same to all logits
    assert cosines_of(np.zeros_like(weights), image) is not None


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_of_a_run_that_diverged_are_refused(value):
    image = image_of(3, 4)
    with pytest.raises(PvaeZooError, match="weights of the logits are not finite: the run diverged"):
        settled(np.full((9, 2), value, np.float32), image)


@torch.no_grad()
def test_the_plain_layer_gives_the_logits_of_the_cosines():
    image = image_of(3, 256)
    layer, x = SmoothLogits(12, image), torch.randn(2, 12, 3, 3)
    layer.bias.normal_()
    state = torch.get_rng_state()
    plain = plain_layer(layer)
    assert torch.equal(state, torch.get_rng_state())
    assert plain.macs == layer.macs and plain.weight.shape == (768, 12, 1, 1)
    torch.testing.assert_close(plain(x), layer(x), rtol=1e-5, atol=1e-5)
