"""Arithmetic rate of a batched step against a large matrix product, and the profile of a step.

Command: ``python -m benchmarks.roofline``.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import median
from typing import Annotated
from unittest import mock

import torch
import typer
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.step import ours as our_step
from benchmarks.step import timed
from benchmarks.support.common import (
    Goal,
    JsonOption,
    QuickOption,
    Row,
    Section,
    err,
    pairs_from,
    publish,
    run,
    square,
)
from nst_core.errors import InputError
from nst_core.losses.targets import FeatureStore
from nst_core.networks import winograd
from nst_core.networks.precision_support import has_bfloat16
from nst_core.networks.weights import get_weights
from nst_core.stylization import default_device

#: Measured cases (longer side, lanes), by device and by whether the run is a quick one.
CASES: dict[str, dict[bool, Sequence[tuple[int, int]]]] = {
    "cpu": {
        False: ((96, 1), (96, 4), (256, 1), (256, 4), (512, 1)),
        True: ((96, 4), (256, 1)),
    },
    "cuda": {
        False: ((256, 1), (256, 16), (256, 64), (512, 1), (512, 8), (512, 16)),
        True: ((256, 16), (512, 8)),
    },
}

#: Number of rows and columns of the matrices, by device.
MATRIX = {"cpu": 3072, "cuda": 8192}
TURNS, QUICK_TURNS = 7, 3

#: Operators with a smaller share of the time are summed up as "the rest".
MIN_SHARE = 0.02


def main(
    case: Annotated[
        list[str] | None, typer.Option(help="SIZE,LANES, such as 256,4; repeatable")
    ] = None,
    quick: QuickOption = False,
    json_file: JsonOption = None,
) -> None:
    """Compare the FLOP/s of steps with those of a matrix product."""
    device = default_device()
    cases = [_case(text) for text in case or ()] or CASES[device.type][quick]
    precision = "bfloat16" if has_bfloat16(device) else "float32"
    store = FeatureStore({"vgg16": get_weights("vgg16")}.__getitem__, device)
    (pair,) = pairs_from(None, count=1)
    rows, parts = [], []
    for side, lanes in cases:
        err.print(f"{side} px, {lanes} lanes")
        pictures = (square(pair.content_3HW, side), square(pair.style_3HW, side))
        step = our_step(*pictures, precision, lanes, store)
        row = compared(step, precision, device, QUICK_TURNS if quick else TURNS)
        rows.append({"size px": side, "lanes": lanes, "type": precision, **row})
        parts += [{"size px": side, "lanes": lanes, **part} for part in where_time_goes(step)]
    shares = {(row["size px"], row["lanes"]): row["of the product"] for row in rows}
    goals = []
    if device.type == "cuda":
        best = max((share for (side, _), share in shares.items() if side == 512), default=0.0)
        goals = [Goal(name="share of the product's FLOP/s at 512 px", value=best, goal=0.5)]
    publish(
        "Roofline",
        "One Adam step on VGG16, forward and backward, its arithmetic counted with"
        " `torch.utils.flop_counter` as that of direct convolutions; the matrix product has"
        f" {MATRIX[device.type]} rows and columns; the median of alternating measurements.",
        [
            Section(title="Achieved", rows=rows),
            Section(
                title="Where the time goes",
                rows=parts,
                text="Operators by their own time, as `torch.profiler` sees it.",
            ),
        ],
        goals=goals,
        json_file=json_file,
    )


def _case(text: str) -> tuple[int, int]:
    try:
        side, lanes = map(int, text.split(","))
    except ValueError:
        raise InputError(f"--case {text}: expected SIZE,LANES, such as 256,4") from None
    return side, lanes


def compared(step: Callable[[], object], precision: str, device: torch.device, turns: int) -> Row:
    """Return the FLOP/s of a step and of the product, measured alternately."""
    edge = MATRIX[device.type]
    left, right = (
        torch.rand(edge, edge, device=device, dtype=getattr(torch, precision)) for _ in range(2)
    )
    # Operations are counted with direct convolutions, so that the count does not depend on how
    # convolutions are computed.
    with mock.patch.object(winograd, "LEAST_TILES", sys.maxsize):
        step()
        with FlopCounterMode(display=False) as counter:
            step()
    flop = counter.get_total_flops()
    calls = {
        step: (flop, 4),
        (lambda: left @ right): (2 * edge**3, 1),
    }
    rates: list[list[float]] = [[], []]
    for _ in range(turns):
        for place, (call, (each, times)) in enumerate(calls.items()):
            rates[place].append(each / timed(call, times, device))
    achieved, product = map(median, rates)
    return {
        "GFLOP of a step": flop / 1e9,
        "GFLOP/s": achieved / 1e9,
        "GFLOP/s of the product": product / 1e9,
        "of the product": achieved / product,
    }


def where_time_goes(step: Callable[[], object], steps: int = 3) -> list[Row]:
    """Return the share of each operator in the time of a step."""
    cuda = default_device().type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities) as profiled:
        for _ in range(steps):
            step()
        if cuda:
            torch.cuda.synchronize()
    spent: Counter[str] = Counter()
    for event in profiled.key_averages():
        own = event.self_device_time_total if cuda else event.self_cpu_time_total
        spent[event.key] += own
    total = sum(spent.values())
    rows = [(name, own) for name, own in spent.most_common() if own >= MIN_SHARE * total]
    rest = total - sum(own for _, own in rows)
    return [{"operator": name, "share": own / total} for name, own in [*rows, ("the rest", rest)]]


if __name__ == "__main__":
    run(main)
