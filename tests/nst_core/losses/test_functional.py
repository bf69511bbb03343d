"""Loss formulas: papers' definitions, gradients and behavior of targets."""

from collections.abc import Callable, Mapping

import pytest
import scipy.linalg
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.support.emulated_precision import Bfloat16Products, Tf32Products
from benchmarks.support.loss_formulas import picture_features
from nst_core.losses.functional import (
    STYLE_LOSSES,
    Moments,
    color_quantiles,
    content_loss,
    covariance_of,
    covariance_root,
    gram_factor,
    gram_loss,
    histogram_loss,
    matting_loss,
    mean_color_loss,
    mean_cov_loss,
    moments,
    style_loss,
    total_variation,
    wasserstein_loss,
)
from nst_core.losses.targets import MEMORY_FORMAT
from nst_core.networks.weights import Weights


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
    loss = style_loss(kind, both, blended)
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
        target = moments(feat)
        assert style_loss(kind, target, target).abs().max() < 1e-9
        assert (style_loss(kind, moments(feat * 2), target) > 1e-3).all()


def style(kind: str) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: style_loss(kind, moments(x), moments(features(9)))


@pytest.mark.parametrize(
    "term",
    [
        lambda x: content_loss(x, features(9)),
        *(style(kind) for kind in STYLE_LOSSES),
        lambda x: moments(x, features(5)[:, :1]).second_NCC,
        lambda x: mean_cov_loss(moments(x, features(5)[:, :1]), moments(features(9))),
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


@pytest.fixture(scope="module")
def pictures(weights: Mapping[str, Weights]) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of the sample photo and the sample style in relu3_1 of VGG16, at 64 px."""
    content, style = picture_features(weights.__getitem__, ["relu3_1"], 64)["relu3_1"]
    return content, style


def gradient(kind: str, feat: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the gradient of a style loss with respect to the features, in their dtype."""
    feat = feat.detach().requires_grad_()
    loss_N = style_loss(kind, moments(feat), moments(target))
    return torch.autograd.grad(loss_N.sum(), feat)[0]


def error(found: torch.Tensor, exact: torch.Tensor) -> float:
    """Return the norm of the error over the norm of the exact value."""
    return float((found - exact).norm() / exact.norm())


@pytest.mark.parametrize("kind", STYLE_LOSSES)
def test_float32_gradients_are_those_of_float64(
    kind: str, pictures: tuple[torch.Tensor, torch.Tensor]
) -> None:
    """The gradient of real features in float32 is within 1e-4 of that in float64."""
    content, style = pictures
    exact = gradient(kind, content.double(), style.double())
    assert error(gradient(kind, content, style), exact) < 1e-4


@pytest.mark.parametrize("mode", [Tf32Products, Bfloat16Products])
def test_wasserstein_does_not_depend_on_the_precision_of_products(
    mode, pictures: tuple[torch.Tensor, torch.Tensor]
) -> None:  # type: ignore[no-untyped-def]
    """With products of TF32 or bfloat16, value, root and gradient are exactly the same."""
    image, target = (Moments(*map(torch.Tensor.detach, moments(feat))) for feat in pictures)

    def results() -> list[torch.Tensor]:
        leaves = Moments(*(part.clone().requires_grad_() for part in image))
        loss_N = wasserstein_loss(leaves, target)
        return [loss_N, covariance_root(target), *torch.autograd.grad(loss_N.sum(), leaves)]

    exact = results()
    with mode() as emulated:
        rounded = results()
    assert emulated.rounded_products == 0
    assert all(torch.equal(*pair) for pair in zip(exact, rounded, strict=True))


@pytest.mark.parametrize(
    ("kind", "bound"), [("gram", 1e-3), ("mean_cov", 1e-3), ("wasserstein", 0.02)]
)
def test_tf32_changes_gradients_little(
    kind: str, bound: float, pictures: tuple[torch.Tensor, torch.Tensor]
) -> None:
    """With TF32 products, also in the moments, gradients are within the bound of float64's."""
    content, style = pictures
    exact = gradient(kind, content.double(), style.double())
    with Tf32Products() as emulated:
        assert error(gradient(kind, content, style), exact) < bound
    assert emulated.rounded_products >= 2


@pytest.mark.parametrize("kind", STYLE_LOSSES)
def test_a_loss_has_the_dtype_of_its_features(kind: str) -> None:
    """Losses of float32 features are float32, those of float64 features float64."""
    for dtype in (torch.float32, torch.float64):
        moment = moments(features().to(dtype))
        assert style_loss(kind, moment, moment).dtype == dtype


@pytest.mark.parametrize("kind", STYLE_LOSSES)
def test_a_lane_that_exploded_leaves_other_lanes_alone(kind: str) -> None:
    """Infinite features give their lane a loss that is not finite, and other lanes their own."""
    feat, target = features(), moments(features(1))
    alone = style_loss(kind, moments(feat[:1]), Moments(*(part[:1] for part in target)))
    feat[1] = torch.inf
    loss_N = style_loss(kind, moments(feat), target)
    torch.testing.assert_close(loss_N[:1], alone)
    assert not loss_N[1].isfinite()


def test_wasserstein_of_channels_without_variance_has_a_finite_gradient(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Eigenvalues that are zero give no gradient, not an infinite one."""
    monkeypatch.setattr("nst_core.losses.functional.COVARIANCE_RIDGE", 0)
    feat = features()
    feat[:, 2] = 1
    found = gradient("wasserstein", feat, features(1))
    assert found.isfinite().all() and found[:, :2].abs().max() > 0


@pytest.mark.parametrize(
    "term",
    [
        lambda x: content_loss(x, torch.zeros_like(x)),
        *(
            lambda x, kind=kind, mask=mask: style_loss(
                kind, moments(x, mask), moments(torch.zeros_like(x))
            )
            for kind in STYLE_LOSSES
            for mask in (None, torch.ones(2, 1, 5, 4, dtype=torch.float64))
        ),
    ],
)
def test_gradients_have_the_layout_of_the_features(term) -> None:  # type: ignore[no-untyped-def]
    """The gradient of channels-last features is channels-last: another layout costs a copy."""
    feat = features().contiguous(memory_format=MEMORY_FORMAT).requires_grad_()
    (found,) = torch.autograd.grad(term(feat).sum(), feat)
    assert found.is_contiguous(memory_format=MEMORY_FORMAT)
