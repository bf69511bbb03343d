"""Metrics on a device: the host queues the work, and reads scores only where they are needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from nst_core.metrics.registry import METRICS
from nst_core.metrics.suite import MetricSuite
from nst_core.networks.weights import Weights
from tests.nst_core.device_traffic import DEVICES, pretended_device, traffic_of
from tests.nst_core.lanes.test_devices import weights

__all__ = ["weights"]

#: Uploads of the first scores: the reference or the content, once for each metric.
KNOWN_UPLOADS = len(METRICS)


def check_metrics(device: str, weights: Callable[[str], Weights]) -> None:
    """Check the traffic of the scores of pictures on a device, and where the scores are."""
    reference, content = (np.zeros((64, 72, 3), dtype=np.uint8) for _ in range(2))
    with pretended_device(device):
        suite = MetricSuite.load(weights, device, metrics=METRICS)
        pictures = [torch.zeros(64, 72, 3, dtype=torch.uint8, device=device) for _ in range(3)]
        scores: list[Tensor] = []

        def score() -> None:
            scores.append(suite.measure(pictures, [reference] * 3, [content] * 3))

        found = traffic_of(score)
        assert set(found) <= {"upload"} and found["upload"] <= KNOWN_UPLOADS, found
        found = traffic_of(score)
        assert not found, found
        assert scores[1].device.type == torch.device(device).type
        assert tuple(scores[1].shape) == (3, len(METRICS))
        found = traffic_of(lambda: suite.score_all(pictures, [reference] * 3, [content] * 3))
        assert found <= Counter({"download": 1}), found


@pytest.mark.parametrize("device", DEVICES)
def test_scores_wait_for_nothing(device: str, weights: Callable[[str], Weights]) -> None:
    """Scores of pictures on the device cause no traffic once features of references are there."""
    check_metrics(device, weights)
