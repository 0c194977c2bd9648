import pytest
import torch

from pvae_zoo.models.decoder import Decoder

CASES = {
    "gates": {"conditioning": "gates"},
    "upsampled vector": {"conditioning": "upsample"},
    "upsampled map": {"conditioning": "upsample", "kind": "map"},
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def architecture(request, make_architecture):
    """7 x 5 pixels; z on or grown from 4 x 3 or, two stages down, 2 x 2."""
    return make_architecture((3, 7, 5, 4), stage=2, widths=(4, 6), latents=3, **request.param)


def random_case(architecture):
    decoder = Decoder(architecture).double().eval()
    decoder.pixelcnn.embedding.register_forward_hook(lambda module, inputs, output: output.double())
    x = torch.randint(4, (1, *architecture.image.chw))
    return decoder, x, torch.randn(1, *architecture.latent_shapes[0], dtype=torch.float64)


def test_a_context_is_one_pixel_or_the_whole_image(architecture):
    decoder, _, z = random_case(architecture)
    context = decoder.context(z.expand(4, *z.shape[1:]))
    size = (1, 1) if architecture.decoder.conditioning == "gates" else (7, 5)
    assert context.shape == (4, decoder.pixelcnn.context_channels, *size)


def test_every_latent_reaches_the_logits_and_every_pixel_hears_of_z(architecture):
    decoder, x, z = random_case(architecture)
    logits = decoder(x, z).unflatten(1, (3, 4))
    reached = torch.zeros(3, 7, 5, dtype=torch.bool)
    for index in range(z.numel()):
        moved = z.clone()
        moved.view(-1)[index] += 0.1
        changed = (decoder(x, moved).unflatten(1, (3, 4)) != logits)[0].any(1)
        assert changed.any()
        reached |= changed
    assert reached.all()


def test_a_vector_reaches_every_pixel_in_each_dimension(make_architecture):
    for conditioning in ("gates", "upsample"):
        decoder, x, z = random_case(make_architecture((1, 7, 5, 4), conditioning, stage=2, widths=(4, 6)))
        for step in torch.eye(2, dtype=torch.float64):
            changed = (decoder(x, z + 0.1 * step) != decoder(x, z)).any(1)
            assert changed.all()


def test_no_value_reaches_its_own_logits_or_earlier_ones(architecture):
    decoder, x, z = random_case(architecture)
    raster = [(c, i, j) for i in range(7) for j in range(5) for c in range(3)]
    before, rows = decoder(x, z), []
    for c, i, j in raster:
        changed = x.clone()
        changed[0, c, i, j] = (changed[0, c, i, j] + 1) % 4
        rows.append((decoder(changed, z) != before).unflatten(1, (3, 4)).any(2)[0].movedim(0, -1).flatten())
    reached = torch.stack(rows)
    assert not reached.tril().any()
    assert reached.any(1)[:-1].all()


@pytest.mark.parametrize(("side", "stages", "sizes"), [(28, 3, [4, 7, 14, 28]), (7, 1, [4, 7]), (9, 3, [2, 3, 5, 9])])
def test_upsampling_meets_odd_sizes(make_architecture, side, stages, sizes):
    architecture = make_architecture((1, side, side, 2), "upsample", stage=stages, widths=(4,) * stages)
    context = Decoder(architecture).context
    seen = []
    for refine in context.refine:
        refine.register_forward_hook(lambda module, inputs, output: seen.append(tuple(output.shape[2:])))
    context(torch.randn(1, 2))
    assert seen == [(size, size) for size in sizes]
