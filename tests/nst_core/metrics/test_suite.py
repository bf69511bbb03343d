"""Metrics: range, direction, and behavior that each of them promises."""

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

#: Scores of equal images, and ranges of scores.
EQUAL = {"ssim": 1.0, "psnr": PSNR_CAP_DB, "edges": 1.0}
RANGE = {"ssim": (-1, 1), "psnr": (0, PSNR_CAP_DB), "rmse": (0, 1), "edges": (0, 1)}


@pytest.fixture(scope="module")
def suite(weights: Mapping[str, Weights]) -> MetricSuite:
    return MetricSuite.load(weights.__getitem__, metrics=METRICS)


def score(suite: MetricSuite, metric: str, image: np.ndarray, goal: np.ndarray) -> float:
    """Return the score of an image against a reference or content."""
    return suite.measures[metric]([image], [goal])[0]


def blurred(sigma: float) -> np.ndarray:
    smooth = skimage.filters.gaussian(CAT, sigma, channel_axis=2)
    return (smooth * 255).astype(np.uint8)


@pytest.mark.parametrize("metric", METRICS)
def test_equal_images_have_the_best_score(suite: MetricSuite, metric: str) -> None:
    """No image has a better score than a copy of the image it is compared with."""
    equal = score(suite, metric, CAT, CAT)
    assert equal == pytest.approx(EQUAL.get(metric, 0.0), abs=1e-6)
    for other in (CUP, blurred(2.0), BLACK):
        assert METRICS[metric].better(equal, score(suite, metric, other, CAT))


@pytest.mark.parametrize("metric", METRICS)
def test_metrics_are_symmetric(suite: MetricSuite, metric: str) -> None:
    """Swapping both images does not change the score."""
    there, back = score(suite, metric, CAT, CUP), score(suite, metric, CUP, CAT)
    assert there == pytest.approx(back, rel=1e-5)


@pytest.mark.parametrize("metric", METRICS)
def test_scores_are_monotonic_in_blur(suite: MetricSuite, metric: str) -> None:
    """A more blurred image has a worse score."""
    scores = [score(suite, metric, blurred(sigma), CAT) for sigma in (0.5, 1.0, 2.0, 4.0)]
    assert all(METRICS[metric].better(a, b) for a, b in pairwise(scores))


@pytest.mark.parametrize("metric", METRICS)
def test_scores_stay_in_their_range(suite: MetricSuite, metric: str) -> None:
    """Scores of extreme images are in the range of the metric, never NaN."""
    low, high = RANGE.get(metric, (0, np.inf))
    for image in (BLACK, BLACK + 255, NOISE, 255 - CAT):
        for goal in (BLACK, CAT):
            assert low <= score(suite, metric, image, goal) <= high


def test_psnr_agrees_with_scikit_image_and_is_capped() -> None:
    """PSNR equals that of scikit-image, and is finite for equal images."""
    assert psnr(CAT, CUP) == pytest.approx(peak_signal_noise_ratio(CUP, CAT, data_range=255))
    assert psnr(CAT, CAT) == PSNR_CAP_DB


# --- color ----------------------------------------------------------------------------------------


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


# --- edges ----------------------------------------------------------------------------------------


def test_edges_ignore_color_and_contrast() -> None:
    """An image with less contrast and no color keeps the edges; another image does not."""
    faded = (64 + CAT[..., [1, 1, 1]].astype(float) * 0.4).round().astype(np.uint8)
    assert edges(faded, CAT) > 0.95
    assert edges(CUP, CAT) < 0.3
    assert edges(CAT[:, ::-1].copy(), CAT) < 0.3


def test_edges_of_uniform_images() -> None:
    """A uniform image keeps all edges of uniform content, and none of other content."""
    assert edges(BLACK + 7, BLACK) == 1.0
    assert edges(BLACK, CAT) == edges(CAT, BLACK) == 0.0


# --- MetricSuite ----------------------------------------------------------------------------------


def test_metrics_against_the_content_need_a_content(suite: MetricSuite) -> None:
    """Without a content, metrics against it are left out; the order is that of `METRICS`."""
    assert list(suite.score(CUP, CAT, BLACK)) == list(METRICS)
    assert set(METRICS) - set(suite.score(CUP, CAT)) == {"edges"}
    assert suite.score(CUP, CAT, CUP)["edges"] == pytest.approx(1)


def test_scores_do_not_depend_on_other_images(suite: MetricSuite) -> None:
    """An image has the same scores together with images of other sizes and alone."""
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
def test_only_needed_weights_are_loaded(
    metrics: tuple[str, ...], read: tuple[str, ...], weights: Mapping[str, Weights]
) -> None:
    """A suite loads the weights of its metrics and no others."""
    requested: list[str] = []

    def load(name: str) -> Weights:
        requested.append(name)
        return weights[name]

    assert tuple(MetricSuite.load(load, metrics=metrics).measures) == metrics
    assert tuple(requested) == weights_of(metrics) == read


def test_metrics_against_the_content_are_not_objectives() -> None:
    """A metric against the content is not an objective: the content itself has the best score."""
    assert set(METRICS) - set(OBJECTIVES) == {"edges"}
    assert with_default(["rmse"]) == DEFAULT_METRICS
    assert "dists" not in DEFAULT_METRICS
