import pytest
import torch

from pvae_zoo.models.masked_conv import POINT, MaskedConv2d, Window, channel_mask

GROUPS = {1: [0, 0, 0, 0], 2: [0, 0, 1, 1]}


def jacobian_at(conv, y, x, size=9):
    """Derivatives of the outputs at one pixel, ``(out_channels, in_channels, size, size)``."""
    image = torch.randn(1, conv.weight.shape[1], size, size, dtype=torch.float64)
    return torch.autograd.functional.jacobian(lambda i: conv(i)[0, :, y, x], image)[:, 0]


@pytest.mark.parametrize("window", [Window(rows=1, reach=1), Window(rows=2, reach=3), Window(rows=3, reach=0), POINT])
@pytest.mark.parametrize("mask_type", ["A", "B"])
@pytest.mark.parametrize("groups", [1, 2])
def test_a_pixel_reads_its_window_and_the_allowed_groups_of_its_own(window, mask_type, groups):
    conv = MaskedConv2d(4, 4, window, mask_type=mask_type, groups=groups).double()
    read = jacobian_at(conv, 4, 4) != 0
    group = GROUPS[groups]
    for o in range(4):
        for i in range(4):
            own = group[i] < group[o] if mask_type == "A" else group[i] <= group[o]
            expected = {*window.neighbours, *([(0, 0)] if own else [])}
            assert {(y - 4, x - 4) for y, x in read[o, i].nonzero().tolist()} == expected


def test_neighbours_are_the_rows_above_and_the_row_to_the_left():
    assert Window(rows=1, reach=2).neighbours == [(-1, -2), (-1, -1), (-1, 0), (-1, 1), (-1, 2), (0, -2), (0, -1)]
    assert POINT.neighbours == []


def test_the_border_reads_zeros():
    conv = MaskedConv2d(2, 2, Window(rows=2, reach=2), mask_type="B", groups=2).double()
    image = torch.randn(1, 2, 5, 6, dtype=torch.float64)
    inside = torch.zeros(1, 2, 11, 12, dtype=torch.float64)
    inside[:, :, 3:8, 3:9] = image
    assert conv(image).shape == image.shape
    torch.testing.assert_close(conv(image), conv(inside)[:, :, 3:8, 3:9])


def test_forbidden_weights_are_zero_and_get_no_gradient():
    conv = MaskedConv2d(4, 4, Window(rows=1, reach=1), mask_type="A", groups=2)
    conv(torch.randn(2, 4, 5, 5)).square().sum().backward()
    hidden = conv.mask == 0
    assert hidden.any() and (conv.masked_weight[hidden] == 0).all() and (conv.weight.grad[hidden] == 0).all()
    assert (conv.weight.grad[~hidden] != 0).all()


def test_channel_masks_go_from_red_to_green_to_blue():
    below, own = torch.ones(3, 3).tril(-1), torch.ones(3, 3).tril()
    assert channel_mask("A", 3, 3, 3).equal(below)
    assert channel_mask("B", 3, 3, 3).equal(own)
    assert channel_mask("B", 6, 3, 3).equal(own.repeat_interleave(2, 1))


def test_channels_that_do_not_divide_are_refused_by_name():
    with pytest.raises(ValueError, match=r"in_channels=4 .* 3 image channels"):
        channel_mask("A", 4, 6, 3)
    with pytest.raises(ValueError, match=r"out_channels=4 .* 3 image channels"):
        channel_mask("A", 6, 4, 3)
    with pytest.raises(ValueError, match="rows >= 0"):
        Window(rows=-1, reach=0)


def test_initial_outputs_have_the_scale_of_the_inputs():
    conv = MaskedConv2d(32, 32, Window(rows=2, reach=2), mask_type="B", groups=1)
    assert 0.8 < conv(torch.randn(4, 32, 16, 16))[:, :, 2:, 2:-2].std() < 1.2


@pytest.mark.parametrize("mask_type", ["A", "B"])
@pytest.mark.parametrize("groups", [1, 2, 3])
def test_multiply_adds_are_the_ones_of_the_mask(mask_type, groups):
    conv = MaskedConv2d(6, 12, Window(rows=2, reach=1), mask_type=mask_type, groups=groups)
    assert conv.macs == conv.mask.sum()
