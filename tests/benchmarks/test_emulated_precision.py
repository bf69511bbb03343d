"""Emulated TF32 and bfloat16: what is rounded, how far, and that the backward pass is too."""

import math

import pytest
import torch
from torch.nn import functional as F

from benchmarks.support.emulated_precision import (
    Bfloat16Products,
    Tf32Products,
    rounded_to_bfloat16,
    rounded_to_tf32,
)

MODES = [(Tf32Products, rounded_to_tf32, 10), (Bfloat16Products, rounded_to_bfloat16, 7)]


@pytest.mark.parametrize(("mode", "rounded", "bits"), MODES)
def test_rounding_keeps_the_stated_bits(mode, rounded, bits: int) -> None:  # type: ignore[no-untyped-def]
    """A value of that many bits stays, one more bit is rounded, infinities and NaN stay."""
    exact = torch.tensor([0.0, 1 + 2.0**-bits, -(1 + 2.0**-bits), math.inf, -math.inf, math.nan])
    assert torch.equal(rounded(exact).nan_to_num(7), exact.nan_to_num(7))
    above = torch.tensor([1 + 2.0**-bits + 2.0 ** -(bits + 1) + 2.0 ** -(bits + 2)])
    assert rounded(above).item() == 1 + 2 * 2.0**-bits
    below = torch.tensor([1 + 2.0**-bits + 2.0 ** -(bits + 2)])
    assert rounded(below).item() == 1 + 2.0**-bits


@pytest.mark.parametrize(("mode", "rounded", "bits"), MODES)
def test_products_and_convolutions_are_of_rounded_factors(mode, rounded, bits: int) -> None:  # type: ignore[no-untyped-def]
    """Inside the block a result is that of rounded factors, an addend stays as it is."""
    torch.manual_seed(0)
    a, b, bias = torch.randn(3, 5, 5), torch.randn(3, 5, 5), torch.randn(5)
    image, kernel = torch.randn(1, 5, 8, 8), torch.randn(4, 5, 3, 3)
    with mode() as emulated:
        found = [a @ b, torch.addmm(bias, a[0], b[0]), F.conv2d(image, kernel)]
    assert emulated.rounded_products == 3
    ra, rb = rounded(a), rounded(b)
    expected = [
        ra @ rb,
        torch.addmm(bias, ra[0], rb[0]),
        F.conv2d(rounded(image), rounded(kernel)),
    ]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert not torch.equal(found[0], a @ b)


@pytest.mark.parametrize(("mode", "rounded", "bits"), MODES)
def test_the_backward_pass_is_rounded_too(mode, rounded, bits: int) -> None:  # type: ignore[no-untyped-def]
    """The gradients of a product inside the block come from rounded factors."""
    torch.manual_seed(0)
    a, b, grad = torch.randn(3, 5, 5).requires_grad_(), torch.randn(3, 5, 5), torch.randn(3, 5, 5)
    with mode():
        (found,) = torch.autograd.grad(torch.bmm(a, b), a, grad)
    assert torch.equal(found, torch.bmm(rounded(grad), rounded(b).mT))


@pytest.mark.parametrize(("mode", "rounded", "bits"), MODES)
def test_other_products_stay_exact(mode, rounded, bits: int) -> None:  # type: ignore[no-untyped-def]
    """Products of float64, and elementwise products of float32, are not rounded."""
    torch.manual_seed(0)
    wide, narrow = torch.randn(4, 4, dtype=torch.float64), torch.randn(4, 4)
    expected = wide @ wide, narrow * narrow
    with mode() as emulated:
        found = wide @ wide, narrow * narrow
    assert emulated.rounded_products == 0
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
