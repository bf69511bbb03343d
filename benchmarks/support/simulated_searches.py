"""Simulated searches on recorded curves, for `benchmarks.search`.

Scores are shares: 0 is the best recorded score of a pair, 1 is the score of the untouched content.

In shapes, C is the number of searches (pair and seed) and S the number of step counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.support.common import Row
from benchmarks.support.curves import Curves, load_curves
from benchmarks.support.runs import REDUCTION, with_starts
from benchmarks.support.simulate import SearchTrace, simulate
from benchmarks.support.stock import simulate_stock
from search_spaces import Params, Space
from tuner.job.spec import JobSpec
from tuner.sampling import optuna_samplers as samplers

WORKERS = 8
STEPS = (5, 90)
#: Number of full trials of the random search whose score is the goal.
RANDOM_TRIALS = 100
#: Numbers of trials of stock Ray Tune; their steps are the budgets of the comparison.
BUDGETS = (10, 20, 40, 80)
#: Searches are compared after the steps of 10 and of 30 full trials.
EARLY, LATE = 10 * STEPS[1], 30 * STEPS[1]
#: Step counts of plots.
GRID_S = np.geomspace(3 * STEPS[1], LATE, 40)


@cache
def curves_at(path: Path) -> Curves:
    """Return recorded curves; a file is read once."""
    return load_curves(path)


def job_of(
    *,
    sampler: str = "tpe",
    rule: str = "promote",
    seed: int = 0,
    trials: int = 10_000,
    steps: int = 0,
    first: int = STEPS[0],
    reduction: int = REDUCTION,
) -> JobSpec:
    """Return a job with a budget of trials, or of steps that take one second each."""
    return JobSpec.model_validate(
        {
            "name": "simulated",
            "pairs": [{"content": "-", "style": "-", "reference": "-"}],
            "search": {"trials": trials, "presets": False, "sampler": sampler, "seed": seed},
            "halving": {
                "min_steps": STEPS[1] if rule == "full" else first,
                "max_steps": STEPS[1],
                "reduction": reduction,
                "rule": "none" if rule == "full" else rule,
            },
            "budget": {"engine_seconds": float(steps)} if steps else {},
            "finals": {"count": 0},
        }
    )


@dataclass(frozen=True)
class Recorded:
    """Recorded curves of one pair as a function of parameters and steps, in shares."""

    curves: Curves
    pair: str

    @property
    def space(self) -> Space:
        """The search space without initial points, which may come from this pair."""
        return with_starts(self.curves.space)

    def __call__(self, params: Params, steps: int) -> Mapping[str, float]:
        """Return the scores after some steps, with the objective as a share."""
        scores = self.curves.scores(self.pair, params, steps)
        best, untouched = self._best_and_untouched()
        return {**scores, "lpips": (scores["lpips"] - best) / (untouched - best)}

    def _best_and_untouched(self) -> tuple[float, float]:
        pair_curves = self.curves.pairs[self.pair]
        index = self.curves.metrics.index("lpips")
        return float(np.nanmin(pair_curves.score_NSM[:, :, index])), pair_curves.untouched["lpips"]


@dataclass(frozen=True, kw_only=True)
class WayResults:
    """Results of one kind of search.

    Attributes:
        early_C: best share of each search after the steps of 10 full trials.
        late_C: best share of each search after the steps of 30 full trials.
        grid_CS: best share of each search at `GRID_S`.
    """

    early_C: Sequence[float]
    late_C: Sequence[float]
    grid_CS: np.ndarray

    def behind(self, other: WayResults) -> tuple[float, float]:
        """Return the mean difference to another kind of search, and its standard error.

        The mean is over the budgets of `GRID_S`. Searches are compared by pair and seed; if one
        kind has fewer searches, they are the first ones of the other.
        """
        count = min(len(self.late_C), len(other.late_C))
        behind_C = (self.grid_CS[:count] - other.grid_CS[:count]).mean(1)
        return float(behind_C.mean()), float(behind_C.std(ddof=1) / count**0.5)


def ours(job: JobSpec, scores: Recorded) -> SearchTrace:
    """Simulate a search without presets and initial points."""
    return simulate(job, scores.space, scores, workers=WORKERS)


def compare(path: Path, pair: str, seed: int) -> dict[str, SearchTrace]:
    """Simulate ours, stock Ray Tune and a random search on one pair with one seed."""
    scores = Recorded(curves_at(path), pair)
    full = job_of(sampler="random", rule="full", seed=seed, trials=RANDOM_TRIALS)
    stock = {
        f"stock {trials}": simulate_stock(
            scores.space,
            scores,
            trials=trials,
            steps=STEPS,
            reduction=REDUCTION,
            workers=WORKERS,
            seed=seed,
        )
        for trials in BUDGETS
    }
    # As many steps as the longest of the others, so that budgets exist for all of them.
    max_steps = max(LATE, *(trace.events[-1].steps for trace in stock.values()))
    return {
        "random, full": simulate(full, scores.space, scores, workers=WORKERS),
        "ours": ours(job_of(seed=seed, steps=max_steps), scores),
        **stock,
    }


def traces(
    path: Path,
    cases: Sequence[tuple[str, int]],
    settings: Mapping[str, Any],
    tpe: Mapping[str, Any] | None = None,
) -> WayResults:
    """Simulate one kind of search on several pairs and seeds.

    Args:
        path: file of recorded curves.
        cases: pair and seed of each search.
        settings: arguments of `job_of`.
        tpe: arguments of Optuna's TPE that differ from ours.
    """
    traces = []
    for pair, seed in cases:
        scores = Recorded(curves_at(path), pair)
        job = job_of(**settings, seed=seed, steps=LATE)
        with patch.dict(samplers.TPE, tpe or {}):
            traces.append(ours(job, scores))
    return WayResults(
        early_C=[trace.best_by(EARLY) for trace in traces],
        late_C=[trace.best_by(LATE) for trace in traces],
        grid_CS=np.array([[trace.best_by(s) for s in GRID_S] for trace in traces]),
    )


def scaling(path: Path, pair: str, workers: int, trials: int, sampler: str) -> Row:
    """Return the efficiency of a number of workers, and the processor time of a decision."""
    scores = Recorded(curves_at(path), pair)
    cached = _CachedScores(scores)
    began_s = time.process_time()
    job = job_of(sampler=sampler, trials=trials)
    trace = simulate(job, scores.space, cached, workers=workers)
    took_s = time.process_time() - began_s - cached.took_s
    return {
        "sampler": sampler,
        "workers": workers,
        "trials": trials,
        "hours of a second a step": trace.end_s / 3600,
        "efficiency": trace.busy_s / (workers * trace.end_s),
        "best": trace.best_by(np.inf),
        "decisions, CPU ms a trial": 1000 * took_s / trials,
    }


class _CachedScores:
    """Cached scores, since thousands of trials request each rung."""

    def __init__(self, scores: Callable[[Params, int], Mapping[str, float]]):
        self._scores = scores
        self._cache: dict[tuple[Any, ...], Mapping[str, float]] = {}
        self.took_s = 0.0

    def __call__(self, params: Params, steps: int) -> Mapping[str, float]:
        began_s = time.process_time()
        key = (*params.items(), steps)
        if key not in self._cache:
            self._cache[key] = self._scores(params, steps)
        self.took_s += time.process_time() - began_s
        return self._cache[key]
