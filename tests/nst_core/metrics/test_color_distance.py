"""ColorDistance: compares colors wherever they occur."""

import numpy as np
import pytest
import skimage.data
from skimage.color import deltaE_cie76, rgb2lab

from nst_core.metrics.color_distance import COLOR_PIXELS, ColorDistance

CAT = skimage.data.chelsea()[60:188, 100:260]
CUP = skimage.data.coffee()[60:188, 100:260]


def test_color_ignores_positions() -> None:
    """Shuffled pixels have color distance 0, and a tint has not."""
    shuffled = np.random.default_rng(0).permutation(CAT.reshape(-1, 3)).reshape(CAT.shape)
    assert ColorDistance()(shuffled, CAT) == pytest.approx(0, abs=1e-9)
    tinted = CAT.copy()
    tinted[..., 2] //= 2
    assert ColorDistance()(tinted, CAT) > 5


@pytest.mark.parametrize("other", [(255, 255, 255), (200, 30, 30), (20, 90, 220), (0, 0, 0)])
def test_color_of_uniform_images_is_the_distance_in_lab(other: tuple[int, int, int]) -> None:
    """The distance of two uniform images is that of their colors in Lab, within 7 %."""
    flat = [np.full((20, 30, 3), color, dtype=np.uint8) for color in (other, (90, 140, 60))]
    expected = deltaE_cie76(*(rgb2lab(image)[0, 0] for image in flat))
    assert ColorDistance()(*flat) == pytest.approx(expected, rel=0.07, abs=0.3)


def test_color_depends_on_combinations_of_channels() -> None:
    """Images with equal channel histograms but other combinations of channels differ."""
    one, other = np.zeros((2, 20, 20, 3), dtype=np.uint8)
    one[:, :10], one[:, 10:] = (0, 0, 120), (255, 200, 120)
    other[:, :10], other[:, 10:] = (140, 150, 255), (120, 60, 0)
    assert ColorDistance()(one, other) > 10


def test_color_of_large_images_is_sampled() -> None:
    """The distance of subsampled large images equals that of small images with equal colors."""
    large = [np.tile(image, (3, 3, 1)) for image in (CAT, CUP)]
    assert large[0][..., 0].size > COLOR_PIXELS
    assert ColorDistance()(*large) == pytest.approx(ColorDistance()(CAT, CUP), rel=0.02)
