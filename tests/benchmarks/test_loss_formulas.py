"""Replaced and rejected formulas of losses agree with those in use."""

import torch

from benchmarks.losses import formulas
from benchmarks.support.loss_formulas import (
    content_in_order_nchw,
    root_in_the_dtype_of_features,
    wasserstein_by_newton_schulz,
)
from nst_core.losses.functional import content_loss, moments, wasserstein_loss
from nst_core.losses.targets import MEMORY_FORMAT


def features(seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    feat = torch.rand(1, 6, 9, 10, generator=generator, dtype=dtype)
    return feat.contiguous(memory_format=MEMORY_FORMAT)


def test_formulas_of_a_loss_have_one_gradient() -> None:
    """In float64 every formula has its loss's gradient, Newton-Schulz after 20 iterations."""
    exact: dict[str, torch.Tensor] = {}
    compared = [f for f in formulas(features(1), features(2)) if "12 iter" not in f.name]
    for formula in compared:
        found = formula.gradient(features(1))
        torch.testing.assert_close(found, exact.setdefault(formula.loss, found), rtol=1e-6, atol=0)
    assert len(compared) > 2 * len(exact)


def test_content_loss_has_the_same_gradient_in_both_orders() -> None:
    """Channels-last order changes no bit of the gradient, and the value by rounding only."""
    feat, target = features(1, torch.float32).requires_grad_(), features(2, torch.float32)
    losses = [order(feat, target) for order in (content_loss, content_in_order_nchw)]
    torch.testing.assert_close(*losses)
    gradients = [torch.autograd.grad(loss.sum(), feat)[0] for loss in losses]
    assert torch.equal(*gradients)


def test_newton_schulz_converges() -> None:
    """In float64 and with few channels the iterations approach the value from eigenvalues."""
    image, target = moments(features(1)), moments(features(2))
    root = root_in_the_dtype_of_features(target)
    exact = wasserstein_loss(image, target)
    after_2, after_20 = (
        (wasserstein_by_newton_schulz(image, target, root, iterations) - exact).abs() / exact
        for iterations in (2, 20)
    )
    assert after_20 < 1e-9 < after_2
