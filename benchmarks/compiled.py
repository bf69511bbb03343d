"""Time of recorded steps against eager ones: CUDA graphs on a GPU, torch.compile on a CPU.

Command: ``python -m benchmarks.compiled``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from unittest import mock

import torch
from torch import Tensor

from benchmarks.step import timed
from benchmarks.support.common import (
    JsonOption,
    QuickOption,
    Row,
    Section,
    pairs_from,
    progress,
    publish,
    run,
    square,
)
from nst_core.config import StyleConfig
from nst_core.lanes.batch import LaneBatch
from nst_core.lanes.bucket import Buckets
from nst_core.lanes.step_graph import StepGraphs
from nst_core.losses.inputs import LossInputs
from nst_core.losses.targets import FeatureStore
from nst_core.networks import winograd
from nst_core.networks.weights import get_weights
from nst_core.stylization import default_device

#: (longer side, lanes).
CASES = ((64, 1), (64, 8), (96, 1), (96, 4), (256, 1), (256, 4))
QUICK_CASES = ((64, 1), (96, 4))
TURNS, QUICK_TURNS = 5, 3
STEPS = 3


def main(quick: QuickOption = False, json_file: JsonOption = None) -> None:
    """Measure eager and recorded steps of the same lanes alternately, and the cost of recording."""
    device = default_device()
    recorder = "a CUDA graph" if device.type == "cuda" else "torch.compile"
    weights = {"vgg16": get_weights("vgg16")}
    (pair,) = pairs_from(None, count=1)
    rows: list[Row] = []
    with progress() as bar:
        for side, lanes in bar.track(QUICK_CASES if quick else CASES):
            pictures = (square(pair.content_3HW, side), square(pair.style_3HW, side))
            row = compared(weights, pictures, lanes, device, QUICK_TURNS if quick else TURNS)
            rows.append({"size px": side, "lanes": lanes, **row})
    publish(
        "Recorded steps",
        f"One Adam step on VGG16, float32, eager and as {recorder}; the median of"
        " alternating measurements. `pays after`: steps until recording has saved more time than it"
        " took.",
        [Section(title="Steps", rows=rows)],
        json_file=json_file,
    )


def compared(
    weights: Mapping[str, Mapping[str, Tensor]],
    pictures: tuple[Tensor, Tensor],
    lanes: int,
    device: torch.device,
    turns: int,
) -> Row:
    """Return milliseconds of an eager and of a recorded step, and seconds of recording."""
    eager = step_of(weights, pictures, lanes, device, graphs=None)
    record = None if device.type == "cuda" else compiled
    recorded = step_of(weights, pictures, lanes, device, StepGraphs(record, eager_steps=1))
    eager(), recorded()
    started = time.perf_counter()
    recorded()
    recording_s = time.perf_counter() - started
    seconds: list[list[float]] = [[], []]
    for _ in range(turns):
        for way, taken in zip((eager, recorded), seconds, strict=True):
            taken.append(timed(way, STEPS, device))
    eager_s, recorded_s = map(median, seconds)
    return {
        "eager ms": 1000 * eager_s,
        "recorded ms": 1000 * recorded_s,
        "× faster": eager_s / recorded_s,
        "recording s": recording_s,
        "pays after": recording_s / (eager_s - recorded_s) if recorded_s < eager_s else "never",
    }


def step_of(
    weights: Mapping[str, Mapping[str, Tensor]],
    pictures: tuple[Tensor, Tensor],
    lanes: int,
    device: torch.device,
    graphs: StepGraphs | None,
) -> Callable[[], object]:
    """Return a function that takes one step of a batch."""
    store = FeatureStore(weights.__getitem__, device)
    content, style = pictures
    inputs = LossInputs.at_size(content, [(style, 1.0)], content.shape[2])
    batch = LaneBatch(store, Buckets(store, graphs))
    for lane in range(lanes):
        batch.add(lane, StyleConfig(lr=0.01 + 0.01 * lane, steps=100_000), inputs)
    return lambda: batch.advance(1)


def compiled(
    function: Callable[[Sequence[Tensor]], list[Tensor]], fixed: Sequence[Tensor]
) -> Callable[[], list[Tensor]]:
    """Trace a step with its backward pass, and compile the operations with Inductor.

    Convolutions are direct ones: Inductor fails on the strides of Winograd tiles.
    """
    from torch.fx.experimental.proxy_tensor import make_fx

    copies = [tensor.clone() for tensor in fixed]
    with mock.patch.object(winograd, "LEAST_TILES", sys.maxsize):
        traced = make_fx(lambda *tensors: function(tensors))(*copies)
    program = torch.compile(traced)
    program(*copies)
    return lambda: list(program(*fixed))


if __name__ == "__main__":
    run(main)
