"""Exactness: metrics equal scikit-image's and OpenCV's on a hundred pictures."""

from collections.abc import Iterator

import numpy as np
import pytest
import skimage.data
import torch

from benchmarks.support.array_metrics import ARRAY_METRICS
from nst_core.metrics.measure import levels
from nst_core.metrics.suite import MEASURES, MetricSuite

#: Largest difference of a score: rounding of float64 and of float32, and for `color` also pixels
#: that rounding moves to the next of the bins, which are 0.25 Lab units wide.
TOLERANCE = {"rmse": 1e-12, "psnr": 1e-9, "ssim": 1e-9, "edges": 1e-5, "color": 1e-3}

PHOTOS = [skimage.data.chelsea(), skimage.data.coffee(), skimage.data.astronaut()]


def pictures() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield a hundred pictures and references: photos, noise, tints, stripes; of many sizes."""
    rng = np.random.default_rng(0)
    for index in range(100):
        height, width = rng.integers(11, 90, 2) if index % 10 else (20, 330)
        top, left = rng.integers(0, 300 - min(height, 290)), rng.integers(0, 60)
        reference = PHOTOS[index % 3][top : top + height, left : left + width]
        noise = rng.integers(0, 256, reference.shape, dtype=np.uint8)
        stripes = np.zeros_like(reference)
        stripes[:: 2 + index % 5] = rng.integers(0, 256, 3)
        kinds = (
            noise,
            reference // 2 + noise // 2,
            reference[::-1],
            255 - reference,
            stripes,
            np.full_like(reference, index),
            reference // (2 + index % 7),
        )
        yield kinds[index % len(kinds)], reference


@pytest.mark.parametrize("metric", ARRAY_METRICS)
def test_scores_equal_those_of_arrays(metric: str) -> None:
    """On a hundred pictures, a metric differs from scikit-image's and OpenCV's by its tolerance."""
    worst = 0.0
    for image, reference in pictures():
        expected = ARRAY_METRICS[metric](image, reference)
        worst = max(worst, abs(MEASURES[metric]()(image, reference) - expected))
    assert worst <= TOLERANCE[metric]


@pytest.mark.parametrize("metric", ARRAY_METRICS)
def test_a_batch_has_the_scores_of_its_images(metric: str) -> None:
    """Images that are scored together have the same scores as alone."""
    reference = PHOTOS[0][:60, :70]
    images = [photo[:60, :70] for photo in PHOTOS] + [reference, np.zeros_like(reference)]
    measure = MEASURES[metric]()
    together = measure.scores(levels(images, torch.device("cpu")), reference).tolist()
    assert together == pytest.approx([measure(image, reference) for image in images], abs=1e-6)


def test_tensors_and_arrays_have_the_same_scores() -> None:
    """An image may be an array or a tensor, as the engine keeps it."""
    suite = MetricSuite.load({}.__getitem__, metrics=ARRAY_METRICS)
    image, reference = PHOTOS[0][:64, :64], PHOTOS[1][:64, :64]
    assert suite.score(torch.tensor(image), reference, image) == suite.score(
        image, reference, image
    )
