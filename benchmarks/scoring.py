"""Time to score one image: metrics in torch against scikit-image and OpenCV, and with networks.

Command: ``python -m benchmarks.scoring``. Both ways compute the same values; `lpips` is the same
network in both. Metrics that use a network are compared with `lpips`. On a CPU, every image is
scored alone and on one thread, as beside the lanes of an engine. On a GPU, the metrics in torch
score a batch there, and the others still use the CPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import geometric_mean, median

import numpy as np
import torch

from benchmarks.support.array_metrics import ARRAY_METRICS, color_from_shares, color_shares
from benchmarks.support.common import (
    Goal,
    JsonOption,
    Pair,
    QuickOption,
    Row,
    Section,
    err,
    on_one_thread,
    pairs_from,
    publish,
    run,
    square,
)
from nst_core.images.tensors import to_levels, to_uint8
from nst_core.metrics.measure import levels
from nst_core.metrics.registry import METRICS, weights_of
from nst_core.metrics.suite import MEASURES, MetricSuite
from nst_core.networks.weights import Weights, get_weights
from nst_core.stylization import default_device

SIZES = (256, 512)
#: Number of images that are scored together, by device.
IMAGES = {"cpu": 1, "cuda": 16}
#: How time is measured, by device.
CLOCK = {
    "cpu": "Time of the processor, so that other programs on the machine count little.",
    "cuda": "Time on the clock, until the GPU is done.",
}
TURNS, QUICK_TURNS = 15, 3


def main(quick: QuickOption = False, json_file: JsonOption = None) -> None:
    """Compare the times of each metric and of all default metrics."""
    on_one_thread()
    (pair,) = pairs_from(None, count=1)
    weights = {name: get_weights(name) for name in weights_of(METRICS)}
    sides, turns = SIZES[: 1 if quick else None], QUICK_TURNS if quick else TURNS
    rows, network_rows = (
        [{"size px": side, **row} for side in sides for row in rows_of(pair, side, weights, turns)]
        for rows_of in (compared, with_networks)
    )
    totals = [row["× faster"] for row in rows if row["metric"] == ALL]
    publish(
        "Scoring",
        f"Milliseconds for one image, {IMAGES[default_device().type]} at a time in torch; the"
        " median of alternating turns. Features of the reference are cached where the engine caches"
        " them."
        f" {CLOCK[default_device().type]}",
        [
            Section(title="Metrics", rows=rows),
            Section(title="Metrics that use a network", rows=network_rows),
        ],
        goals=[Goal(name="× faster, all default metrics", value=geometric_mean(totals), goal=1.0)],
        json_file=json_file,
    )


ALL = "all default metrics"


def compared(pair: Pair, side: int, weights: dict[str, Weights], turns: int) -> list[Row]:
    """Return a row for each metric without a network, and one for all default metrics."""
    err.print(f"{side} px")
    device, count = default_device(), IMAGES[default_device().type]
    content_3HW, style_3HW = (square(i, side) for i in (pair.content_3HW, pair.style_3HW))
    image_3HW = (content_3HW + style_3HW) / 2
    image, reference, content = map(to_uint8, (image_3HW, style_3HW, content_3HW))
    on_device = [to_levels(image_3HW.to(device))] * count
    level_N3HW = levels(on_device, device)
    goals = {name: content if name == "edges" else reference for name in ARRAY_METRICS}
    array_ways = _array_ways(image, goals)
    rows = []
    for name, goal in goals.items():
        measure = MEASURES[name](device=device)
        ways = (array_ways[name], lambda m=measure, g=goal: m.scores(level_N3HW, g))
        rows.append({"metric": name, **_times(ways, count, turns)})
    suite = MetricSuite.load(weights.__getitem__, device)
    lpips = MetricSuite.load(weights.__getitem__, metrics=["lpips"])
    references, contents = [reference] * count, [content] * count
    everything = (
        lambda: (lpips.score(image, reference), [way() for way in array_ways.values()]),
        lambda: suite.measure(on_device, references, contents),
    )
    return [*rows, {"metric": ALL, **_times(everything, count, turns)}]


def with_networks(pair: Pair, side: int, weights: dict[str, Weights], turns: int) -> list[Row]:
    """Return a row for each metric with a network: its time, and how often `lpips` fits into it."""
    device, count = default_device(), IMAGES[default_device().type]
    content_3HW, style_3HW = (square(i, side) for i in (pair.content_3HW, pair.style_3HW))
    reference = to_uint8(style_3HW)
    level_N3HW = levels([to_levels(((content_3HW + style_3HW) / 2).to(device))] * count, device)
    names = [name for name, metric in METRICS.items() if metric.weights]
    suite = MetricSuite.load(weights.__getitem__, device, metrics=names)
    ways = [partial(suite.measures[name].scores, level_N3HW, reference) for name in names]
    ms_of = {n: 1e3 * s / count for n, s in zip(names, _medians(ways, turns), strict=True)}
    return [
        {"metric": name, "torch ms": ms, "× lpips": ms / ms_of["lpips"]}
        for name, ms in ms_of.items()
    ]


def _array_ways(image: np.ndarray, goals: dict[str, np.ndarray]) -> dict[str, Callable[[], object]]:
    """Return a function for each metric that scores one image with scikit-image or OpenCV."""
    ways: dict[str, Callable[[], object]] = {
        name: partial(ARRAY_METRICS[name], image, goal) for name, goal in goals.items()
    }
    shares = color_shares(goals["color"])
    return {**ways, "color": lambda: color_from_shares(color_shares(image), shares)}


def _times(ways: Sequence[Callable[[], object]], count: int, turns: int) -> Row:
    """Return the times of one image of both ways; the second way scores ``count`` at once."""
    arrays, in_torch = _medians(ways, turns)
    in_torch /= count
    return {"arrays ms": 1e3 * arrays, "torch ms": 1e3 * in_torch, "× faster": arrays / in_torch}


def _medians(ways: Sequence[Callable[[], object]], turns: int) -> list[float]:
    """Return the median time of each way in seconds; the ways take turns."""
    seconds: list[list[float]] = [[] for _ in ways]
    for turn in range(turns + 1):
        for times, way in zip(seconds, ways, strict=True):
            spent = _seconds(way)
            if turn:  # the first turn fills caches
                times.append(spent)
    return [median(times) for times in seconds]


def _seconds(way: Callable[[], object]) -> float:
    on_gpu = default_device().type == "cuda"
    clock = time.perf_counter if on_gpu else time.process_time
    started = clock()
    way()
    if on_gpu:
        torch.cuda.synchronize()
    return clock() - started


if __name__ == "__main__":
    run(main)
