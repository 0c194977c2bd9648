import pytest
import torch

from pvae_zoo.contract.architecture import ImageShape, PixelCNNConfig
from pvae_zoo.models.pixelcnn import PixelCNN, PixelEmbedding, SmoothLogits, cosine_basis, scale_values

BINARY = ImageShape(channels=1, height=5, width=6, levels=2)
GREY = ImageShape(channels=1, height=5, width=6, levels=4)
COLOUR = ImageShape(channels=3, height=4, width=5, levels=4)
CONFIGS = {
    "small reach": PixelCNNConfig(channels=6, layers=1, input_rows=2, rows=1, reach=1, head=6),
    "wide reach": PixelCNNConfig(channels=6, layers=2, input_rows=1, rows=2, reach=2, head=6, embedding=2),
    "no gated layer": PixelCNNConfig(channels=6, layers=0, input_rows=1, rows=1, reach=1, head=3),
}


def random_case(image, config, condition_gates):
    """A float64 network, an image and a context: one for all pixels into the gates, or a map."""
    net = PixelCNN(image, config, condition_gates=condition_gates).double().eval()
    net.embedding.register_forward_hook(lambda module, inputs, output: output.double())
    size = (1, 1) if condition_gates else (image.height, image.width)
    context = torch.randn(1, net.context_channels, *size, dtype=torch.float64)
    return net, torch.randint(image.levels, (1, *image.chw)), context


def influence(net, x, context, image):
    """Which value reaches which logits: bool ``(C, H, W, C, H, W)``, from every value changed by itself.

    One image a pass: a vectorised function may round the end of a batch differently from its middle.
    """
    before, rows = net(x, context), []
    for index in range(image.dimensions):
        changed = x.clone()
        changed.view(-1)[index] = (changed.view(-1)[index] + 1) % image.levels
        rows.append((net(changed, context) != before).unflatten(1, (image.channels, -1)).any(2))
    return torch.cat(rows).view(*image.chw, *image.chw)


def allowed(image, config):
    """The same, walked from the definition: what each layer reads, from the logits back to the image."""
    channels, height, width = image.chw
    cells = [(c, y, x) for c in range(channels) for y in range(height) for x in range(width)]

    def read(cell, rows, own):
        _, y, x = cell
        above = {(i, j) for i in range(y - rows, y) for j in range(x - config.reach, x + config.reach + 1)}
        seen = above | {(y, j) for j in range(x - config.reach, x)}
        inside = {(i, j) for i, j in seen if 0 <= i < height and 0 <= j < width}
        return {(d, i, j) for d in range(channels) for i, j in inside} | {(d, y, x) for d in range(own)}

    reach = {cell: read(cell, config.input_rows, own=cell[0]) for cell in cells}
    for _ in range(config.layers):
        reach = {cell: set().union(*(reach[r] for r in read(cell, config.rows, own=cell[0] + 1))) for cell in cells}
    result = torch.zeros(*image.chw, *image.chw, dtype=torch.bool)
    for cell, sources in reach.items():
        for source in sources:
            result[source + cell] = True
    return result


@pytest.mark.parametrize("image", [BINARY, GREY, COLOUR], ids=["binary", "grey", "colour"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
@pytest.mark.parametrize("condition_gates", [True, False], ids=["gates", "map"])
def test_a_value_reaches_exactly_the_logits_that_it_may(image, config, condition_gates):
    case = random_case(image, config, condition_gates)
    assert influence(*case, image).equal(allowed(image, config))


@pytest.mark.parametrize("condition_gates", [True, False], ids=["gates", "map"])
def test_no_value_reaches_its_own_logits_or_earlier_ones(condition_gates):
    reached = influence(*random_case(COLOUR, CONFIGS["wide reach"], condition_gates), COLOUR)
    raster = reached.permute(1, 2, 0, 4, 5, 3).reshape(COLOUR.dimensions, COLOUR.dimensions)
    assert not raster.tril().any()


def test_inside_a_pixel_red_reaches_green_and_both_reach_blue():
    reached = influence(*random_case(COLOUR, CONFIGS["small reach"], True), COLOUR)
    for y in range(COLOUR.height):
        for x in range(COLOUR.width):
            assert reached[:, y, x, :, y, x].equal(torch.ones(3, 3, dtype=torch.bool).triu(1))


def test_deep_networks_see_everything_but_the_blind_spot():
    config = PixelCNNConfig(channels=4, layers=6, input_rows=1, rows=1, reach=1, head=4)
    reached = influence(*random_case(GREY, config, True), GREY)[0, :, :, 0]
    for y, x, i, j in torch.cartesian_prod(*(torch.arange(n) for n in (5, 6, 5, 6))).tolist():
        assert reached[y, x, i, j] == (x - j <= i - y if y < i else y == i and x < j)


def test_the_context_reaches_the_input_and_each_gate():
    net, x, context = random_case(GREY, CONFIGS["wide reach"], True)
    assert net.context_channels == 6 + 2 * 12
    context.requires_grad_()
    (gradient,) = torch.autograd.grad(net(x, context).square().sum(), context)
    assert (gradient != 0).all()
    assert random_case(GREY, CONFIGS["wide reach"], False)[0].context_channels == 6


def test_dropout_acts_in_training_only():
    config = PixelCNNConfig(channels=6, layers=2, head=6, dropout=0.5)
    net, x, context = random_case(GREY, config, True)
    assert net(x, context).equal(net(x, context))
    net.train()
    assert not net(x, context).equal(net(x, context))


def test_dropout_keeps_the_mean():
    config = PixelCNNConfig(channels=6, layers=1, head=6, dropout=0.5)
    net, _, context = random_case(GREY, config, True)
    layer, h = net.layers[0], torch.randn(1, 6, 2, 2, dtype=torch.float64)
    expected = layer(h, context[:, 6:])
    layer.train()
    draws = layer(h.expand(5000, -1, -1, -1), context[:, 6:])
    error = (draws.mean(0) - expected[0]).abs()
    assert (error < 5 * draws.std(0) / 5000**0.5).all()


def test_logits_of_hundreds_are_not_rounded_to_bf16():
    net = PixelCNN(COLOUR, CONFIGS["wide reach"], condition_gates=True).eval()
    x, context = torch.randint(4, (2, *COLOUR.chw)), torch.randn(2, net.context_channels, 1, 1)
    with torch.no_grad():
        net.output.weight.mul_(1000)
        exact = net(x, context)
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(x, context)
    assert logits.dtype == torch.float32 and logits.abs().max() > 256
    assert (logits.bfloat16() != logits).float().mean() > 0.9
    assert (logits - exact).abs().max() < 0.02 * exact.abs().max()  # everything before them is


def test_values_are_scaled_to_plus_minus_one():
    values = torch.arange(4, dtype=torch.uint8)
    assert scale_values(values, GREY).tolist() == pytest.approx([-1, -1 / 3, 1 / 3, 1])
    assert scale_values(values[:2], BINARY).tolist() == [-1, 1]


def test_an_embedding_is_group_major_and_looks_up_its_own_channel():
    embedding = PixelEmbedding(COLOUR, 2)
    x = torch.randint(4, (2, *COLOUR.chw))
    output = embedding(x).unflatten(1, (3, 3))
    assert output[:, :, 0].equal(scale_values(x, COLOUR))
    for c in range(3):
        assert output[:, c, 1:].movedim(1, -1).equal(embedding.table[c][x[:, c]])


def test_the_cosines_of_a_softmax_are_all_that_it_can_see_and_slow_ones_are_large():
    basis = cosine_basis(256).double()
    assert basis.shape == (256, 255) and torch.linalg.matrix_rank(basis) == 255
    assert (basis.sum(0).abs() < 1e-5).all()  # no part of them adds the same to all logits
    sizes = basis.square().sum(0)
    assert (sizes.diff() < 0).all()
    constant = sizes[0] * 2 * (1 + 1 / 16) ** 2 / 256  # what frequency 0 would add to every logit's square
    assert basis.square().sum(1).mean() + constant == pytest.approx(1, abs=1e-5)
    assert basis.square().sum(1).mean().sqrt() == pytest.approx(0.94, abs=5e-3)
    smooth = basis[:, :8] @ torch.randn(8, dtype=torch.float64)
    assert smooth.diff().abs().max() < 0.1 * smooth.abs().max()


@pytest.mark.parametrize("levels", [3, 4, 5, 256])
def test_cosines_are_whole_multiples_of_a_power_of_two(levels):
    units = cosine_basis(levels).double() * 2**24
    assert units.equal(units.round()) and units.abs().max() <= 2**24


def test_no_weight_adds_the_same_to_all_logits_and_every_distribution_can_be_had():
    layer = SmoothLogits(6, COLOUR)
    assert layer.weight.shape[0] == layer.bias.shape[0] == 3 * 3
    torch.nn.init.normal_(layer.bias)
    by_channel = layer.total_bias.view(3, 4), layer.masked_weight.view(3, 4, 6)
    assert all(weights.mean(1).abs().max() < 1e-6 < weights.abs().max() for weights in by_channel)
    wanted = torch.tensor([0.5, 0.01, 0.09, 0.4]).log()
    with torch.no_grad():
        layer.bias[:3] = torch.linalg.lstsq(layer.basis, (wanted - wanted.mean())[:, None]).solution[:, 0]
    torch.testing.assert_close(layer.total_bias[:4].softmax(0), wanted.exp())


def test_the_logits_of_a_softmax_layer_are_those_of_a_plain_layer_with_its_exported_weights():
    layer, x = SmoothLogits(6, COLOUR), torch.randn(2, 6, 3, 3)
    torch.nn.init.normal_(layer.bias)
    plain = torch.nn.functional.conv2d(x, layer.masked_weight, layer.total_bias)
    torch.testing.assert_close(layer(x), plain)
    for c in range(3):  # a channel's logits see its own group and those before it
        seen = layer.masked_weight[4 * c : 4 * (c + 1), :, 0, 0].abs().sum(0) > 0
        assert seen.tolist() == [True] * (2 * (c + 1)) + [False] * (2 * (2 - c))
