import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nst_core.images.colors import (
    LUMA,
    color_noise,
    luminance,
    luminance_like,
    recolored,
    with_hues_of,
)


def picture(seed: int, low: float = 0.2, high: float = 0.8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(3, 24, 32, generator=generator, dtype=torch.float64)


def test_luminance_is_the_luma_of_video() -> None:
    """Pure colors have the luma of BT.601 in all three channels."""
    for channel, weight in enumerate(LUMA):
        image = torch.zeros(3, 2, 2)
        image[channel] = 1
        torch.testing.assert_close(luminance(image), torch.full((3, 2, 2), weight))


@given(st.integers(0, 1000))
def test_keeping_hues_keeps_the_new_brightness(seed: int) -> None:
    """Without clipping, the result has the luma of one picture and the chroma of the other."""
    image, content = picture(seed, 0.4, 0.6), picture(seed + 1, 0.4, 0.6)
    mixed = with_hues_of(image, content)
    torch.testing.assert_close(luminance(mixed), luminance(image))
    torch.testing.assert_close(mixed - luminance(mixed), content - luminance(content))
    torch.testing.assert_close(with_hues_of(content, content), content)


def test_recoloring_moves_the_statistics_it_names() -> None:
    """`mean` matches the mean, `mean_cov` also the covariance, `histogram` the histograms."""
    style, content = picture(1, 0.3, 0.5), 0.4 + 0.3 * (picture(2) - 0.5)
    assert recolored(style, content, "none") is style
    for how in ("mean", "mean_cov"):
        found = recolored(style, content, how)
        torch.testing.assert_close(found.mean(dim=(1, 2)), content.mean(dim=(1, 2)))
    torch.testing.assert_close(
        torch.cov(recolored(style, content, "mean_cov").flatten(1)),
        torch.cov(content.flatten(1)),
        rtol=1e-3,
        atol=1e-6,
    )
    found = recolored(style, content, "histogram")
    for channel in range(3):
        torch.testing.assert_close(
            found[channel].flatten().sort().values, content[channel].flatten().sort().values
        )


@pytest.mark.parametrize("how", ["mean", "mean_cov", "histogram"])
def test_gray_pictures_do_not_break_recoloring(how: str) -> None:
    """A gray style, whose covariance is singular, gives finite values."""
    gray = torch.full((3, 8, 8), 0.5)
    found = recolored(gray, picture(3).float(), how)
    assert torch.isfinite(found).all()


def test_gray_styles_take_the_contents_brightness() -> None:
    """`luminance_like` gives the style the luma mean and deviation of the content."""
    found = luminance_like(picture(4, 0.0, 1.0), picture(5, 0.4, 0.5))
    goal = luminance(picture(5, 0.4, 0.5))
    assert found.mean().item() == pytest.approx(goal.mean().item())
    assert found.std().item() == pytest.approx(goal.std().item())
    assert torch.equal(found[0], found[1])


def test_color_noise_has_the_colors_of_a_picture() -> None:
    """Color noise has the mean and covariance of an image's colors."""
    style = picture(6)
    style[0] = 0.5 * style[1] + 0.2
    noise = torch.randn(3, 200, 200, generator=torch.Generator().manual_seed(0)).double()
    found = color_noise(style, noise)
    torch.testing.assert_close(
        torch.cov(found.flatten(1)), torch.cov(style.flatten(1)), rtol=0.1, atol=1e-3
    )
    torch.testing.assert_close(found.mean(dim=(1, 2)), style.mean(dim=(1, 2)), rtol=0.02, atol=0)
