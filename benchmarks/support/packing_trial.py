"""A whole trial in its own process, for `benchmarks.packing`."""

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

#: Key of the time at which a trial ended, in seconds on a clock that all processes share.
ENDED_S = "ended_s"


@dataclass(frozen=True, kw_only=True)
class Task:
    """Images of every trial, uint8, which are small to send to processes."""

    size_px: int
    content_HW3: np.ndarray
    style_HW3: np.ndarray
    reference_HW3: np.ndarray

    @classmethod
    def of(cls, pair: Pair, size_px: int) -> Task:
        """Return the task of a pair at a size."""
        return cls(
            size_px=size_px,
            content_HW3=to_uint8(pair.content_3HW),
            style_HW3=to_uint8(pair.style_3HW),
            reference_HW3=to_uint8(pair.reference(size_px)),
        )


@dataclass(frozen=True, kw_only=True)
class _Process:
    """Objects that a process uses for all its trials."""

    store: FeatureStore
    inputs: LossInputs
    reference_HW3: np.ndarray
    content_HW3: np.ndarray
    suite: MetricSuite


_process: list[_Process] = []


def set_up(task: Task, threads: int) -> None:
    """Load weights and images in a new process."""
    torch.set_num_threads(threads)
    device = default_device()
    weights = weights_of_a_job()
    style = from_uint8(task.style_HW3)
    inputs = LossInputs.at_size(from_uint8(task.content_HW3), [(style, 1.0)], task.size_px)
    _process[:] = [
        _Process(
            store=FeatureStore(weights.__getitem__, device),
            inputs=inputs,
            reference_HW3=task.reference_HW3,
            content_HW3=to_uint8(inputs.content_3HW),
            suite=MetricSuite.load(weights.__getitem__, device),
        )
    ]


def run_trial(values: Mapping[str, Any]) -> dict[str, float]:
    """Run a configuration to its end; return its scores and, as `ENDED_S`, the time of its end."""
    (process,) = _process
    config = StyleConfig.from_dict(values, source="trial")
    *_, last = advance(process.store, config, process.inputs, every=config.steps)
    image_HW3 = to_uint8(last.image_3HW)
    scores = process.suite.score(image_HW3, process.reference_HW3, process.content_HW3)
    return {**scores, ENDED_S: time.perf_counter()}
