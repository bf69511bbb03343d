"""Courses on recorded curves: each function here is one task of `benchmarks.search`.

Scores are shares: 0 is the best score recorded for a pair, 1 that of the untouched content.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.support.common import Row
from benchmarks.support.runs import REDUCTION, with_starts
from benchmarks.support.simulate import Course, simulate
from benchmarks.support.stock import simulate_stock
from search_spaces import Params, Space
from tuner.job.spec import JobSpec
from tuner.sampling import optuna_samplers as samplers
from tuner.sampling.lengthscales import Lengths
from tuner.transfer.curves import Curves, known_lengths, load_curves
from tuner.transfer.picture_statistics import FEATURES
from tuner.transfer.suggest import Experience, Suggestion, experiences_of, suggest_for
from tuner.transfer.warm_start import OF_ONE_SOURCE, most_starts

WORKERS = 8
STEPS = (5, 90)
#: Trials of the random search whose score is to be reached.
RANDOM_TRIALS = 100
#: Trials of stock Ray Tune, whose steps are the budgets.
BUDGETS = (10, 20, 40, 80)
#: Trials of the searches that a warm start is compared with; short ones begin the longest.
COLD_TRIALS = (10, 20, 40)
#: Full trials whose steps a cold search takes, next to which a warm one is put.
COLD_FULL = (4, 8, 16)
#: Steps of all trials at which searches are compared, those of 10 and of 30 full trials.
EARLY, LATE = 10 * STEPS[1], 30 * STEPS[1]
#: Statistics of pictures that differ by no more are of one picture, or of two by one generator.
ALIKE = 0.04
#: Where courses are drawn.
GRID_S = np.geomspace(3 * STEPS[1], LATE, 40)
#: Where it is looked how far cold and warm searches are.
WARM_GRID_S = np.arange(10, LATE + 1, 10)


@cache
def curves_at(path: Path) -> Curves:
    """Recorded curves, read once."""
    return load_curves(path)


def job_of(
    *,
    sampler: str = "gp",
    rule: str = "promote",
    seed: int = 0,
    trials: int = 10_000,
    steps: int = 0,
    first: int = STEPS[0],
    reduction: int = REDUCTION,
) -> JobSpec:
    """A job whose budget is trials, or steps of a second each."""
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
    """The curves of one pair, as the simulator asks for them, in shares."""

    curves: Curves
    pair: str

    @cached_property
    def lengths(self) -> Lengths:
        """What a search knows of its space by pairs that share neither photo nor painting."""
        features_F = self.curves.pairs[self.pair].features_F
        return known_lengths(self.curves, but=kin_of(features_F, experiences_of(self.curves)))

    @property
    def space(self) -> Space:
        """What is searched, without starts, which may stem from any pair."""
        return with_starts(self.curves.space)

    def __call__(self, params: Params, steps: int) -> Mapping[str, float]:
        """Scores after so many steps, the objective as a share."""
        scores = self.curves.scores(self.pair, params, steps)
        best, untouched = self._ends()
        return {**scores, "lpips": (scores["lpips"] - best) / (untouched - best)}

    def _ends(self) -> tuple[float, float]:
        known = self.curves.pairs[self.pair]
        index = self.curves.metrics.index("lpips")
        return float(np.nanmin(known.score_NSM[:, :, index])), known.untouched["lpips"]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What courses of one way to search found.

    Attributes:
        early_C: best share of each course at the steps of 10 full trials.
        late_C: the same of 30.
        grid_CS: the same at `GRID_S`.
    """

    early_C: Sequence[float]
    late_C: Sequence[float]
    grid_CS: np.ndarray

    def behind(self, other: Found) -> tuple[float, float]:
        """How far behind another way this one is, and the standard error of that.

        The mean over the budgets of `GRID_S`, course by course: both have the same pairs and seeds,
        of which the shorter one has the first.
        """
        count = min(len(self.late_C), len(other.late_C))
        behind_C = (self.grid_CS[:count] - other.grid_CS[:count]).mean(1)
        return float(behind_C.mean()), float(behind_C.std(ddof=1) / count**0.5)


def ours(job: JobSpec, scores: Recorded, *, knows: bool = True) -> Course:
    """A search as a job has it, but for presets and starts."""
    lengths = scores.lengths if knows else None
    return simulate(job, scores.space, scores, workers=WORKERS, lengths=lengths)


def compare(path: Path, pair: str, seed: int) -> dict[str, Course]:
    """Ours, stock and a random search on one pair with one seed."""
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
    # As many as any of the others took, so that none of them ends beyond it.
    most = max(LATE, *(course.events[-1].steps for course in stock.values()))
    return {
        "random, full": simulate(full, scores.space, scores, workers=WORKERS),
        "ours": ours(job_of(seed=seed, steps=most), scores),
        **stock,
    }


def courses(
    path: Path,
    cases: Sequence[tuple[str, int]],
    settings: Mapping[str, Any],
    tpe: Mapping[str, Any] | None = None,
    *,
    knows: bool = True,
) -> Found:
    """Courses of one way to search.

    Args:
        path: of the curves.
        cases: pair and seed of each course.
        settings: arguments of `job_of`.
        tpe: arguments of Optuna's TPE other than ours.
        knows: whether it is told by other pairs which parameters matter, as a run is.
    """
    found = []
    for pair, seed in cases:
        scores = Recorded(curves_at(path), pair)
        job = job_of(**settings, seed=seed, steps=LATE)
        with patch.dict(samplers.TPE, tpe or {}):
            found.append(ours(job, scores, knows=knows))
    return Found(
        early_C=[course.best_by(EARLY) for course in found],
        late_C=[course.best_by(LATE) for course in found],
        grid_CS=np.array([[course.best_by(s) for s in GRID_S] for course in found]),
    )


def suggested_from_others(
    curves: Curves, pair: str, known: Sequence[Experience] | None = None
) -> list[Suggestion]:
    """What is suggested for a recorded pair by all pairs but this one, or by ``known`` ones."""
    if known is None:
        known = [one for one in experiences_of(curves) if one.name != pair]
    features_F = curves.pairs[pair].features_F
    return suggest_for(features_F, known, curves.space, curves.kernel, top=OF_ONE_SOURCE)


def strangers(features_F: np.ndarray, known: Sequence[Experience]) -> list[Experience]:
    """Of tuned pairs those that share neither the photo nor the painting, by their statistics."""
    parts = [
        [index for index, name in enumerate(FEATURES) if name.startswith(of)]
        for of in ("content_", "style_")
    ]
    return [
        one
        for one in known
        if all(np.abs(one.features_F - features_F)[part].max() > ALIKE for part in parts)
    ]


def kin_of(features_F: np.ndarray, known: Sequence[Experience]) -> set[str]:
    """Names of tuned pairs that share the photo or the painting."""
    others = {one.name for one in strangers(features_F, known)}
    return {one.name for one in known} - others


def suggestion_row(curves: Curves, pair: str) -> Row:
    """What suggestions reach on a pair that they were not made from, next to no knowledge.

    Every setting counts by its best step.
    """
    scores = Recorded(curves, pair)

    def best(params: Params) -> float:
        return float(np.nanmin([scores(params, steps)["lpips"] for steps in curves.steps]))

    known = strangers(curves.pairs[pair].features_F, experiences_of(curves))
    found = [best(one.params) for one in suggested_from_others(curves, pair)]
    of_strangers = [best(one.params) for one in suggested_from_others(curves, pair, known)]
    recorded = [best(params) for params in curves.params]
    count = f"best of {OF_ONE_SOURCE}"
    return {
        "pair": pair,
        "first": found[0],
        "best of three": min(found[:3]),
        count: min(found),
        f"{count}, by strangers": min(of_strangers),
        "the space's first start": best(curves.space.initial_points[0]),
        "median of all settings": float(np.median(recorded)),
        "settings better than the first": float(np.mean(np.asarray(recorded) < found[0])),
    }


@dataclass(frozen=True, kw_only=True)
class Warm:
    """A warm start next to a cold one, on one pair with one seed.

    Attributes:
        cold_T: the best share of cold searches of as many trials (`COLD_TRIALS`).
        warm_T: that of warm ones of half as many.
        cold_S: the best share of a cold search by its steps (`WARM_GRID_S`).
        warm_S: that of a warm one.
        settings_S: that of one that begins with the same settings, and knows nothing else.
    """

    cold_T: np.ndarray
    warm_T: np.ndarray
    cold_S: np.ndarray
    warm_S: np.ndarray
    settings_S: np.ndarray


def warm_and_cold(path: Path, pair: str, seed: int) -> Warm:
    """Searches on a pair, with and without what other pairs teach.

    A cold one knows neither good settings nor which parameters matter.
    """
    curves = curves_at(path)
    scores = Recorded(curves, pair)
    starts = [one.params for one in suggested_from_others(curves, pair)]

    def cold(**budget: Any) -> Course:
        return ours(job_of(seed=seed, **budget), scores, knows=False)

    def warm(*, lengths: Lengths | None = scores.lengths, **budget: Any) -> Course:
        job = job_of(seed=seed, **budget)
        space = with_starts(scores.space, starts[: most_starts(job.search.trials)])
        return simulate(job, space, scores, workers=WORKERS, lengths=lengths)

    return Warm(
        cold_T=np.array([cold(trials=count).best_by(np.inf) for count in COLD_TRIALS]),
        warm_T=np.array([warm(trials=count // 2).best_by(np.inf) for count in COLD_TRIALS]),
        cold_S=_by_steps(cold(steps=LATE)),
        warm_S=_by_steps(warm(steps=LATE)),
        settings_S=_by_steps(warm(steps=LATE, lengths=None)),
    )


def _by_steps(course: Course) -> np.ndarray:
    return np.array([course.best_by(float(steps)) for steps in WARM_GRID_S])


def scaling(path: Path, pair: str, workers: int, trials: int, sampler: str) -> Row:
    """How much of an ideal speed-up so many workers give, and what a decision takes."""
    scores = Recorded(curves_at(path), pair)
    cheap = _Cheap(scores)
    began_s = time.perf_counter()
    job = job_of(sampler=sampler, trials=trials)
    course = simulate(job, scores.space, cheap, workers=workers)
    took_s = time.perf_counter() - began_s - cheap.took_s
    return {
        "sampler": sampler,
        "workers": workers,
        "trials": trials,
        "hours of a second a step": course.end_s / 3600,
        "efficiency": course.busy_s / (workers * course.end_s),
        "best": course.best_by(np.inf),
        "decisions, ms a trial": 1000 * took_s / trials,
    }


class _Cheap:
    """Remembers what it was asked, since thousands of trials ask for each rung."""

    def __init__(self, scores: Callable[[Params, int], Mapping[str, float]]):
        self._scores = scores
        self._known: dict[tuple[Any, ...], Mapping[str, float]] = {}
        self.took_s = 0.0

    def __call__(self, params: Params, steps: int) -> Mapping[str, float]:
        began_s = time.perf_counter()
        key = (*params.items(), steps)
        if key not in self._known:
            self._known[key] = self._scores(params, steps)
        self.took_s += time.perf_counter() - began_s
        return self._known[key]
