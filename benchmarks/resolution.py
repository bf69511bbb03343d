"""A preset at larger sizes than it was tuned at: what the correction for size is worth.

The look is said to be kept when the larger result, scaled down, is near the tuned one. `as it is`
changes the size alone; `corrected` is what `stylize --preset --size-px` does, going through the
tuned size first; `TV weighed up` does so with a total variation that counts as much at the larger
size.
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
#: As many as a result needs that shows the style; all cases then take a quarter of an hour at most.
STEPS = 60
#: Of the starts of `gram`, by number: one without total variation and one with it.
STARTS = (1, 2)
#: The one that shows what every correction is worth.
QUICK_STARTS = (2,)
WAYS = ("as it is", "corrected", "TV weighed up")
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
    gram = CATALOGUE["gram"]
    presets = {
        f"start {number}": gram.build(gram.starts[number - 1], size_px=size_px, steps=STEPS)
        for number in (QUICK_STARTS if quick else STARTS)
    }
    pairs = pairs_from(pair, count=1 if quick else 3)
    cases = list(itertools.product(pairs, presets.items()))
    with progress() as bar:
        rows = [
            row
            for one, (name, tuned) in bar.track(cases)
            for row in rows_of(one, name, tuned, judge)
        ]
    publish(
        "Larger than tuned",
        f"LPIPS between the result at {size_px} px and a larger one scaled down to it."
        f" {extent(len(pairs), len(presets), quick=quick)}",
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


def extent(pairs: int, starts: int, *, quick: bool) -> str:
    """How much was measured, in a sentence."""
    form = "The quick form, from which nothing follows" if quick else "The full form"
    count = f"{pairs} pair{'s' * (pairs > 1)}, {starts} start{'s' * (starts > 1)} of `gram`"
    return f"{form}: {count}, {STEPS} steps at the tuned size."


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
        # So that the term has the value that it had on the picture scaled up.
        power = 2 if tuned.tv_norm == "l2" else 1
        smoother = corrected.replace(tv_weight=tuned.tv_weight * factor**power)
        found = {
            "as it is": result(pair, tuned.replace(size_px=corrected.size_px)),
            "corrected": result(pair, corrected),
        }
        same = smoother == corrected
        found["TV weighed up"] = found["corrected"] if same else result(pair, smoother)
        found["untouched photo"] = pair.content_3HW
        row: Row = {"pair": pair.name, "preset": name, "TV": tuned.tv_weight, "times": factor}
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
