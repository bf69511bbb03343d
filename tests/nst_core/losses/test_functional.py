"""Loss formulas: papers' definitions, gradients and behavior of targets."""

from collections.abc import Callable

import pytest
import scipy.linalg
import torch
from hypothesis import given
from hypothesis import strategies as st

from nst_core.losses.functional import (
    STYLE_LOSSES,
    color_quantiles,
    content_loss,
    covariance_of,
    gram_factor,
    gram_loss,
    histogram_loss,
    matting_loss,
    mean_color_loss,
    mean_cov_loss,
    moments,
    style_comparison,
    total_variation,
    wasserstein_loss,
)


def features(seed: int = 0, lanes: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(lanes, 3, 5, 4, generator=generator, dtype=torch.float64)


def test_the_second_moment_is_a_gram_matrix_per_pixel() -> None:
    """An entry of the second moment is the mean product of two channels, for each lane."""
    feat = features()
    second = moments(feat).second_NCC
    for lane in range(2):
        expected = (feat[lane, 0] * feat[lane, 2]).sum() / 20
        torch.testing.assert_close(second[lane, 0, 2], expected)


def test_the_loss_of_gatys_is_a_quarter_of_gram_loss() -> None:
    """sum (G - A)^2 / (4 C^2 (HW)^2) with undivided Gram matrices is 1/4 of `gram_loss`."""
    a, b = features(1, 1), features(2, 1)
    undivided = [torch.einsum("chw,dhw->cd", f[0], f[0]) for f in (a, b)]
    paper = (undivided[0] - undivided[1]).square().sum() / (4 * 3**2 * 20**2)
    torch.testing.assert_close(gram_loss(moments(a), moments(b))[0] / 4, paper)


def test_gram_factor_converts_between_normalizations() -> None:
    """The loss with Gram matrices divided by C H W is `gram_loss` times `gram_factor`."""
    a, b = features(1), features(2)
    gram_a, gram_b = (torch.einsum("nchw,ndhw->ncd", f, f) / (3 * 20) for f in (a, b))
    per_element = (gram_a - gram_b).square().mean(dim=(1, 2))
    converted = gram_factor("per_element", 3) * gram_loss(moments(a), moments(b))
    torch.testing.assert_close(converted, per_element)
    assert gram_factor("per_pixel", 3) == 1


def test_a_mask_selects_positions() -> None:
    """Moments under a mask of ones and zeros are the moments of the positions with ones."""
    feat = features()
    mask = torch.zeros(2, 1, 5, 4, dtype=torch.float64)
    mask[:, :, 1:3] = 1
    selected = moments(feat[:, :, 1:3])
    for masked, expected in zip(moments(feat, mask), selected, strict=True):
        torch.testing.assert_close(masked, expected)


def test_mean_cov_separates_color_from_texture() -> None:
    """A constant added to all features changes the mean and does not change the covariance."""
    a, b = moments(features()), moments(features() + 2)
    torch.testing.assert_close(covariance_of(a), covariance_of(b))
    torch.testing.assert_close(mean_cov_loss(a, b), torch.full((2,), 4.0, dtype=torch.float64))


def test_wasserstein_loss_equals_its_formula() -> None:
    """The Wasserstein loss is the closed-form distance of two Gaussian distributions, over C."""
    a, b = moments(features(1, 1)), moments(features(2, 1))
    cov_a, cov_b = (covariance_of(m)[0].numpy() for m in (a, b))
    root = scipy.linalg.sqrtm(cov_b)
    cross = scipy.linalg.sqrtm(root @ cov_a @ root)
    mean = (a.mean_NC - b.mean_NC).square().sum().item()
    expected = (mean + (cov_a + cov_b - 2 * cross).trace()) / 3
    assert wasserstein_loss(a, b).item() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("kind", STYLE_LOSSES)
def test_style_targets_blend_linearly(kind: str) -> None:
    """The moments of two images side by side are the mean of their moments, for every loss."""
    a, b = features(1), features(2)
    both = moments(torch.cat([a, b], dim=3))
    blended = type(both)(*((x + y) / 2 for x, y in zip(moments(a), moments(b), strict=True)))
    loss = style_comparison(kind, blended)(both)
    torch.testing.assert_close(loss, torch.zeros_like(loss), atol=1e-9, rtol=0)


@pytest.mark.parametrize(("norm", "expected"), [("l2", 2.0), ("l1", 2.0)])
@pytest.mark.parametrize("height", [8, 32])
def test_total_variation_is_a_mean(height: int, norm: str, expected: float) -> None:
    """The total variation of a checkerboard does not depend on its size."""
    board = ((torch.arange(height)[:, None] + torch.arange(height)) % 2).double()
    loss = total_variation(board.expand(1, 3, -1, -1), norm).item()
    assert loss == pytest.approx(expected, rel=1e-3)


def test_histogram_loss_detects_contrast() -> None:
    """Two images with the same mean color and different contrast differ in histograms only."""
    image = features(3, 1)
    flat = image.mean(dim=(2, 3), keepdim=True).expand_as(image)
    quantiles = color_quantiles(flat[0], 20)[None]
    assert mean_color_loss(image, quantiles).item() == pytest.approx(0, abs=1e-20)
    expected = image.var(dim=(2, 3), correction=0).mean().item()
    assert histogram_loss(image, quantiles).item() == pytest.approx(expected)


def test_quantiles_do_not_depend_on_the_number_of_pixels() -> None:
    """An image and four copies of it side by side have the same color quantiles."""
    image = features(4, 1)[0]
    torch.testing.assert_close(
        color_quantiles(image.repeat(1, 2, 2), 7), color_quantiles(image, 7), atol=0.1, rtol=0
    )


@given(st.integers(0, 2**31 - 1))
def test_losses_are_zero_only_at_their_target(seed: int) -> None:
    """A loss is zero at its target and positive elsewhere."""
    feat = features(seed)
    assert content_loss(feat, feat).abs().max() == 0
    assert (content_loss(feat, feat + 0.1) > 0).all()
    for kind in STYLE_LOSSES:
        compare = style_comparison(kind, moments(feat))
        assert compare(moments(feat)).abs().max() < 1e-9
        assert (compare(moments(feat * 2)) > 1e-3).all()


def style(kind: str) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: style_comparison(kind, moments(features(9)))(moments(x))


@pytest.mark.parametrize(
    "term",
    [
        lambda x: content_loss(x, features(9)),
        *(style(kind) for kind in STYLE_LOSSES),
        lambda x: moments(x, features(5)[:, :1]).second_NCC,
        lambda x: total_variation(x, "l2"),
        lambda x: total_variation(x, "l1"),
        lambda x: mean_color_loss(x, features(9).flatten(2)),
        lambda x: histogram_loss(x, features(9).flatten(2)),
        lambda x: matting_loss(x[0], torch.eye(20, dtype=torch.float64).to_sparse()),
    ],
)
def test_gradients_match_finite_differences(term) -> None:  # type: ignore[no-untyped-def]
    """The gradient of every loss agrees with finite differences in float64."""
    assert torch.autograd.gradcheck(term, (features(3).requires_grad_(),))
