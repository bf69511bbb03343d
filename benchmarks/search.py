"""Search on recorded curves: the same decisions as in a run, on a virtual clock.

Scores are shares: 0 is the best score recorded for a pair, 1 that of the untouched content.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median, quantiles
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.common import (
    Goal,
    JsonOption,
    QuickOption,
    Row,
    Section,
    progress,
    publish,
    run,
)
from benchmarks.runs import without_starts
from benchmarks.stock import simulate_stock
from search_spaces import Params, Space
from tuner.curves import SHIPPED, Curves, load_curves
from tuner.halving import RULES
from tuner.job import JobSpec
from tuner.simulate import Course, simulate
from tuner.suggest import experiences_of, suggest_for

SEEDS, QUICK_SEEDS = 20, 3
WORKERS = 8
STEPS, REDUCTION = (10, 90), 3
#: Trials of the random search whose score is to be reached.
RANDOM_TRIALS = 100
#: Trials of stock Ray Tune, whose steps are the budgets.
BUDGETS = (10, 20, 40, 80)
SCALE_WORKERS = (1, 4, 16, 64, 256, 1000)
SCALE_TRIALS, QUICK_SCALE_TRIALS = 10_000, 1_000
SAMPLERS = ("tpe", "random", "sobol", "cmaes", "nsga2", "gp")
QUICK_SAMPLERS = ("tpe", "random")
#: A Gaussian process takes minutes for a course in which the others take seconds.
GP_SEEDS = 4
#: Trials of the search that a warm start is compared with.
COLD_TRIALS = 40


def main(
    curves: Annotated[Path, typer.Option(help="recorded curves")] = SHIPPED,
    seeds: Annotated[int | None, typer.Option(min=1)] = None,
    plot: Annotated[Path | None, typer.Option(help="also draw the courses, .png or .svg")] = None,
    quick: QuickOption = False,
    json_file: JsonOption = None,
) -> None:
    """Compare ways to search, and measure how searching scales."""
    count = seeds or (QUICK_SEEDS if quick else SEEDS)
    recorded = load_curves(curves)
    names = list(recorded.pairs)[:2] if quick else list(recorded.pairs)
    found = measure(curves, names, count, quick=quick)
    if plot:
        draw(found.courses, plot)
    budget_rows, share, worse, fewer = against(found.courses)
    warm_row, halves = warm_summary(found.warm)
    publish(
        "Search",
        f"{len(names)} pairs x {count} seeds, space `{recorded.space.name}` without its starts,"
        f" rungs from {STEPS[0]} to {STEPS[1]} steps, {WORKERS} workers; shares of the way from"
        " the best recorded score (0) to the untouched content (1).",
        [
            Section(title="For the steps of stock Ray Tune", rows=budget_rows),
            Section(title="Sampler and rule", rows=found.table),
            Section(title="Warm starts, leaving the pair out", rows=[warm_row]),
            Section(
                title="Workers", text=f"{found.scale_trials} trials, random.", rows=found.scale
            ),
        ],
        goals=goals_of(found, share, worse, fewer, halves),
        json_file=json_file,
    )


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was measured.

    Attributes:
        courses: of ours, stock and random, one for each pair and seed.
        table: of samplers and rules.
        warm: trials to the same score, warm and cold.
        scale: of numbers of workers.
        scale_trials: of these runs.
    """

    courses: list[dict[str, Course]]
    table: list[Row]
    warm: list[tuple[float, float]]
    scale: list[Row]
    scale_trials: int


def measure(curves: Path, names: Sequence[str], seeds: int, *, quick: bool) -> Measured:
    """Everything, on all cores."""
    cases = [(curves, name, seed) for name in names for seed in range(seeds)]
    samplers = QUICK_SAMPLERS if quick else SAMPLERS
    trials = QUICK_SCALE_TRIALS if quick else SCALE_TRIALS
    with progress() as bar, ProcessPoolExecutor() as pool:

        def each(
            task: Callable[..., Any], cases: Sequence[tuple[Any, ...]], title: str
        ) -> list[Any]:
            done = pool.map(task, *zip(*cases, strict=True), chunksize=1)
            return list(bar.track(done, total=len(cases), description=title))

        return Measured(
            courses=each(compare, cases, "ours, stock and random"),
            table=each(
                cell,
                [(curves, names, seeds, sampler, rule) for sampler in samplers for rule in RULES],
                "samplers and rules",
            ),
            warm=each(warm_against_cold, cases, "warm starts"),
            scale=each(scaling, [(curves, names[0], w, trials) for w in SCALE_WORKERS], "workers"),
            scale_trials=trials,
        )


def goals_of(
    found: Measured, share: float, worse: float, fewer: float, halves: float
) -> list[Goal]:
    """The goals; the last figures are those of `against` and `warm_summary`."""
    late = "median at 40 full trials' steps"
    default = next(r for r in found.table if (r["sampler"], r["rule"]) == ("tpe", "promote"))
    behind = default[late] - min(row[late] for row in found.table)
    upto = [row["efficiency"] for row in found.scale if row["workers"] <= 256]
    return [
        Goal(
            name=f"steps to the score of {RANDOM_TRIALS} full random trials, share of theirs",
            value=share,
            goal=0.2,
            at_most=True,
        ),
        Goal(
            name="behind stock at any of its budgets, median share",
            value=worse,
            goal=0,
            at_most=True,
        ),
        Goal(name="steps to equal stock, share of its", value=fewer, goal=0.75, at_most=True),
        Goal(name="trials to the cold score, warm", value=halves, goal=0.5, at_most=True),
        Goal(name="least efficiency up to 256 workers", value=min(upto), goal=0.85),
        Goal(
            name="the default behind the best of the table", value=behind, goal=0.01, at_most=True
        ),
    ]


@cache
def _curves(path: Path) -> Curves:
    return load_curves(path)


def job_of(
    *,
    sampler: str = "tpe",
    rule: str = "promote",
    seed: int = 0,
    trials: int = 10_000,
    steps: int = 0,
) -> JobSpec:
    """A job whose budget is trials, or steps of a second each."""
    return JobSpec.model_validate(
        {
            "name": "simulated",
            "pairs": [{"content": "-", "style": "-", "reference": "-"}],
            "search": {"trials": trials, "presets": False, "sampler": sampler, "seed": seed},
            "halving": {
                "min_steps": STEPS[1] if rule == "full" else STEPS[0],
                "max_steps": STEPS[1],
                "reduction": REDUCTION,
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

    @property
    def space(self) -> Space:
        """What is searched, without starts, which may stem from any pair."""
        return without_starts(self.curves.space)

    def __call__(self, params: Params, steps: int) -> Mapping[str, float]:
        """Scores after so many steps, the objective as a share."""
        scores = self.curves.scores(self.pair, params, steps)
        best, untouched = self._ends()
        return {**scores, "lpips": (scores["lpips"] - best) / (untouched - best)}

    def _ends(self) -> tuple[float, float]:
        known = self.curves.pairs[self.pair]
        index = self.curves.metrics.index("lpips")
        return float(np.nanmin(known.score_NSM[:, :, index])), known.untouched["lpips"]


def compare(path: Path, pair: str, seed: int) -> dict[str, Course]:
    """Ours, stock and a random search on one pair with one seed."""
    scores = Recorded(_curves(path), pair)
    most = RANDOM_TRIALS * STEPS[1]
    full = job_of(sampler="random", rule="full", seed=seed, trials=RANDOM_TRIALS)
    return {
        "random, full": simulate(full, scores.space, scores, workers=WORKERS),
        "ours": simulate(job_of(seed=seed, steps=most // 2), scores.space, scores, workers=WORKERS),
        **{
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
        },
    }


def against(courses: Sequence[dict[str, Course]]) -> tuple[list[Row], float, float, float]:
    """Rows by budget; share of random's steps; most behind stock; share of stock's steps."""
    rows: list[Row] = []
    behind, fewer = [], []
    for trials in BUDGETS:
        stock = [c[f"stock {trials}"] for c in courses]
        spent = [course.events[-1].steps for course in stock]
        theirs = [course.best_by(np.inf) for course in stock]
        ours = [c["ours"].best_by(s) for c, s in zip(courses, spent, strict=True)]
        random = [c["random, full"].best_by(s) for c, s in zip(courses, spent, strict=True)]
        until = [c["ours"].steps_until(t) for c, t in zip(courses, theirs, strict=True)]
        # Stock's last improvement came earlier than its end, which only hindsight knows.
        there = [one.steps_until(t) for one, t in zip(stock, theirs, strict=True)]
        until_share = median(u / s for u, s in zip(until, spent, strict=True))
        behind.append(median(ours) - median(theirs))
        fewer.append(until_share)
        rows.append(
            {
                "stock trials": trials,
                "steps": round(median(spent)),
                **_spread("ours", ours),
                **_spread("stock", theirs),
                **_spread("random, full", random),
                "steps to equal stock, share of its": until_share,
                "of those to its last gain": median(
                    u / t for u, t in zip(until, there, strict=True)
                ),
            }
        )
    shares = [
        c["ours"].steps_until(c["random, full"].best_by(np.inf))
        / c["random, full"].events[-1].steps
        for c in courses
    ]
    return rows, median(shares), max(behind), max(fewer)


def _spread(name: str, values: Sequence[float]) -> Row:
    low, _, high = quantiles(values, n=4)
    return {name: median(values), f"{name} quartiles": f"{low:.3f} - {high:.3f}"}


def cell(path: Path, pairs: Sequence[str], seeds: int, sampler: str, rule: str) -> Row:
    """One sampler with one rule of halving; the seeds take the pairs in turn."""
    budget = 40 * STEPS[1]
    found = []
    for seed in range(min(seeds, GP_SEEDS) if sampler == "gp" else seeds):
        scores = Recorded(_curves(path), pairs[seed % len(pairs)])
        job = job_of(sampler=sampler, rule=rule, seed=seed, steps=budget)
        course = simulate(job, scores.space, scores, workers=WORKERS)
        found.append([course.best_by(budget / 4), course.best_by(budget)])
    early, late = zip(*found, strict=True)
    low, _, high = quantiles(late, n=4)
    return {
        "sampler": sampler,
        "rule": rule,
        "courses": len(found),
        "median at 10 full trials' steps": median(early),
        "median at 40 full trials' steps": median(late),
        "quartiles": f"{low:.3f} - {high:.3f}",
    }


def warm_against_cold(path: Path, pair: str, seed: int) -> tuple[float, float]:
    """Trials until the cold search's score, as a share of its trials: warm, and cold."""
    curves = _curves(path)
    scores = Recorded(curves, pair)
    others = [one for one in experiences_of(curves) if one.name != pair]
    starts = [
        s.params for s in suggest_for(curves.pairs[pair].features_F, others, curves.space, top=3)
    ]
    job = job_of(seed=seed, trials=COLD_TRIALS)
    cold = simulate(job, scores.space, scores, workers=WORKERS)
    space = Space(**{**vars(scores.space), "starts": tuple(starts)})
    warm = simulate(job, space, scores, workers=WORKERS)
    goal = cold.best_by(np.inf)
    return _begun_until(warm, goal) / COLD_TRIALS, _begun_until(cold, goal) / COLD_TRIALS


def _begun_until(course: Course, value: float) -> float:
    """Trials that had reported when a value was reached; all and more if it never was."""
    seen: set[int] = set()
    for event in course.events:
        seen.add(event.trial)
        if event.value <= value:
            return len(seen)
    return 2 * len(seen)


def warm_summary(pairs: Sequence[tuple[float, float]]) -> tuple[Row, float]:
    """A row, and the share of the cold search's trials that a warm one takes."""
    warm, cold = [w for w, _ in pairs], [c for _, c in pairs]
    ratio = median(w / c for w, c in pairs)
    row = {
        "cold trials": COLD_TRIALS,
        "to its best, cold": median(cold),
        "to the same, warm": median(warm),
        "warm over cold": ratio,
    }
    return row, ratio


def scaling(path: Path, pair: str, workers: int, trials: int) -> Row:
    """How much of an ideal speed-up so many workers give."""
    scores = Recorded(_curves(path), pair)
    cheap = _Cheap(scores)
    job = job_of(sampler="random", trials=trials)
    course = simulate(job, scores.space, cheap, workers=workers)
    return {
        "workers": workers,
        "hours of a second a step": course.end_s / 3600,
        "efficiency": course.busy_s / (workers * course.end_s),
        "best": course.best_by(np.inf),
    }


class _Cheap:
    """Remembers what it was asked, since thousands of trials ask for four rungs each."""

    def __init__(self, scores: Recorded):
        self._scores = scores
        self._known: dict[tuple[Any, ...], Mapping[str, float]] = {}

    def __call__(self, params: Params, steps: int) -> Mapping[str, float]:
        key = (*params.items(), steps)
        if key not in self._known:
            self._known[key] = self._scores(params, steps)
        return self._known[key]


def draw(courses: Sequence[dict[str, Course]], path: Path) -> None:
    """Best share by steps, median and quartiles of all pairs and seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    steps = np.geomspace(3 * STEPS[1], RANDOM_TRIALS * STEPS[1] / 2, 60)
    for name, label in _shown():
        found_CS = np.array([[c[name].best_by(s) for s in steps] for c in courses])
        low_S, middle_S, high_S = np.quantile(found_CS, [0.25, 0.5, 0.75], axis=0)
        (line,) = axes.plot(steps, middle_S, label=label)
        axes.fill_between(steps, low_S, high_S, color=line.get_color(), alpha=0.15)
    axes.set(xscale="log", xlabel="steps of all trials", ylabel="best score, 0 = best recorded")
    axes.legend()
    figure.savefig(path)


def _shown() -> Iterator[tuple[str, str]]:
    yield "random, full", "random, no stopping"
    yield f"stock {BUDGETS[-1]}", "stock OptunaSearch + ASHA"
    yield "ours", "ours"


if __name__ == "__main__":
    run(main)
