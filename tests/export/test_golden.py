import numpy as np
import pytest
import torch

from pvae_zoo.checks.verification import GOLDEN_ROWS, golden_gap, golden_rows, with_contexts
from pvae_zoo.contract.folder import GOLDEN
from pvae_zoo.export.bundle import make_plain, model_of
from pvae_zoo.export.golden import COUNT, SEED, golden_vectors
from pvae_zoo.export.reference import fixed_point_sample, naive_sample, share_drawn_otherwise
from pvae_zoo.models.likelihood import pixel_log_prob
from pvae_zoo.runtime import noise
from pvae_zoo.runtime.model import Model


@pytest.fixture
def golden(tiny):
    with np.load(tiny.bundle.folder / GOLDEN, allow_pickle=False) as stored:
        return dict(stored)


def test_golden_vectors_are_written_as_they_are_computed(tiny, golden):
    model = model_of(tiny.checkpoint)
    make_plain(model)
    vectors = golden_vectors(model)
    assert golden.keys() == vectors.keys()
    for name, value in vectors.items():
        assert golden[name].dtype == value.dtype and np.array_equal(golden[name], value), name


def test_the_runtime_draws_the_golden_images_from_their_seed(tiny, golden):
    image = tiny.bundle.config.image
    assert np.array_equal(Model(tiny.bundle, "cpu", 1).sample(COUNT, seed=SEED), golden["image"])
    # From the seed's uniforms, and from those in the golden vectors that draw the same.
    u = noise.uniforms(SEED, range(COUNT), noise.PIXELS, image.dimensions).reshape(COUNT, *image.chw)
    z1 = torch.from_numpy(golden["z1"])
    for uniforms in (u, golden["uniforms"]):
        assert np.array_equal(fixed_point_sample(tiny.model, z1, uniforms), golden["image"])
    for level, shape in enumerate((latent.shape for latent in tiny.bundle.config.latents), start=1):
        drawn = noise.normals(SEED, range(COUNT), level, int(np.prod(shape))).reshape(COUNT, *shape)
        assert np.array_equal(golden["z1_noise" if level == 1 else "z2"], drawn)


def test_images_of_a_fast_sampler_are_taken_if_pytorch_draws_them_and_no_others(tiny, golden):
    model, calls = model_of(tiny.checkpoint), []
    make_plain(model)

    def rolled(z1, uniforms):
        calls.append(1)
        return np.roll(golden["image"], 1, axis=3)

    z1, u = torch.from_numpy(golden["z1"]), golden["uniforms"]
    image, wrong = torch.from_numpy(golden["image"]), torch.from_numpy(rolled(z1, u))
    assert share_drawn_otherwise(model, z1, u, image) == 0 < 0.01 < share_drawn_otherwise(model, z1, u, wrong)
    for draw in (lambda z1, uniforms: golden["image"], rolled, None):
        assert np.array_equal(golden_vectors(model, draw)["image"], golden["image"])
    assert len(calls) == 2


ONE_LEVEL = [
    ("prior", {"z1_noise": "z1_noise"}, {"z1": "z1"}),
    ("encoder", {"image": "image"}, {"z1_mean": "z1_mean", "z1_log_std": "z1_log_std"}),
]
TWO_LEVELS = [
    ("prior_context", {"z2": "z2"}, {"context": "prior_context"}),
    ("prior", {"z1": "z1", "context": "prior_context"}, {"prior_mean": "prior_mean", "prior_log_std": "prior_log_std"}),
    ("encoder", {"image": "image"}, {f"z{n}_{part}": f"z{n}_{part}" for n in (1, 2) for part in ("mean", "log_std")}),
]
DECODER = [
    ("decoder_context", {"z1": "z1"}, {"context": "context"}),
    ("decoder", {"image": "image", "context": "context"}, {"log_prob": "log_prob"}),
]


def test_every_graph_maps_golden_inputs_to_golden_outputs(tiny, golden):
    networks = Model(tiny.bundle, "cpu", 1).networks
    whole = with_contexts(tiny.bundle, golden, networks.session)
    for role, inputs, outputs in (ONE_LEVEL if networks.levels == 1 else TWO_LEVELS) + DECODER:
        found = networks.session(role).run(list(outputs), {name: whole[key] for name, key in inputs.items()})
        for (name, key), value in zip(outputs.items(), found, strict=True):
            kept = golden_rows(value, golden[key].shape[1]) if name == "context" else value
            np.testing.assert_allclose(kept, golden[key], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("rows", "kept"), [(1, 1), (12, 12), (32, 32), (63, 32), (784, 32), (4096, 32)])
def test_of_a_context_so_many_rows_are_kept_spread_over_the_grid(rows, kept):
    context = np.arange(2 * rows * 3, dtype=np.float32).reshape(2, rows, 3)
    found = golden_rows(context, GOLDEN_ROWS).copy()
    chosen = found[0, :, 0].astype(int) // 3
    assert found.shape == (2, kept, 3) and chosen[0] == 0 and set(np.diff(chosen)) <= {rows // kept, rows // kept + 1}
    assert golden_gap("context", context, found) == 0 and golden_gap("context", context, context) == 0
    found[1, kept // 2] += 100
    assert golden_gap("context", context, found) > 1e-3
    assert golden_gap("context", context, np.concatenate([context, context], axis=1)) == np.inf


def test_the_tiny_models_keep_some_rows_of_a_context_and_all(upsample, gates):
    for tiny, kept, rows in ((upsample, 32, 63), (gates, 1, 1)):
        with np.load(tiny.bundle.folder / GOLDEN, allow_pickle=False) as stored:
            assert stored["context"].shape[1] == kept
        assert tiny.bundle.config.steps["decoder_step"].context.rows == rows


def test_golden_uniforms_are_far_from_where_rounding_decides(tiny, golden):
    z1, margin = torch.from_numpy(golden["z1"]), 0.4 * np.exp(golden["log_prob"].astype(np.float64))
    for sign in (-1, 1):
        moved = (golden["uniforms"] + sign * margin).astype(np.float32)
        assert np.array_equal(fixed_point_sample(tiny.model, z1, moved), golden["image"])


@torch.no_grad()
def test_naive_sampling_is_inverse_cdf_sampling_of_the_models_conditionals(tiny, golden):
    """Each uniform lies between the cumulative probabilities before and after the value that it picked."""
    image = tiny.bundle.config.image
    x, z1, u = torch.from_numpy(golden["image"]), torch.from_numpy(golden["z1"]), torch.from_numpy(golden["uniforms"])
    assert np.array_equal(naive_sample(tiny.model, z1, golden["uniforms"]), golden["image"])
    assert np.array_equal(fixed_point_sample(tiny.model, z1, golden["uniforms"]), golden["image"])
    logits = tiny.model.decoder(x, z1)
    probabilities = [
        pixel_log_prob(logits, torch.full_like(x, value), image).double().exp() for value in range(image.levels)
    ]
    # A binary pixel is 1 where its uniform is below p(1): the order of its values is 1, 0.
    order = [1, 0] if image.levels == 2 else range(image.levels)
    cumulative = torch.stack([torch.zeros_like(probabilities[0]), *(probabilities[v] for v in order)]).cumsum(0)
    rank = (1 - x if image.levels == 2 else x).long()[None]
    assert (cumulative.gather(0, rank)[0] <= u + 1e-6).all()
    assert (u < cumulative.gather(0, rank + 1)[0] + 1e-6).all()
