"""Samplers on real pictures: the decisions of a run, carried out, next to those on recorded curves.

Recorded curves are guessed between the configurations that were recorded, which smooths them; here
every step is taken. What searches know of other pairs is by pairs that share neither photo nor
painting: the default, which parameters matter; one, which settings are suggested as well; one, and
all other samplers, nothing. All go on until they have taken the same steps, and so does stock Ray
Tune, whose own classes decide what is carried out.
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

from benchmarks.suggest import suggested_by_strangers
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
from benchmarks.support.courses import kin_of
from benchmarks.support.runs import REDUCTION, Timeline, scratch_search, with_starts, workload_of
from benchmarks.support.stock import simulate_stock
from nst_core.stylization import default_device
from search_spaces import CATALOGUE, Params, Space
from tuner.engine.engine import Engine
from tuner.engine.workload import Workload
from tuner.job.spec import SamplerName
from tuner.run.inline_backend import InlineBackend
from tuner.search.interrupt import Interrupt
from tuner.study.records import Report, RungRecord
from tuner.transfer.curves import known_lengths, load_curves
from tuner.transfer.picture_statistics import picture_features
from tuner.transfer.suggest import experiences_of
from tuner.transfer.warm_start import OF_ONE_SOURCE


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a search differs from the default.

    Attributes:
        sampler: of its job.
        knows: whether it is told by other pairs which parameters matter.
        suggested: whether it begins with what other pairs suggest.
        reduction: of its halving.
    """

    sampler: SamplerName = "gp"
    knows: bool = True
    suggested: bool = False
    reduction: int = REDUCTION


#: The default first, which the others are compared with; None for what is not ours.
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
#: Not compared with the default for a goal: settings of it.
SETTINGS = {COLD, SUGGESTED, HALVED}
SEEDS = 5
SIZE_PX = 64
STEPS, QUICK_STEPS = (5, 90), (5, 15)
#: Steps of all trials at which searches are compared, as those of so many full trials.
AT_FULL_TRIALS = (4, 8, 12, 16)
LANES = 8


@dataclass(frozen=True, kw_only=True)
class Found:
    """The lowest LPIPS of a search, after so many steps of all its trials."""

    pair: str
    name: str
    seed: int
    course: Sequence[tuple[int, float]]

    def best_by(self, steps: float) -> float:
        """After so many steps; the first one of all before there is any."""
        return min(best for spent, best in self.course if spent <= max(steps, self.course[0][0]))


def main(
    pair: PairsOption = None,
    seeds: Annotated[int | None, typer.Option(min=1)] = None,
    quick: QuickOption = False,
    json_file: JsonOption = None,
) -> None:
    """Compare samplers by what their searches find on pairs of pictures."""
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
        found = list(bar.track(running, total=len(cases), description="searches"))
    of = {how: [one for one in found if one.name == how] for how in chosen}
    behind = {how: _behind(of[how], of[chosen[0]], budgets[-1]) for how in chosen[1:]}
    publish(
        "Searches on real pictures",
        f"Best LPIPS of searches with rungs from {steps[0]} to {steps[1]} steps at {SIZE_PX} px,"
        f" {LANES} at a time, by steps of all trials.",
        [
            Section(
                title="Mean of all",
                rows=[{"search": how, **_means(of[how], budgets)} for how in chosen],
            ),
            Section(
                title="Next to the default",
                text="By pair and seed. Behind: at the last of these steps, with its standard"
                " error.",
                rows=list(behind.values()),
            ),
            Section(
                title="Next to the cold search",
                text="Of mean courses: steps to what it has after so many, as a share of those in"
                " which it got there. Twice all its steps stand for never.",
                rows=[
                    {
                        "steps, cold": steps,
                        **{how: _share(of, how, steps) for how in (chosen[0], SUGGESTED)},
                    }
                    for steps in budgets
                ],
            ),
            Section(
                title="Search by search",
                rows=[
                    {
                        "pair": one.pair.partition("=")[0],
                        "seed": one.seed,
                        "search": one.name,
                        **_means([one], budgets),
                    }
                    for one in found
                ],
            ),
        ],
        goals=[
            *(
                Goal(name=f"{how} behind the default, LPIPS", value=row["behind"], goal=0.0)
                for how, row in behind.items()
                if how not in SETTINGS
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
        ],
        json_file=json_file,
    )


class _Upto(Timeline):
    """A timeline that ends its search when all trials together have taken so many steps."""

    def __init__(self, steps: int):
        super().__init__()
        self._steps, self._taken = steps, dict[int, int]()
        self.course: list[tuple[int, float]] = []
        self.interrupt: Interrupt | None = None

    def reported(self, trial: int, steps: int, rung: RungRecord) -> None:
        """As `Callback`."""
        super().reported(trial, steps, rung)
        self._taken[trial] = steps
        taken = sum(self._taken.values())
        best = min([rung.objective, *(best for _, best in self.course[-1:])])
        self.course.append((taken, best))
        if self.interrupt and taken >= self._steps:
            self.interrupt.winding_up = True


class _CarriedOut:
    """Scores of what is carried out when it is asked for; NaN of what goes astray."""

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


def search(pair: str, how: str, seed: int, *, steps: tuple[int, int], upto: int) -> Found:
    """One search in this process, until its trials have taken ``upto`` steps."""
    workload = workload_of(pairs_from([pair])[0], SIZE_PX)
    way = SEARCHES[how]
    courses = _of_stock if way is None else partial(_of_ours, way)
    course = courses(workload, seed=seed, steps=steps, upto=upto)
    return Found(pair=pair, name=how, seed=seed, course=course)


def _of_ours(
    way: Way, workload: Workload, *, seed: int, steps: tuple[int, int], upto: int
) -> Sequence[tuple[int, float]]:
    timeline = _Upto(upto)
    curves, inputs = load_curves(), workload.pairs[0].inputs
    suggested = suggested_by_strangers(inputs, curves, OF_ONE_SOURCE) if way.suggested else []
    kin = kin_of(np.asarray(picture_features(inputs)), experiences_of(curves))
    made = scratch_search(
        CATALOGUE["gram"],
        timeline,
        trials=upto // steps[0],  # more than there can be
        steps=steps,
        size_px=SIZE_PX,
        lanes=LANES,
        sampler=way.sampler,
        seed=seed,
        reduction=way.reduction,
        starts=[one.params for one in suggested],
        lengths=known_lengths(curves, but=kin) if way.knows else {},
    )
    with made as (scratch, job):
        timeline.interrupt = scratch.interrupt
        InlineBackend().run(scratch, workload, job)
    return timeline.course


def _of_stock(
    workload: Workload, *, seed: int, steps: tuple[int, int], upto: int
) -> Sequence[tuple[int, float]]:
    space = with_starts(CATALOGUE["gram"])
    found = simulate_stock(
        space,
        _CarriedOut(workload, space, steps[1]),
        trials=upto // steps[0],
        steps=steps,
        reduction=REDUCTION,
        workers=LANES,
        seed=seed,
        upto=upto,
    )
    return [(event.steps, found.best_by(event.steps)) for event in found.events]


def _means(found: Sequence[Found], budgets: Sequence[int]) -> Mapping[str, float]:
    return {f"{steps} steps": mean(one.best_by(steps) for one in found) for steps in budgets}


def _behind(found: Sequence[Found], default: Sequence[Found], steps: int) -> Row:
    by = [
        one.best_by(steps) - other.best_by(steps) for one, other in zip(found, default, strict=True)
    ]
    return {"search": found[0].name, "behind": mean(by), "±": _error(by), "of": len(by)}


def _share(of: Mapping[str, Sequence[Found]], how: str, steps: int) -> float:
    """Steps that a search takes to what the cold one has after ``steps``, share of its own.

    Of mean courses; see `search_tables.warm_share`.
    """
    goal = mean(one.best_by(steps) for one in of[COLD])
    return _steps_until(of[how], goal) / _steps_until(of[COLD], goal)


def _steps_until(found: Sequence[Found], goal: float) -> float:
    """Steps of the mean course to a score; twice as many as there were if it never comes there."""
    every = sorted({spent for one in found for spent, _ in one.course})
    return next(
        (float(s) for s in every if mean(one.best_by(s) for one in found) <= goal),
        2.0 * every[-1],
    )


def _error(values: Sequence[float]) -> float:
    return stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")


if __name__ == "__main__":
    run(main)
