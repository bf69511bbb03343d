"""Winograd convolution: the same values and gradients as the direct convolution."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from nst_core.networks import winograd
from nst_core.networks.winograd import LEAST_CHANNELS, WinogradConv

#: Of the largest value: what float32 leaves of the transforms.
TOLERANCE = 1e-4


def convolution(inputs: int, outputs: int, padding: int) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(inputs, outputs, 3, padding=padding).requires_grad_(False)


def difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max())


@given(
    lanes=st.integers(1, 3),
    height=st.integers(9, 40),
    width=st.integers(9, 40),
    padding=st.integers(0, 1),
    block=st.sampled_from([1, 7, 256]),
    last=st.booleans(),
)
def test_equals_the_direct_convolution(
    lanes: int, height: int, width: int, padding: int, block: int, last: bool
) -> None:
    """Values and input gradients equal the direct convolution at any size and layout."""
    direct = convolution(LEAST_CHANNELS, LEAST_CHANNELS + 16, padding)
    feat = torch.randn(lanes, LEAST_CHANNELS, height, width)
    if last:
        feat = feat.contiguous(memory_format=torch.channels_last)
    feat.requires_grad_()
    before, winograd.BLOCK_TILES = winograd.BLOCK_TILES, block
    try:
        made = WinogradConv(direct)(feat)
        assert "Convolution" in type(made.grad_fn).__name__
        grad_made = torch.randn_like(made)
        (found,) = torch.autograd.grad(made, feat, grad_made)
    finally:
        winograd.BLOCK_TILES = before
    expected = direct(feat)
    (expected_grad,) = torch.autograd.grad(expected, feat, grad_made)
    assert difference(made.detach(), expected.detach()) < TOLERANCE
    assert difference(found, expected_grad) < TOLERANCE


def test_other_precisions_are_direct() -> None:
    """In float64, and with few tiles, the direct convolution is used."""
    direct = convolution(LEAST_CHANNELS, LEAST_CHANNELS, 1)
    small = torch.randn(1, LEAST_CHANNELS, 4, 4)
    assert torch.equal(WinogradConv(direct)(small), direct(small))
    exact = torch.randn(1, LEAST_CHANNELS, 32, 32, dtype=torch.float64)
    double = direct.double()
    assert torch.equal(WinogradConv(double)(exact), double(exact))


def test_filters_are_shared() -> None:
    """Convolutions with the same weights in memory share their transformed filters."""
    one, other = (convolution(LEAST_CHANNELS, LEAST_CHANNELS, 1) for _ in range(2))
    same = convolution(LEAST_CHANNELS, LEAST_CHANNELS, 0)
    same.weight = torch.nn.Parameter(one.weight.detach())
    first, second, third = map(WinogradConv, (one, same, other))
    assert first.filters is second.filters is not third.filters
    assert first.filters.forward is second.filters.forward


def test_only_what_it_can_do_is_replaced() -> None:
    """Convolutions with strides, groups, other kernels or few channels are not replaced."""
    many = LEAST_CHANNELS
    assert WinogradConv.suits(nn.Conv2d(many, many, 3, padding=1))
    for other in (
        nn.Conv2d(many, many, 3, stride=2, padding=1),
        nn.Conv2d(many, many, 3, padding=1, groups=2),
        nn.Conv2d(many, many, 3, padding=2, dilation=2),
        nn.Conv2d(many, many, 5, padding=1),
        nn.Conv2d(many - 1, many, 3, padding=1),
    ):
        assert not WinogradConv.suits(other)
