"""One whole trial in a process of its own, as the rivals of `benchmarks.packing` run it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from benchmarks.support.common import Pair
from benchmarks.support.runs import weights_of_a_job
from nst_core.config import StyleConfig
from nst_core.images.tensors import from_uint8, to_uint8
from nst_core.losses.inputs import LossInputs
from nst_core.losses.targets import FeatureStore
from nst_core.metrics.suite import MetricSuite
from nst_core.stylization import advance, default_device

#: Seconds on the clock that all processes of a machine share.
ENDED_S = "ended_s"


@dataclass(frozen=True, kw_only=True)
class Task:
    """What every trial works on: 8-bit pictures, which travel to processes cheaply."""

    size_px: int
    content_HW3: np.ndarray
    style_HW3: np.ndarray
    reference_HW3: np.ndarray

    @classmethod
    def of(cls, pair: Pair, size_px: int) -> Task:
        """The task of a pair at a size."""
        return cls(
            size_px=size_px,
            content_HW3=to_uint8(pair.content_3HW),
            style_HW3=to_uint8(pair.style_3HW),
            reference_HW3=to_uint8(pair.reference(size_px)),
        )


@dataclass(frozen=True, kw_only=True)
class _Ready:
    """What a process keeps from trial to trial."""

    store: FeatureStore
    materials: LossInputs
    reference_HW3: np.ndarray
    content_HW3: np.ndarray
    judge: MetricSuite


_ready: list[_Ready] = []


def set_up(task: Task, threads: int) -> None:
    """Load weights and pictures."""
    torch.set_num_threads(threads)
    device = default_device()
    weights = weights_of_a_job()
    style = from_uint8(task.style_HW3)
    materials = LossInputs.at_size(from_uint8(task.content_HW3), [(style, 1.0)], task.size_px)
    _ready[:] = [
        _Ready(
            store=FeatureStore(weights.__getitem__, device),
            materials=materials,
            reference_HW3=task.reference_HW3,
            content_HW3=to_uint8(materials.content_3HW),
            judge=MetricSuite.load(weights.__getitem__, device),
        )
    ]


def run_trial(values: Mapping[str, Any]) -> dict[str, float]:
    """Run a configuration to its end; returns its scores and, as `ENDED_S`, when it ended."""
    (ready,) = _ready
    config = StyleConfig.from_dict(values, source="trial")
    *_, last = advance(ready.store, config, ready.materials, every=config.steps)
    image_HW3 = to_uint8(last.image_3HW)
    scores = ready.judge.score(image_HW3, ready.reference_HW3, ready.content_HW3)
    return {**scores, ENDED_S: time.perf_counter()}
