import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nst_core.functional import content_loss, gram, style_loss, total_variation


def features(seed: int = 0, lanes: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(lanes, 3, 5, 4, generator=generator, dtype=torch.float64)


def test_gram_is_the_papers_gram() -> None:
    """One entry of a Gram is the mean product of two channels, lane by lane."""
    feat = features()
    found = gram(feat)
    for lane in range(2):
        expected = (feat[lane, 0] * feat[lane, 2]).sum() / 20
        torch.testing.assert_close(found[lane, 0, 2], expected)
    torch.testing.assert_close(gram(feat, "per_element"), found / 3)


def test_gatys_normalisation_is_a_quarter_of_per_pixel() -> None:
    """sum (G - A)^2 / (4 C^2 (HW)^2) over undivided Grams is 1/4 of our style loss."""
    a, b = features(1, 1), features(2, 1)
    undivided = [torch.einsum("chw,dhw->cd", f[0], f[0]) for f in (a, b)]
    paper = (undivided[0] - undivided[1]).square().sum() / (4 * 3**2 * 20**2)
    torch.testing.assert_close(style_loss(gram(a), gram(b))[0] / 4, paper)


@pytest.mark.parametrize("height", [8, 32])
def test_total_variation_is_a_mean(height: int) -> None:
    """The total variation of a checkerboard does not depend on its size."""
    board = ((torch.arange(height)[:, None] + torch.arange(height)) % 2).double()
    assert total_variation(board.expand(1, 3, -1, -1)).item() == pytest.approx(2.0)


@given(st.integers(0, 2**31 - 1))
def test_terms_vanish_only_at_their_target(seed: int) -> None:
    """A term is zero at its target and positive elsewhere."""
    feat = features(seed)
    assert content_loss(feat, feat).abs().max() == 0
    assert style_loss(gram(feat), gram(feat)).abs().max() == 0
    assert (content_loss(feat, feat + 0.1) > 0).all()
    assert (style_loss(gram(feat), gram(feat * 2)) > 0).all()


@pytest.mark.parametrize(
    "term",
    [
        lambda x: content_loss(x, features(9)),
        lambda x: style_loss(gram(x), gram(features(9))),
        lambda x: style_loss(gram(x, "per_element"), gram(features(9), "per_element")),
        total_variation,
    ],
)
def test_gradients_match_finite_differences(term) -> None:  # type: ignore[no-untyped-def]
    """Every term's gradient agrees with finite differences in float64."""
    assert torch.autograd.gradcheck(term, (features(3).requires_grad_(),))
