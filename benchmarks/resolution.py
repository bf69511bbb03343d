"""Effect of each part of the correction that presets get at larger sizes than they were tuned at.

Command: ``python -m benchmarks.resolution``. A larger result keeps its look if, scaled down, it is
close to the tuned result and as far from the photo as the tuned result. If it is closer to the
photo, strokes have become a mere tint. Three ways are compared: `as it is` changes only the size;
`coarse to fine` runs at the tuned size first; `corrected` also increases the style weight, as
``stylize --preset --size-px`` does.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from torch import Tensor

from benchmarks.support.common import (
    Goal,
    JsonOption,
    Pair,
    PairsOption,
    QuickOption,
    Row,
    Section,
    pairs_from,
    progress,
    publish,
    run,
)
from benchmarks.support.runs import weights_of_a_job
from nst_core.config import StyleConfig
from nst_core.images.tensors import resize, resize_longer_side, save_image, to_uint8
from nst_core.metrics.suite import MetricSuite
from nst_core.networks.weights import get_weights
from nst_core.presets.other_sizes import at_size
from nst_core.stylization import default_device, stylize
from search_spaces import CATALOGUE

FACTORS, QUICK_FACTORS = (1.5, 2.0, 4.0), (2.0,)
#: Number of steps after which results show the style.
STEPS = 60
#: Initial points of the space `gram`, by number: without total variation, with a high learning
#: rate, with a strong style.
STARTS, QUICK_STARTS = (1, 2, 3), (2,)
WAYS = ("as it is", "coarse to fine", "corrected")
#: Largest LPIPS at which a result keeps its look. For comparison, one column has the distance of
#: the untouched photo.
MAX_LPIPS = 0.15


def main(
    pair: PairsOption = None,
    size_px: Annotated[int, typer.Option(help="longer side at which presets are tuned")] = 96,
    steps: Annotated[int, typer.Option(help="steps at the tuned size")] = STEPS,
    start: Annotated[
        list[int] | None, typer.Option(help="initial point of `gram`, by number; repeatable")
    ] = None,
    factor: Annotated[list[float] | None, typer.Option(help="times the size; repeatable")] = None,
    images: Annotated[Path | None, typer.Option(help="also save every result here")] = None,
    quick: QuickOption = False,
    json_file: JsonOption = None,
) -> None:
    """Compare larger results, scaled down, with the tuned ones and with the photo."""
    suite = MetricSuite.load(weights_of_a_job().__getitem__, default_device(), metrics=("lpips",))
    gram, factors = CATALOGUE["gram"], factor or (QUICK_FACTORS if quick else FACTORS)
    numbers = start or (QUICK_STARTS if quick else STARTS)
    presets = {
        f"start {number}": gram.build(gram.initial_points[number - 1], size_px=size_px, steps=steps)
        for number in numbers
    }
    pairs = pairs_from(pair, count=1 if quick else 3)
    cases = list(itertools.product(factors, pairs, presets.items()))
    with progress() as bar:
        rows = [
            row_of(chosen_pair, name, tuned, times, suite, images)
            for times, chosen_pair, (name, tuned) in bar.track(cases)
        ]
    publish(
        "Larger than tuned",
        f"LPIPS between the result at {size_px} px and a larger one scaled down to it, and between"
        f" either and the untouched photo. {extent(len(pairs), len(presets), steps, quick=quick)}",
        [
            Section(title="The median of all", rows=list(medians(rows, factors))),
            Section(title="Each", rows=rows),
        ],
        goals=[
            Goal(
                name=f"LPIPS at {times:g} times the size, median",
                value=median(row["corrected"] for row in rows if row["times"] == times),
                goal=MAX_LPIPS,
                at_most=True,
            )
            for times in factors
        ],
        json_file=json_file,
    )


def extent(pairs: int, starts: int, steps: int, *, quick: bool) -> str:
    """Return one sentence about the extent of the measurement."""
    form = "The quick form, too short for conclusions: " if quick else ""
    count = f"{pairs} pair{'s' * (pairs > 1)}, {starts} start{'s' * (starts > 1)} of `gram`"
    return f"{form}{count}, {steps} steps at the tuned size."


def medians(rows: list[Row], factors: tuple[float, ...] | list[float]) -> Iterator[Row]:
    """Yield one row of medians for each factor."""
    columns = [name for name in rows[0] if name not in ("pair", "preset", "times")]
    for times in factors:
        some = [row for row in rows if row["times"] == times]
        yield {"times": times, **{name: median(row[name] for row in some) for name in columns}}


def ways_of(tuned: StyleConfig, factor: float) -> Mapping[str, StyleConfig]:
    """Return the configurations that are compared at a larger size, by name."""
    corrected, _ = at_size(tuned, round(tuned.size_px * factor))
    return {
        "as it is": tuned.replace(size_px=corrected.size_px),
        "coarse to fine": corrected.replace(style_weight=tuned.style_weight),
        "corrected": corrected,
    }


def row_of(
    pair: Pair,
    name: str,
    tuned: StyleConfig,
    factor: float,
    suite: MetricSuite,
    images: Path | None,
) -> Row:
    """Return the distances of larger results to the tuned result and to the photo."""
    tuned_result = result(pair, tuned)
    results = {way: result(pair, config) for way, config in ways_of(tuned, factor).items()}
    if images:
        images.mkdir(parents=True, exist_ok=True)
        for way, image_3HW in {"tuned": tuned_result, **results}.items():
            save_image(image_3HW, images / f"{pair.name}-{name}-{factor:g}-{way}.png")

    def distance(image_3HW: Tensor, other_3HW: Tensor) -> float:
        small, goal = (to_uint8(resize(i, *tuned_result.shape[1:])) for i in (image_3HW, other_3HW))
        return suite.score(small, goal)["lpips"]

    photo = resize_longer_side(pair.content_3HW, tuned.size_px)
    row: Row = {"pair": pair.name, "preset": name, "times": factor}
    row |= {way: distance(image, tuned_result) for way, image in results.items()}
    row["tuned to photo"] = distance(tuned_result, photo)
    row |= {f"{way} to photo": distance(results[way], photo) for way in WAYS}
    return row


def result(pair: Pair, config: StyleConfig) -> Tensor:
    """Return image_3HW, the result of a configuration on a pair."""
    *_, last = stylize(config, pair.content_3HW, [(pair.style_3HW, 1.0)], weights=get_weights)
    return last.image_3HW


if __name__ == "__main__":
    run(main)
