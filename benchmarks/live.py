"""Samplers on real pictures: the decisions of a run, carried out, next to those on recorded curves.

Recorded curves are guessed between the configurations that were recorded, which smooths them; here
every step is taken. What searches know of other pairs is by pairs that share neither photo nor
painting: the default, which parameters matter; one, which settings are suggested as well; one, and
all other samplers, nothing. All go on until they have taken the same steps.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from statistics import mean, stdev
from typing import Annotated

import numpy as np
import typer

from benchmarks.common import (
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
from benchmarks.courses import kin_of
from benchmarks.runs import Timeline, scratch_search, workload_of
from benchmarks.suggest import suggested_by_strangers
from search_spaces import CATALOGUE, Params
from tuner.backend import InlineBackend
from tuner.curves import load_curves
from tuner.interrupt import Interrupt
from tuner.lengths import known_lengths
from tuner.pictures import picture_features
from tuner.records import RungRecord
from tuner.suggest import experiences_of
from tuner.warm import OF_ONE_SOURCE

#: The default first, which the others are compared with.
SEARCHES = {
    "gp": "gp",
    (COLD := "gp, cold"): "gp",
    (SUGGESTED := "gp, suggestions first"): "gp",
    "tpe": "tpe",
    "random": "random",
}
QUICK_SEARCHES = ("gp", COLD, SUGGESTED)
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
                if how not in {COLD, SUGGESTED}
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
        """As `Watcher`."""
        super().reported(trial, steps, rung)
        self._taken[trial] = steps
        taken = sum(self._taken.values())
        best = min([rung.objective, *(best for _, best in self.course[-1:])])
        self.course.append((taken, best))
        if self.interrupt and taken >= self._steps:
            self.interrupt.winding_up = True


def search(pair: str, how: str, seed: int, *, steps: tuple[int, int], upto: int) -> Found:
    """One search in this process, until its trials have taken ``upto`` steps."""
    timeline = _Upto(upto)
    workload = workload_of(pairs_from([pair])[0], SIZE_PX)
    starts: list[Params] = []
    curves, materials = load_curves(), workload.pairs[0].materials
    if how == SUGGESTED:
        suggested = suggested_by_strangers(materials, curves, OF_ONE_SOURCE)
        starts = [one.params for one in suggested]
    kin = kin_of(np.asarray(picture_features(materials)), experiences_of(curves))
    made = scratch_search(
        CATALOGUE["gram"],
        timeline,
        trials=upto // steps[0],  # more than there can be
        steps=steps,
        size_px=SIZE_PX,
        lanes=LANES,
        sampler=SEARCHES[how],
        seed=seed,
        starts=starts,
        lengths={} if how == COLD else known_lengths(curves, but=kin),
    )
    with made as (scratch, job):
        timeline.interrupt = scratch.interrupt
        InlineBackend().run(scratch, workload, job)
    return Found(pair=pair, name=how, seed=seed, course=timeline.course)


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
