"""How early a rung ranks configurations, and what searches lose by an early or late first rung.

Command: ``python -m benchmarks.rungs``. It decides what ``halving: {min_steps: auto}`` means
    (`tuner.search.rungs.AUTO_SHARE`). Everything comes from recorded curves: the rank correlation
    of each recorded step with the last one, and searches on a virtual clock that decide as in a run.
    Regrets are shares: 0 is the best recorded score of a pair, 1 that of the untouched content.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
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
    on_one_thread,
    progress,
    publish,
    run,
)
from benchmarks.support.runs import REDUCTION
from benchmarks.support.simulated_searches import STEPS, WORKERS, of_first_rung
from tuner.transfer.curves import SHIPPED, Curves, load_curves

SEEDS, QUICK_SEEDS = 10, 1
#: Last step of a full trial.
LAST = STEPS[1]
#: Kinds of search: what they choose from.
RECORDED, SAMPLED = "recorded configurations", "the default sampler"
#: Kind of search -> pairs of first rung and reduction factor. The first rung of each reduction is
#: what the others are compared with.
LADDERS: Mapping[str, Sequence[tuple[int, int]]] = {
    RECORDED: (
        *((first, REDUCTION) for first in (10, 5, 15, 20, 30, 45)),
        *((first, 2) for first in (10, 5, 20)),
        *((first, 4) for first in (10, 5, 20)),
    ),
    SAMPLED: tuple((first, REDUCTION) for first in (10, 5, 15, 20, 30)),
}
QUICK_LADDERS = dict.fromkeys(LADDERS, ((10, REDUCTION), (30, REDUCTION)))
#: Budgets of searches in full trials.
FULL_TRIALS = (3, 5, 10, 20, 30)
#: Shares of the last step at which rank correlations of shorter and longer runs are compared.
SHARES = tuple(Fraction(*share) for share in ((1, 9), (1, 6), (1, 3), (1, 2), (2, 3)))

#: (kind of search, first rung, reduction) -> best share of each search at each budget.
Regrets = Mapping[tuple[str, int, int], np.ndarray]


def main(
    curves: Annotated[Path, typer.Option(help="recorded curves")] = SHIPPED,
    seeds: Annotated[int | None, typer.Option(min=1)] = None,
    quick: QuickOption = False,
    json_file: JsonOption = None,
) -> None:
    """Compare first rungs by how they rank and by what searches find."""
    count = seeds or (QUICK_SEEDS if quick else SEEDS)
    recorded = load_curves(curves)
    ladders = QUICK_LADDERS if quick else LADDERS
    names = list(recorded.pairs)[:2] if quick else list(recorded.pairs)
    regrets = measure(curves, names, ladders, count)
    publish(
        "First rungs",
        f"{len(recorded.params)} configurations of the space `{recorded.space.name}` on"
        f" {len(recorded.pairs)} pairs, {LAST} steps at {recorded.size_px} px, LPIPS. Searches:"
        f" {len(names)} pairs x {count} seeds, {WORKERS} workers, budgets in steps. Regrets are"
        " shares: 0 is the best recorded score, 1 that of the untouched content.",
        [
            Section(
                title="Rank correlation with the last step",
                text="Spearman's rank correlation over all configurations, as the median and the"
                " lowest of the pairs. Best tenth kept: how many of the best tenth at the last step"
                f" are among the best 1/{REDUCTION} at this step.",
                rows=[correlation_row(recorded, step) for step in recorded.steps[:-1]],
            ),
            Section(
                title="Shorter and longer runs",
                text="The same correlation, median of the pairs, with earlier steps as the last"
                " one. Columns are shares of the last step. All trials were planned for"
                f" {LAST} steps.",
                rows=[length_row(recorded, last) for last in recorded.steps if last >= LAST / 3],
            ),
            *(
                Section(title=f"Searches among {kind}", text=text, rows=regret_rows(regrets, kind))
                for kind, text in _TEXTS.items()
            ),
        ],
        json_file=json_file,
    )


_BEHIND = (
    "Mean best share after the steps of so many full trials. Behind: mean over these budgets minus"
    " that of the first line with the same reduction, with the standard error over pairs and seeds."
)
_TEXTS = {
    RECORDED: f"In random order, with the recorded scores: nothing is predicted. {_BEHIND}",
    SAMPLED: f"With predicted scores, which are smoother than recorded ones. {_BEHIND}",
}


def correlation_row(curves: Curves, step: int) -> Row:
    """Return how well a recorded step ranks the configurations, compared with the last step."""
    correlations = _correlations(curves, step, LAST)
    return {
        "steps": step,
        "share": f"{step / LAST:.2f}",
        "median": median(correlations),
        "lowest": min(correlations),
        "best tenth kept": mean(
            _kept(scores_N, last_N)
            for scores_N, last_N in zip(_scores(curves, step), _scores(curves, LAST), strict=True)
        ),
    }


def length_row(curves: Curves, last: int) -> Row:
    """Return the median correlation at each of `SHARES` of ``last`` that was recorded."""
    row: Row = {"last step": last}
    for share in SHARES:
        step = share * last
        recorded = step in curves.steps
        row[str(share)] = median(_correlations(curves, int(step), last)) if recorded else ""
    return row


def _scores(curves: Curves, step: int) -> list[np.ndarray]:
    """Return LPIPS of all configurations that never diverged at a step, by pair."""
    index, metric = list(curves.steps).index(step), list(curves.metrics).index("lpips")
    return [pair.score_NSM[pair.known_N, index, metric] for pair in curves.pairs.values()]


def _correlations(curves: Curves, step: int, last: int) -> list[float]:
    """Return Spearman's rank correlation between two steps on each pair."""
    return [
        float(spearmanr(scores_N, last_N).statistic)
        for scores_N, last_N in zip(_scores(curves, step), _scores(curves, last), strict=True)
    ]


def _kept(scores_N: np.ndarray, last_N: np.ndarray) -> float:
    """Return the share of the best tenth by ``last_N`` among the best 1/`REDUCTION` earlier."""
    best_N = np.argsort(last_N)[: len(last_N) // 10]
    kept_N = np.argsort(scores_N)[: len(scores_N) // REDUCTION]
    return float(np.isin(best_N, kept_N).mean())


def measure(
    curves: Path,
    names: Sequence[str],
    ladders: Mapping[str, Sequence[tuple[int, int]]],
    seeds: int,
) -> Regrets:
    """Run all searches on all cores."""
    kinds = [(kind, *ladder) for kind, of_kind in ladders.items() for ladder in of_kind]
    cases = [(name, seed) for seed in range(seeds) for name in names]
    tasks = [(*kind, *case) for kind in kinds for case in cases]
    with (
        progress() as bar,
        ProcessPoolExecutor(initializer=on_one_thread) as pool,
    ):
        done = pool.map(_task, [curves] * len(tasks), tasks, chunksize=1)
        regrets = list(bar.track(done, total=len(tasks), description="searches"))
    by_kind = np.reshape(regrets, (len(kinds), len(cases), len(FULL_TRIALS)))
    return dict(zip(kinds, by_kind, strict=True))


def _task(curves: Path, task: tuple[str, int, int, str, int]) -> list[float]:
    kind, first, reduction, pair, seed = task
    trace = of_first_rung(
        curves, pair, seed, first=first, reduction=reduction, recorded=kind == RECORDED
    )
    return [trace.best_by(count * LAST) for count in FULL_TRIALS]


def regret_rows(regrets: Regrets, kind: str) -> list[Row]:
    """Return one row per first rung and reduction factor for one kind of search."""
    rows: list[Row] = []
    base: dict[int, np.ndarray] = {}
    for (of_kind, first, reduction), share_CB in regrets.items():
        if of_kind != kind:
            continue
        behind_C = (share_CB - base.setdefault(reduction, share_CB)).mean(1)
        error = stdev(behind_C) / len(behind_C) ** 0.5
        rows.append(
            {
                "reduction": reduction,
                "first rung": first,
                "share": f"{first / LAST:.2f}",
                **dict(zip(map(_trials, FULL_TRIALS), share_CB.mean(0).tolist(), strict=True)),
                "behind": f"{behind_C.mean():.3f} ± {error:.3f}",
            }
        )
    return rows


def _trials(count: int) -> str:
    return f"{count} trials"


if __name__ == "__main__":
    run(main)
