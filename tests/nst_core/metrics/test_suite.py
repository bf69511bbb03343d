from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pytest
import skimage.data
import skimage.filters
from skimage.color import deltaE_cie76, rgb2lab
from skimage.metrics import peak_signal_noise_ratio

from nst_core.metrics.registry import DEFAULT_METRICS, METRICS, OBJECTIVES, weights_of, with_default
from nst_core.metrics.suite import (
    COLOR_PIXELS,
    PSNR_CAP_DB,
    ColorDistance,
    MetricSuite,
    edges,
    psnr,
)
from nst_core.networks.weights import Weights

CAT = skimage.data.chelsea()[60:188, 100:260]
CUP = skimage.data.coffee()[60:188, 100:260]
BLACK = np.zeros_like(CAT)
NOISE = np.random.default_rng(0).integers(0, 256, CAT.shape, dtype=np.uint8)

#: What equal images score, and the range of every score.
EQUAL = {"ssim": 1.0, "psnr": PSNR_CAP_DB, "edges": 1.0}
RANGE = {"ssim": (-1, 1), "psnr": (0, PSNR_CAP_DB), "rmse": (0, 1), "edges": (0, 1)}


@pytest.fixture(scope="module")
def suite(weights: Mapping[str, Weights]) -> MetricSuite:
    return MetricSuite.load(weights.__getitem__, metrics=METRICS)


def score(suite: MetricSuite, metric: str, image: np.ndarray, goal: np.ndarray) -> float:
    """Against whatever the metric compares with."""
    return suite.measures[metric]([image], [goal])[0]


def blurred(sigma: float) -> np.ndarray:
    smooth = skimage.filters.gaussian(CAT, sigma, channel_axis=2)
    return (smooth * 255).astype(np.uint8)


@pytest.mark.parametrize("metric", METRICS)
def test_equal_images_are_best(suite: MetricSuite, metric: str) -> None:
    """No image scores better than the goal itself, by the metric's own direction."""
    equal = score(suite, metric, CAT, CAT)
    assert equal == pytest.approx(EQUAL.get(metric, 0.0), abs=1e-6)
    for other in (CUP, blurred(2.0), BLACK):
        assert METRICS[metric].better(equal, score(suite, metric, other, CAT))


@pytest.mark.parametrize("metric", METRICS)
def test_symmetric(suite: MetricSuite, metric: str) -> None:
    """Swapping image and goal changes nothing."""
    there, back = score(suite, metric, CAT, CUP), score(suite, metric, CUP, CAT)
    assert there == pytest.approx(back, rel=1e-5)


@pytest.mark.parametrize("metric", METRICS)
def test_monotone_in_blur(suite: MetricSuite, metric: str) -> None:
    """The more an image is blurred, the worse it scores."""
    scores = [score(suite, metric, blurred(sigma), CAT) for sigma in (0.5, 1.0, 2.0, 4.0)]
    assert all(METRICS[metric].better(a, b) for a, b in pairwise(scores))


@pytest.mark.parametrize("metric", METRICS)
def test_scores_stay_in_their_range(suite: MetricSuite, metric: str) -> None:
    """Extreme images give numbers in the metric's range, never NaN."""
    low, high = RANGE.get(metric, (0, np.inf))
    for image in (BLACK, BLACK + 255, NOISE, 255 - CAT):
        for goal in (BLACK, CAT):
            assert low <= score(suite, metric, image, goal) <= high


def test_psnr_agrees_with_scikit_image_and_is_capped() -> None:
    """PSNR is scikit-image's, and a number for equal images."""
    assert psnr(CAT, CUP) == pytest.approx(peak_signal_noise_ratio(CUP, CAT, data_range=255))
    assert psnr(CAT, CAT) == PSNR_CAP_DB


# --- colours --------------------------------------------------------------------------------------


def test_color_does_not_mind_where() -> None:
    """Pixels in another order are no change of colours, a tint is."""
    shuffled = np.random.default_rng(0).permutation(CAT.reshape(-1, 3)).reshape(CAT.shape)
    assert ColorDistance()(shuffled, CAT) == pytest.approx(0, abs=1e-9)
    tinted = CAT.copy()
    tinted[..., 2] //= 2
    assert ColorDistance()(tinted, CAT) > 5


@pytest.mark.parametrize("other", [(255, 255, 255), (200, 30, 30), (20, 90, 220), (0, 0, 0)])
def test_color_of_flat_images_is_their_distance_in_lab(other: tuple[int, int, int]) -> None:
    """Where all colours move alike, the distance is as long as their way, within 7 %."""
    flat = [np.full((20, 30, 3), color, dtype=np.uint8) for color in (other, (90, 140, 60))]
    expected = deltaE_cie76(*(rgb2lab(image)[0, 0] for image in flat))
    assert ColorDistance()(*flat) == pytest.approx(expected, rel=0.07, abs=0.3)


def test_color_sees_which_colours_go_together() -> None:
    """Dark blue beside light orange is not light blue beside dark orange, whose channels agree."""
    one, other = np.zeros((2, 20, 20, 3), dtype=np.uint8)
    one[:, :10], one[:, 10:] = (0, 0, 120), (255, 200, 120)
    other[:, :10], other[:, 10:] = (140, 150, 255), (120, 60, 0)
    assert ColorDistance()(one, other) > 10


def test_color_of_large_images_is_that_of_some_of_their_pixels() -> None:
    """An image that repeats itself beyond the pixels looked at keeps its colours."""
    large = [np.tile(image, (3, 3, 1)) for image in (CAT, CUP)]
    assert large[0][..., 0].size > COLOR_PIXELS
    assert ColorDistance()(*large) == pytest.approx(ColorDistance()(CAT, CUP), rel=0.02)


# --- edges ----------------------------------------------------------------------------------------


def test_edges_do_not_mind_colours_and_contrast() -> None:
    """Less contrast and other hues keep every edge; another picture keeps hardly any."""
    faded = (64 + CAT[..., [1, 1, 1]].astype(float) * 0.4).round().astype(np.uint8)
    assert edges(faded, CAT) > 0.95
    assert edges(CUP, CAT) < 0.3
    assert edges(CAT[:, ::-1].copy(), CAT) < 0.3


def test_edges_of_flat_images() -> None:
    """Flat images keep all of the edges that a flat content has, and none of another's."""
    assert edges(BLACK + 7, BLACK) == 1.0
    assert edges(BLACK, CAT) == edges(CAT, BLACK) == 0.0


# --- judges ---------------------------------------------------------------------------------------


def test_metrics_against_the_content_need_it(suite: MetricSuite) -> None:
    """Without a content its metrics are left out; with it, the order is that of `METRICS`."""
    assert list(suite.score(CUP, CAT, BLACK)) == list(METRICS)
    assert set(METRICS) - set(suite.score(CUP, CAT)) == {"edges"}
    assert suite.score(CUP, CAT, CUP)["edges"] == pytest.approx(1)


def test_images_scored_together_score_as_alone(suite: MetricSuite) -> None:
    """Neither neighbours nor other sizes change a score."""
    images, goals = [CAT, CUP[:100], CUP], [CUP, CAT[:100], CAT]
    together = suite.score_all(images, goals, goals)
    for scores, image, goal in zip(together, images, goals, strict=True):
        assert scores == pytest.approx(suite.score(image, goal, goal), rel=1e-4)


@pytest.mark.parametrize(
    ("metrics", "read"),
    [
        (("rmse", "edges"), ()),
        (DEFAULT_METRICS, ("alexnet", "lpips-alex")),
        (with_default(["dists"]), ("alexnet", "lpips-alex", "vgg16", "dists")),
    ],
)
def test_only_what_is_asked_for_is_loaded(
    metrics: tuple[str, ...], read: tuple[str, ...], weights: Mapping[str, Weights]
) -> None:
    """A suite reads the weights of its metrics and no others."""
    asked: list[str] = []

    def load(name: str) -> Weights:
        asked.append(name)
        return weights[name]

    assert tuple(MetricSuite.load(load, metrics=metrics).measures) == metrics
    assert tuple(asked) == weights_of(metrics) == read


def test_doing_nothing_is_no_objective() -> None:
    """A metric against the content cannot be optimised, since the content itself is its best."""
    assert set(METRICS) - set(OBJECTIVES) == {"edges"}
    assert with_default(["rmse"]) == DEFAULT_METRICS
    assert "dists" not in DEFAULT_METRICS
