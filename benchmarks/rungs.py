"""How early a rung ranks configurations, and what searches lose by an early or late first rung.

Command: ``python -m benchmarks.rungs``. It decides what ``halving: {min_steps: auto}`` means
    (`tuner.search.rungs.AUTO_DIVISOR`). Everything comes from recorded curves: the rank correlation
    of recorded steps with the last one, and searches on a virtual clock that decide as in a run.
    Scores of searches are shares: 0 is the best recorded score of a pair, 1 that of the untouched
    content. `benchmarks.search` compares first rungs with the default sampler.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from statistics import mean, median, stdev
from typing import Annotated

import numpy as np
import typer
from scipy.stats import spearmanr

from benchmarks.support.common import (
    JsonOption,
    QuickOption,
    Row,
    Section,
    publish,
    run,
)
from benchmarks.support.curves import COMMITTED, Curves, load_curves
from benchmarks.support.recorded_halving import lowest_losses
from benchmarks.support.runs import REDUCTION
from benchmarks.support.simulated_searches import STEPS, WORKERS
from tuner.job.spec import HalvingSpec
from tuner.results.rung_ranking import MIN_TRIALS, POOR, RungCorrelation
from tuner.search.halving import Halving
from tuner.search.rungs import first_rung

#: Last step of a full trial.
LAST = STEPS[1]
#: First rung of ``auto``.
AUTO = first_rung(HalvingSpec(max_steps=LAST))
SEEDS, QUICK_SEEDS = 50, 2
#: Reduction factor -> first rungs.
FIRST_RUNGS: Mapping[int, Sequence[int]] = {
    REDUCTION: (5, 8, 10, 15, 20, 25, 30, 45),
    2: (5, 10, 15, 20, 30),
    4: (5, 10, 15, 20, 30),
}
QUICK_FIRST_RUNGS = (AUTO, 30)
#: Budgets of searches in full trials.
FULL_TRIALS = (3, 5, 10, 20, 30)
#: Shares of the last step at which rank correlations of shorter and longer runs are compared.
SHARES = tuple(Fraction(*share) for share in ((1, 9), (1, 6), (1, 3), (1, 2), (2, 3)))
#: Numbers of trials, and pairs of rungs, for correlations among promoted trials.
TRIALS = (24, 64, 200)
COMPARED = ((15, 45), (30, 90), (10, 90), (5, 90))
#: Number of random draws of trials for each pair and number of trials.
DRAWS = 40


def main(
    curves: Annotated[Path, typer.Option(help="recorded curves")] = COMMITTED,
    seeds: Annotated[int | None, typer.Option(min=1)] = None,
    quick: QuickOption = False,
    json_file: JsonOption = None,
) -> None:
    """Compare first rungs by how they rank and by what searches find."""
    recorded = load_curves(curves)
    count = seeds or (QUICK_SEEDS if quick else SEEDS)
    publish(
        "First rungs",
        f"{len(recorded.params)} configurations of the space `{recorded.space.name}` on"
        f" {len(recorded.pairs)} pairs, {LAST} steps at {recorded.size_px} px, LPIPS. `auto` is"
        f" {AUTO} of {LAST} steps.",
        [
            *correlation_sections(recorded),
            Section(
                title="Searches among recorded configurations",
                text=f"Configurations in random order, with their recorded scores; {count} seeds,"
                f" {WORKERS} workers. Mean best share after the steps of so many full trials."
                " Behind: mean over these budgets minus that of `auto`, with the standard error"
                " over pairs; lowest and highest of the pairs.",
                rows=recorded_rows(recorded, count, quick=quick),
            ),
        ],
        json_file=json_file,
    )


def correlation_sections(curves: Curves) -> list[Section]:
    """Return the tables about rank correlations."""
    lasts = [last for last in curves.steps if last >= LAST / 3]
    return [
        Section(
            title="Rank correlation with the last step",
            text="Spearman's rank correlation over all configurations, median and lowest of the"
            " pairs. Best tenth kept: how many of the best tenth at the last step are among the"
            f" best 1/{REDUCTION} at this step.",
            rows=[correlation_row(curves, step) for step in curves.steps[:-1]],
        ),
        Section(
            title="Shorter and longer runs",
            text="The same correlation, median of the pairs, with earlier steps as the last one."
            f" Columns are shares of the last step. All trials were planned for {LAST} steps.",
            rows=[length_row(curves, last) for last in lasts],
        ),
        Section(
            title="Among promoted trials",
            text="Rank correlation of two rungs over all configurations, and what a run sees of it:"
            f" over the best 1/{REDUCTION} of so many random ones. Last columns: how often that is"
            f" below {POOR}, and how often a run would warn.",
            rows=[promoted_row(curves, *rungs, count) for rungs in COMPARED for count in TRIALS],
        ),
    ]


def _scores(curves: Curves, step: int) -> list[np.ndarray]:
    """Return LPIPS of all configurations that never diverged at a step, by pair."""
    index, metric = list(curves.steps).index(step), list(curves.metrics).index("lpips")
    return [pair.score_NSM[pair.known_N, index, metric] for pair in curves.pairs.values()]


def _spearman(first_N: np.ndarray, last_N: np.ndarray) -> float:
    return float(spearmanr(first_N, last_N).statistic)


def _by_pair(
    measure: Callable[[np.ndarray, np.ndarray], float], curves: Curves, step: int, last: int
) -> list[float]:
    """Return what a function measures of the scores at two steps, for each pair."""
    return list(map(measure, _scores(curves, step), _scores(curves, last)))


def correlation_row(curves: Curves, step: int) -> Row:
    """Return how well a recorded step ranks the configurations, compared with the last step."""
    correlations = _by_pair(_spearman, curves, step, LAST)
    return {
        "steps": step,
        "share": f"{step / LAST:.2f}",
        "median": median(correlations),
        "lowest": min(correlations),
        "best tenth kept": mean(_by_pair(_kept, curves, step, LAST)),
    }


def _kept(scores_N: np.ndarray, last_N: np.ndarray) -> float:
    """Return the share of the best tenth by ``last_N`` among the best 1/`REDUCTION` earlier."""
    best_N = np.argsort(last_N)[: len(last_N) // 10]
    kept_N = np.argsort(scores_N)[: len(scores_N) // REDUCTION]
    return float(np.isin(best_N, kept_N).mean())


def length_row(curves: Curves, last: int) -> Row:
    """Return the median correlation at each of `SHARES` of ``last`` that was recorded."""
    row: Row = {"last step": last}
    for share in SHARES:
        step = share * last
        known = step in curves.steps
        row[str(share)] = median(_by_pair(_spearman, curves, int(step), last)) if known else ""
    return row


def promoted_row(curves: Curves, step: int, later: int, trials: int) -> Row:
    """Return the correlation of two rungs over all trials, and over the promoted of some trials."""
    generator = np.random.default_rng(0)
    kept = max(MIN_TRIALS, trials // REDUCTION)

    def promoted(first_N: np.ndarray, later_N: np.ndarray) -> float:
        drawn_T = generator.choice(len(first_N), trials)
        best_K = drawn_T[np.argsort(first_N[drawn_T])[:kept]]
        return _spearman(first_N[best_K], later_N[best_K])

    def warns(correlation: float) -> bool:
        rungs = RungCorrelation(
            steps=step, later=later, correlation=correlation, trials=kept, reported=trials
        )
        return rungs.poor

    seen = [value for _ in range(DRAWS) for value in _by_pair(promoted, curves, step, later)]
    return {
        "rungs": f"{step}, {later}",
        "trials": trials,
        "promoted": kept,
        "over all": median(_by_pair(_spearman, curves, step, later)),
        "over promoted, median": median(seen),
        f"below {POOR}": mean(value < POOR for value in seen),
        "warns": mean(map(warns, seen)),
    }


def recorded_rows(curves: Curves, seeds: int, *, quick: bool) -> list[Row]:
    """Return one row per reduction factor and first rung of searches among the recorded."""
    rows: list[Row] = []
    for reduction, firsts in FIRST_RUNGS.items():
        chosen = QUICK_FIRST_RUNGS if quick else firsts
        shares = {first: _recorded_shares(curves, seeds, first, reduction) for first in chosen}
        for first, share_PB in shares.items():
            behind_P = (share_PB - shares[AUTO]).mean(1)
            error = stdev(behind_P) / len(behind_P) ** 0.5
            rows.append(
                {
                    "reduction": reduction,
                    "first rung": first,
                    "share": f"{first / LAST:.2f}",
                    **dict(zip(map(_trials, FULL_TRIALS), share_PB.mean(0).tolist(), strict=True)),
                    "behind": f"{behind_P.mean():.3f} ± {error:.3f}",
                    "by pair": f"{behind_P.min():.3f} to {behind_P.max():.3f}",
                }
            )
    return rows


def _recorded_shares(curves: Curves, seeds: int, first: int, reduction: int) -> np.ndarray:
    """Return share_PB: the mean best share over seeds, by pair and budget."""
    halving = Halving(rule="promote", min_steps=first, reduction=reduction)
    metric = list(curves.metrics).index("lpips")
    share_PB = []
    for pair in curves.pairs.values():
        score_NS = pair.score_NSM[pair.known_N, :, metric]
        best = score_NS.min()
        share_NS = (score_NS - best) / (pair.untouched["lpips"] - best)
        search = partial(
            lowest_losses,
            share_NS,
            curves.steps,
            halving,
            budgets=[count * LAST for count in FULL_TRIALS],
            workers=WORKERS,
        )
        share_PB.append(np.mean([search(seed=seed) for seed in range(seeds)], axis=0))
    return np.array(share_PB)


def _trials(count: int) -> str:
    return f"{count} trials"


if __name__ == "__main__":
    run(main)
