"""A preset at larger sizes than it was tuned at: what the correction for size is worth.

The look is said to be kept when the larger result, scaled down, is near the tuned one. `as it is`
changes the size alone; `sizes` goes through the tuned size first; `corrected` is what `stylize
--preset --size-px` does: `sizes`, and total variation weighed to count the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from statistics import median
from typing import Annotated

import typer
from torch import Tensor

from benchmarks.common import (
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
from benchmarks.runs import weights_of_a_job
from nst_core.config import StyleConfig
from nst_core.images import resize, to_uint8
from nst_core.metrics import Judge
from nst_core.resolution import at_size
from nst_core.stylization import default_device, stylize
from nst_core.weights import get_weights
from search_spaces import CATALOGUE

FACTORS = (1.5, 2.0)
STEPS = 120
WAYS = ("as it is", "sizes", "corrected")
#: The look is kept below this; a column says how far the untouched photo is, to compare with.
MOST_LPIPS = 0.15


def main(
    pair: PairsOption = None,
    size_px: Annotated[int, typer.Option(help="longer side at which presets are tuned")] = 128,
    quick: QuickOption = False,
    json_file: JsonOption = None,
) -> None:
    """Compare larger results, scaled down, with the tuned ones."""
    weights = weights_of_a_job()
    judge = Judge.load(weights.__getitem__, default_device(), metrics=("lpips",))
    starts = CATALOGUE["gram"].starts
    presets = {
        f"start {index}": CATALOGUE["gram"].build(start, size_px=size_px, steps=STEPS)
        for index, start in enumerate(starts[:1] if quick else starts, 1)
    }
    cases = list(itertools.product(pairs_from(pair, count=1 if quick else 3), presets.items()))
    with progress() as bar:
        rows = [
            row
            for one, (name, tuned) in bar.track(cases)
            for row in rows_of(one, name, tuned, judge)
        ]
    publish(
        "Larger than tuned",
        f"LPIPS between the result at {size_px} px and a larger one scaled down to it.",
        [
            Section(title="The median of all", rows=list(medians(rows))),
            Section(title="Each", rows=rows),
        ],
        goals=[
            Goal(
                name=f"LPIPS at {factor:g} times the size, median",
                value=median(row["corrected"] for row in rows if row["times"] == factor),
                goal=MOST_LPIPS,
                at_most=True,
            )
            for factor in FACTORS
        ],
        json_file=json_file,
    )


def medians(rows: list[Row]) -> Iterator[Row]:
    """One row a factor."""
    for factor in FACTORS:
        some = [row for row in rows if row["times"] == factor]
        columns = (*WAYS, "untouched photo")
        yield {"times": factor, **{name: median(row[name] for row in some) for name in columns}}


def rows_of(pair: Pair, name: str, tuned: StyleConfig, judge: Judge) -> list[Row]:
    """How far larger results are from the tuned one, by each way."""
    looked_for = result(pair, tuned)
    rows = []
    for factor in FACTORS:
        corrected, _ = at_size(tuned, round(tuned.size_px * factor))
        configs = {
            "as it is": tuned.replace(size_px=corrected.size_px),
            "sizes": corrected.replace(tv_weight=tuned.tv_weight),
            "corrected": corrected,
        }
        found = {way: result(pair, config) for way, config in configs.items()}
        found["untouched photo"] = pair.content_3HW
        row: Row = {"pair": pair.name, "preset": name, "times": factor}
        for way, image_3HW in found.items():
            smaller = to_uint8(resize(image_3HW, *looked_for.shape[1:]))
            row[way] = judge.score(smaller, to_uint8(looked_for))["lpips"]
        rows.append(row)
    return rows


def result(pair: Pair, config: StyleConfig) -> Tensor:
    """What a configuration makes of a pair, image_3HW."""
    *_, last = stylize(config, pair.content_3HW, [(pair.style_3HW, 1.0)], weights=get_weights)
    return last.image_3HW


if __name__ == "__main__":
    run(main)
