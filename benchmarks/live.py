"""Comparison of samplers on real images, in addition to `search`, which uses recorded curves.

Command: ``python -m benchmarks.live``. Recorded curves are interpolated between configurations,
    which makes them smooth; here every step is computed. Some searches use knowledge from other
    pairs, of which none shares the photo or the painting: the default knows which parameters
    matter, and one variant also begins with suggested settings. One variant and all other samplers
    know nothing. All searches end after the same number of steps, also stock Ray Tune, whose own
    classes decide.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import nan
from statistics import mean, stdev
from typing import Annotated

import numpy as np
import typer

from benchmarks.suggest import suggested_by_unrelated_pairs
from benchmarks.support.common import (
    Goal,
    JsonOption,
    PairsOption,
    QuickOption,
    Row,
    Section,
    built_in_pairs,
    on_one_thread,
    pairs_from,
    progress,
    publish,
    run,
)
from benchmarks.support.runs import REDUCTION, Timeline, scratch_search, with_starts, workload_of
from benchmarks.support.simulated_searches import related_pairs
from benchmarks.support.stock import simulate_stock
from nst_core.stylization import default_device
from search_spaces import CATALOGUE, Params, Space
from tuner.engine.engine import Engine
from tuner.engine.workload import Workload
from tuner.job.spec import SamplerName
from tuner.run.inline_backend import InlineBackend
from tuner.search.interrupt import Interrupt
from tuner.study.records import Report, RungRecord
from tuner.transfer.curves import load_curves, recorded_lengthscales
from tuner.transfer.picture_statistics import picture_features
from tuner.transfer.suggest import experiences_of
from tuner.transfer.warm_start import POINTS_PER_SOURCE


@dataclass(frozen=True, kw_only=True)
class Way:
    """Settings of a search that may differ from the default.

    Attributes:
        sampler: name of the sampler.
        knows: whether it knows from other pairs which parameters matter.
        suggested: whether it begins with settings suggested from other pairs.
        reduction: reduction factor of successive halving.
    """

    sampler: SamplerName = "gp"
    knows: bool = True
    suggested: bool = False
    reduction: int = REDUCTION


#: Searches by name; the others are compared with the first one, the default. None: stock Ray Tune.
SEARCHES: dict[str, Way | None] = {
    "gp": Way(),
    (COLD := "gp, cold"): Way(knows=False),
    (SUGGESTED := "gp, suggestions first"): Way(suggested=True),
    (HALVED := "gp, reduction 2"): Way(reduction=2),
    "tpe": Way(sampler="tpe"),
    "random": Way(sampler="random"),
    (STOCK := "stock Ray Tune"): None,
}
QUICK_SEARCHES = ("gp", COLD, SUGGESTED, STOCK)
#: Variants of the default, which are not part of a goal.
VARIANTS = {COLD, SUGGESTED, HALVED}
SEEDS = 5
SIZE_PX = 64
STEPS, QUICK_STEPS = (5, 90), (5, 15)
#: Searches are compared after the steps of these numbers of full trials.
AT_FULL_TRIALS = (4, 8, 12, 16)
LANES = 8


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """Lowest LPIPS of a search over the steps of all its trials.

    Attributes:
        pair: name of the pair.
        name: name of the search.
        seed: seed of the search.
        trace: (steps of all trials, lowest LPIPS so far), ascending.
    """

    pair: str
    name: str
    seed: int
    trace: Sequence[tuple[int, float]]

    def best_by(self, steps: float) -> float:
        """Return the lowest LPIPS after some steps; before the first report, that of the first."""
        return min(best for spent, best in self.trace if spent <= max(steps, self.trace[0][0]))


def main(
    pair: PairsOption = None,
    seeds: Annotated[int | None, typer.Option(min=1)] = None,
    quick: QuickOption = False,
    json_file: JsonOption = None,
) -> None:
    """Compare samplers by the best LPIPS of their searches."""
    names = pair or list(built_in_pairs())[: 1 if quick else None]
    chosen = QUICK_SEARCHES if quick else tuple(SEARCHES)
    steps = QUICK_STEPS if quick else STEPS
    cases = [
        (name, how, seed)
        for seed in range(seeds or (1 if quick else SEEDS))
        for name in names
        for how in chosen
    ]
    budgets = [count * steps[1] for count in AT_FULL_TRIALS]
    task = partial(search, steps=steps, upto=budgets[-1])
    context = multiprocessing.get_context("spawn")
    with (
        progress() as bar,
        ProcessPoolExecutor(os.cpu_count(), context, on_one_thread) as pool,
    ):
        running = pool.map(task, *zip(*cases, strict=True))
        results = list(bar.track(running, total=len(cases), description="searches"))
    of = {how: [result for result in results if result.name == how] for how in chosen}
    behind = {how: _behind(of[how], of[chosen[0]], budgets[-1]) for how in chosen[1:]}
    publish(
        "Searches on real pictures",
        f"Best LPIPS of searches with rungs from {steps[0]} to {steps[1]} steps at {SIZE_PX} px,"
        f" {LANES} at a time, by steps of all trials.",
        _sections(of, behind, budgets),
        goals=_goals(of, behind, budgets),
        json_file=json_file,
    )


def _sections(
    of: Mapping[str, Sequence[SearchResult]], behind: Mapping[str, Row], budgets: Sequence[int]
) -> list[Section]:
    """Return the tables.

    Args:
        of: results of each search by name, the default first.
        behind: row of each other search that compares it with the default.
        budgets: step counts.
    """
    return [
        Section(
            title="Mean of all",
            rows=[{"search": how, **_means(of[how], budgets)} for how in of],
        ),
        Section(
            title="Next to the default",
            text="Means over pairs and seeds. Behind: difference of LPIPS at the last of these"
            " step counts, with its standard error.",
            rows=list(behind.values()),
        ),
        Section(
            title="Next to the cold search",
            text="Steps until the mean search reaches the score that the mean cold search has"
            " after a number of steps, as a share of the cold search's steps. A score that is"
            " never reached counts as twice all steps.",
            rows=[
                {
                    "steps, cold": steps,
                    **{how: _share(of, how, steps) for how in (next(iter(of)), SUGGESTED)},
                }
                for steps in budgets
            ],
        ),
        Section(
            title="Search by search",
            rows=[
                {
                    "pair": result.pair.partition("=")[0],
                    "seed": result.seed,
                    "search": result.name,
                    **_means([result], budgets),
                }
                for searches in of.values()
                for result in searches
            ],
        ),
    ]


def _goals(
    of: Mapping[str, Sequence[SearchResult]], behind: Mapping[str, Row], budgets: Sequence[int]
) -> list[Goal]:
    return [
        *(
            Goal(name=f"{how} behind the default, LPIPS", value=row["behind"], goal=0.0)
            for how, row in behind.items()
            if how not in VARIANTS
        ),
        *(
            Goal(
                name=f"steps to what a cold search has after {steps}, warm, share",
                value=_share(of, SUGGESTED, steps),
                goal=0.5,
                at_most=True,
            )
            for steps in budgets
        ),
    ]


class _StepBudget(Timeline):
    """A timeline that ends its search after a number of steps of all trials."""

    def __init__(self, steps: int):
        super().__init__()
        self._steps, self._taken = steps, dict[int, int]()
        self.trace: list[tuple[int, float]] = []
        self.interrupt: Interrupt | None = None

    def reported(self, trial: int, steps: int, rung: RungRecord) -> None:
        """See `Callback`."""
        super().reported(trial, steps, rung)
        self._taken[trial] = steps
        taken = sum(self._taken.values())
        best = min([rung.objective, *(best for _, best in self.trace[-1:])])
        self.trace.append((taken, best))
        if self.interrupt and taken >= self._steps:
            self.interrupt.stopping = True


class _Stylizer:
    """Computes scores of configurations on request; NaN after a failure."""

    def __init__(self, workload: Workload, space: Space, steps: int):
        self._engine = Engine(workload.pairs, workload.weights, device=default_device())
        self._space, self._steps = space, steps
        self._numbers: dict[tuple[object, ...], int] = {}
        self._known: dict[tuple[int, int], Mapping[str, float]] = {}
        self._failed: set[int] = set()

    def __call__(self, params: Params, steps: int) -> Mapping[str, float]:
        number = self._numbers.setdefault(tuple(params.items()), len(self._numbers))
        if (number, steps) not in self._known and number not in self._failed:
            config = self._space.build(params, size_px=SIZE_PX, steps=self._steps)
            self._engine.submit(number, config, steps, None)
            reports: Sequence[Report] = ()
            while not reports:
                reports = self._engine.advance()
            if reports[0].failure is not None:
                self._failed.add(number)
            self._known[number, steps] = reports[0].scores
        return {"lpips": nan} if number in self._failed else self._known[number, steps]


def search(pair: str, how: str, seed: int, *, steps: tuple[int, int], upto: int) -> SearchResult:
    """Run one search in this process until its trials have taken ``upto`` steps."""
    workload = workload_of(pairs_from([pair])[0], SIZE_PX)
    way = SEARCHES[how]
    traces = _of_stock if way is None else partial(_of_ours, way)
    trace = traces(workload, seed=seed, steps=steps, upto=upto)
    return SearchResult(pair=pair, name=how, seed=seed, trace=trace)


def _of_ours(
    way: Way, workload: Workload, *, seed: int, steps: tuple[int, int], upto: int
) -> Sequence[tuple[int, float]]:
    timeline = _StepBudget(upto)
    curves, inputs = load_curves(), workload.pairs[0].inputs
    suggested = (
        suggested_by_unrelated_pairs(inputs, curves, POINTS_PER_SOURCE) if way.suggested else []
    )
    related = related_pairs(np.asarray(picture_features(inputs)), experiences_of(curves))
    search_run = scratch_search(
        CATALOGUE["gram"],
        timeline,
        trials=upto // steps[0],  # more trials than the budget allows
        steps=steps,
        size_px=SIZE_PX,
        lanes=LANES,
        sampler=way.sampler,
        seed=seed,
        reduction=way.reduction,
        starts=[suggestion.params for suggestion in suggested],
        lengths=recorded_lengthscales(curves, but=related) if way.knows else {},
    )
    with search_run as (scratch, job):
        timeline.interrupt = scratch.interrupt
        InlineBackend().run(scratch, workload, job)
    return timeline.trace


def _of_stock(
    workload: Workload, *, seed: int, steps: tuple[int, int], upto: int
) -> Sequence[tuple[int, float]]:
    space = with_starts(CATALOGUE["gram"])
    results = simulate_stock(
        space,
        _Stylizer(workload, space, steps[1]),
        trials=upto // steps[0],
        steps=steps,
        reduction=REDUCTION,
        workers=LANES,
        seed=seed,
        upto=upto,
    )
    return [(event.steps, results.best_by(event.steps)) for event in results.events]


def _means(results: Sequence[SearchResult], budgets: Sequence[int]) -> Mapping[str, float]:
    return {
        f"{steps} steps": mean(result.best_by(steps) for result in results) for steps in budgets
    }


def _behind(results: Sequence[SearchResult], default: Sequence[SearchResult], steps: int) -> Row:
    by = [
        result.best_by(steps) - other.best_by(steps)
        for result, other in zip(results, default, strict=True)
    ]
    return {"search": results[0].name, "behind": mean(by), "±": _error(by), "of": len(by)}


def _share(of: Mapping[str, Sequence[SearchResult]], how: str, steps: int) -> float:
    """Return the steps until a search equals the cold one after ``steps``, as a share of its steps.

    Both are means over pairs and seeds; see `search_tables.warm_share`.
    """
    goal = mean(result.best_by(steps) for result in of[COLD])
    return _steps_until(of[how], goal) / _steps_until(of[COLD], goal)


def _steps_until(results: Sequence[SearchResult], goal: float) -> float:
    """Return the steps until the mean search reaches a score; twice all steps if it never does."""
    every = sorted({spent for result in results for spent, _ in result.trace})
    return next(
        (float(s) for s in every if mean(result.best_by(s) for result in results) <= goal),
        2.0 * every[-1],
    )


def _error(values: Sequence[float]) -> float:
    return stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")


if __name__ == "__main__":
    run(main)
