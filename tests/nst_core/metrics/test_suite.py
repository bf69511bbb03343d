"""Metrics: range, direction, and behavior that each of them promises."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pytest
import skimage.data
import skimage.filters
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from nst_core.metrics.pixel_metrics import PSNR_CAP_DB
from nst_core.metrics.registry import (
    DEFAULT_METRICS,
    METRICS,
    OBJECTIVES,
    ON_REQUEST,
    weights_of,
    with_default,
)
from nst_core.metrics.suite import MetricSuite
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
    return suite.measures[metric](image, goal)


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
        (with_default(["stlpips"]), ("alexnet", "lpips-alex", "stlpips-alex")),
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


def test_scoring_on_a_gpu_reads_nothing_back(weights: Mapping[str, Weights]) -> None:
    """On CUDA, images that are there are scored without reading a value back to the host."""
    with FakeTensorMode(allow_non_fake_inputs=True):  # raises where a value is read, or devices mix
        suite = MetricSuite.load(weights.__getitem__, "cuda", metrics=METRICS)
        images = [torch.zeros(40, 50, 3, dtype=torch.uint8, device="cuda")] * 3
        goals = [CAT[:40, :50], CUP[:40, :50], CAT[:40, :50]]
        scores_NM = suite.measure(images, goals, goals)
    assert scores_NM.shape == (3, len(METRICS)) and scores_NM.device.type == "cuda"


def test_metrics_against_the_content_are_not_objectives() -> None:
    """A metric against the content is not an objective: the content itself has the best score."""
    assert set(METRICS) - set(OBJECTIVES) == {"edges"}
    assert with_default(["rmse"]) == DEFAULT_METRICS
    assert set(METRICS) - set(DEFAULT_METRICS) == set(ON_REQUEST) == {"stlpips", "dists"}
