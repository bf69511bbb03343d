"""ST-LPIPS: the scores of its authors' package, and what distinguishes it from LPIPS."""

from collections.abc import Mapping

import numpy as np
import pytest
import skimage.data
import skimage.filters
import torch

from nst_core.metrics.lpips_dists import Lpips
from nst_core.metrics.measure import levels
from nst_core.metrics.shift_tolerant_lpips import StLpips
from nst_core.networks.weights import Weights

CAT, CUP = skimage.data.chelsea(), skimage.data.coffee()
GRAVEL, GRASS = (np.stack([gray] * 3, 2) for gray in (skimage.data.gravel(), skimage.data.grass()))
PLACE = (slice(60, 188), slice(100, 260))
NOISE = np.random.default_rng(0).integers(0, 256, (128, 160, 3), dtype=np.uint8)
ODD = (slice(0, 61), slice(0, 83))

Picture = np.ndarray


@pytest.fixture(scope="module")
def stlpips(weights: Mapping[str, Weights]) -> StLpips:
    return StLpips(weights["stlpips-alex"])


def blurred(image: Picture) -> Picture:
    return (skimage.filters.gaussian(image, 2.0, channel_axis=2) * 255).astype(np.uint8)


def moved(image: Picture, down: int, right: int) -> Picture:
    """Return what is `down` and `right` pixels from the usual place of a picture."""
    return image[60 + down : 188 + down, 100 + right : 260 + right]


#: Pairs of pictures, and their distance by stlpips-pytorch 0.0.2 with torch 2.15 on a CPU. Made by
#: ``stlpips.LPIPS(net="alex", variant="shift_tolerant")(a, b)`` of pictures scaled to [-1, 1].
PAIRS: Mapping[str, tuple[Picture, Picture, float]] = {
    "other picture": (CUP[PLACE], CAT[PLACE], 0.6138530),
    "blurred": (blurred(CAT[PLACE]), CAT[PLACE], 0.4772441),
    "noise": (NOISE, CAT[PLACE], 0.9130551),
    "negative": (255 - CAT[PLACE], CAT[PLACE], 0.5683470),
    "shifted": (moved(CAT, 0, 2), CAT[PLACE], 0.0125344),
    "odd sides": (CUP[PLACE][ODD], CAT[PLACE][ODD], 0.5498532),
    "smallest size": (CUP[PLACE][:32, :32], CAT[PLACE][:32, :32], 0.2140448),
    "narrow": (CUP[PLACE][:33, :120], CAT[PLACE][:33, :120], 0.4372160),
    "half faded": (CUP[PLACE] // 2 + CAT[PLACE] // 2, CAT[PLACE], 0.3396727),
    "black": (np.zeros_like(NOISE), CAT[PLACE], 0.9888898),
    "textures": (GRAVEL[:256, :256], GRASS[:256, :256], 0.3392711),
}


@pytest.mark.parametrize("name", PAIRS)
def test_equals_the_package(stlpips: StLpips, name: str) -> None:
    """The distance is that of the package of its authors."""
    image, reference, expected = PAIRS[name]
    assert stlpips(image, reference) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("shift", [(0, 1), (1, 1), (0, 2), (2, 2)])
@pytest.mark.parametrize("picture", [CAT, GRAVEL, GRASS], ids=["cat", "gravel", "grass"])
def test_a_small_shift_counts_less_than_in_lpips(
    stlpips: StLpips, weights: Mapping[str, Weights], picture: Picture, shift: tuple[int, int]
) -> None:
    """A shift by 1 or 2 pixels is a smaller share of the distance to another picture."""
    lpips = Lpips(weights["alexnet"], weights["lpips-alex"])
    share = {
        measure: measure(moved(picture, *shift), picture[PLACE])
        / measure(CUP[PLACE], picture[PLACE])
        for measure in (stlpips, lpips)
    }
    assert 0 < share[stlpips] < 2 / 3 * share[lpips]


def test_pictures_together_have_the_scores_of_each_alone(stlpips: StLpips) -> None:
    """Several pictures of one reference are scored in one call, each as if it were alone."""
    images = [CUP[PLACE], NOISE, moved(CAT, 1, 1)]
    together = stlpips.scores(levels(images, torch.device("cpu")), CAT[PLACE])
    alone = [stlpips(image, CAT[PLACE]) for image in images]
    assert together.tolist() == pytest.approx(alone, rel=1e-5)


def test_weights_are_not_trained(stlpips: StLpips) -> None:
    """No gradient is computed for the network, even where gradients are switched on."""
    score = stlpips.scores(levels([CUP[PLACE]], torch.device("cpu")), CAT[PLACE])
    assert not score.requires_grad
