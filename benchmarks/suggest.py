"""Scores of the settings that `nst-tuner suggest` suggests, against the space's initial points.

Command: ``python -m benchmarks.suggest``. Suggestions for a pair learn only from recorded pairs
    that share neither its photo nor its painting.
"""

from __future__ import annotations

from pathlib import Path
from statistics import mean
from typing import Annotated

import numpy as np
import typer

from benchmarks.record import METRICS_KEPT, record
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
from benchmarks.support.runs import engine_pair, weights_of_a_job
from benchmarks.support.simulated_searches import unrelated_pairs
from nst_core.losses.inputs import LossInputs
from nst_core.metrics.suite import MetricSuite
from nst_core.stylization import default_device
from tuner.engine.pairs import baseline_scores
from tuner.transfer.curves import SHIPPED, Curves, load_curves
from tuner.transfer.picture_statistics import picture_features
from tuner.transfer.suggest import Suggestion, experiences_of, suggest_for

SIZE_PX, QUICK_SIZE_PX = 160, 64
#: Number of suggestions that are run, as many as the space has initial points.
TOP = 3


def main(
    pair: PairsOption = None,
    curves: Annotated[Path, typer.Option(help="recorded curves")] = SHIPPED,
    size_px: Annotated[int | None, typer.Option(help="longer side")] = None,
    quick: QuickOption = False,
    json_file: JsonOption = None,
) -> None:
    """Run suggestions and initial points on pairs, at another size than the recorded curves."""
    size_px = size_px or (QUICK_SIZE_PX if quick else SIZE_PX)
    recorded = load_curves(curves)
    with progress() as bar:
        pairs = pairs_from(pair, count=1 if quick else 3)
        rows = [
            row_of(chosen_pair, recorded, size_px)
            for chosen_pair in bar.track(pairs, description="pairs")
        ]
    publish(
        "Suggestions",
        f"LPIPS as a share of the untouched content's, the best of {TOP} settings within"
        f" {recorded.steps[-1]} steps, at {size_px} px; suggestions learn from"
        f" {recorded.size_px} px, from pairs with other photos and paintings.",
        [Section(title="Pairs", rows=rows)],
        goals=[
            Goal(
                name="suggested over the space's starts, mean",
                value=mean(row["suggested"] / row["starts"] for row in rows),
                goal=1.0,
                at_most=True,
            )
        ],
        json_file=json_file,
    )


def row_of(pair: Pair, curves: Curves, size_px: int) -> Row:
    """Return the table row of one pair."""
    prepared = engine_pair(pair, size_px)
    suite = MetricSuite.load(weights_of_a_job().__getitem__, default_device())
    untouched = baseline_scores([prepared], suite)[0]["content"]["lpips"]
    suggested = suggested_by_unrelated_pairs(prepared.inputs, curves, TOP)
    tried = [*(suggestion.params for suggestion in suggested), *curves.space.initial_points]
    score_NSM = record(pair, curves.space, tried, size_px)
    share_N = np.nanmin(score_NSM[:, :, METRICS_KEPT.index("lpips")], 1) / untouched
    return {
        "pair": pair.name,
        "suggested": float(share_N[:TOP].min()),
        "starts": float(share_N[TOP:].min()),
        "first suggestion": float(share_N[0]),
        "expected of it": suggested[0].share,
    }


def suggested_by_unrelated_pairs(inputs: LossInputs, curves: Curves, top: int) -> list[Suggestion]:
    """Return suggestions from recorded pairs that share neither photo nor painting."""
    features_F = np.asarray(picture_features(inputs))
    experiences = unrelated_pairs(features_F, experiences_of(curves))
    return suggest_for(features_F, experiences, curves.space, curves.kernel, top=top)


if __name__ == "__main__":
    run(main)
