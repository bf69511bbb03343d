"""Samplers on real pictures: the decisions of a run, carried out, next to those on recorded curves.

Recorded curves are guessed between the configurations that were recorded, which smooths them; here
every step is taken. Each search knows nothing of its pair before.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from statistics import mean, stdev
from typing import Annotated

import torch
import typer

from benchmarks.common import (
    Goal,
    JsonOption,
    PairsOption,
    QuickOption,
    Row,
    Section,
    built_in_pairs,
    pairs_from,
    progress,
    publish,
    run,
)
from benchmarks.runs import Timeline, scratch_search, workload_of
from search_spaces import CATALOGUE
from tuner.backend import InlineBackend

SAMPLERS, QUICK_SAMPLERS = ("gp", "tpe", "random"), ("gp", "random")
SEEDS = 3
SIZE_PX = 64
STEPS, QUICK_STEPS = (5, 90), (5, 15)
TRIALS, QUICK_TRIALS = 60, 10
#: Steps of all trials at which searches are compared, as shares of so many full trials' steps.
AT_FULL_TRIALS = (4, 8, 12, 16)
LANES = 8


@dataclass(frozen=True, kw_only=True)
class Found:
    """The lowest LPIPS of a search, at each of the steps in `AT_FULL_TRIALS`."""

    pair: str
    sampler: str
    seed: int
    best_S: Sequence[float]


def main(
    pair: PairsOption = None,
    seeds: Annotated[int | None, typer.Option(min=1)] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="of each search")] = None,
    quick: QuickOption = False,
    json_file: JsonOption = None,
) -> None:
    """Compare samplers by what their searches find on pairs of pictures."""
    names = pair or list(built_in_pairs())[: 1 if quick else None]
    chosen = QUICK_SAMPLERS if quick else SAMPLERS
    steps = QUICK_STEPS if quick else STEPS
    cases = [
        (name, sampler, seed)
        for seed in range(seeds or (1 if quick else SEEDS))
        for name in names
        for sampler in chosen
    ]
    task = partial(search, trials=trials or (QUICK_TRIALS if quick else TRIALS), steps=steps)
    context = multiprocessing.get_context("spawn")
    with (
        progress() as bar,
        ProcessPoolExecutor(os.cpu_count(), context, torch.set_num_threads, (1,)) as pool,
    ):
        running = pool.map(task, *zip(*cases, strict=True))
        found = list(bar.track(running, total=len(cases), description="searches"))
    columns = [f"{count * steps[1]} steps" for count in AT_FULL_TRIALS]
    lasts = {s: [one.best_S[-1] for one in found if one.sampler == s] for s in chosen}
    ahead = {
        sampler: [a - b for a, b in zip(lasts[sampler], lasts[chosen[0]], strict=True)]
        for sampler in chosen[1:]
    }
    publish(
        "Samplers on real pictures",
        f"Best LPIPS of searches of {task.keywords['trials']} trials with rungs from {steps[0]} to"
        f" {steps[1]} steps at {SIZE_PX} px, {LANES} at a time, by steps of all trials.",
        [
            Section(title="Mean of all searches", rows=[_mean(found, s, columns) for s in chosen]),
            Section(title="Search by search", rows=[_row(one, columns) for one in found]),
            Section(
                title="Behind the default at the end",
                text="By pair and seed, with the standard error.",
                rows=[
                    {"sampler": sampler, "behind": mean(by), "±": _error(by), "of": len(by)}
                    for sampler, by in ahead.items()
                ],
            ),
        ],
        goals=[
            Goal(name=f"{sampler} behind the default, LPIPS", value=mean(by), goal=0.0)
            for sampler, by in ahead.items()
        ],
        json_file=json_file,
    )


def search(pair: str, sampler: str, seed: int, *, trials: int, steps: tuple[int, int]) -> Found:
    """One search in this process."""
    timeline = Timeline()
    made = scratch_search(
        CATALOGUE["gram"],
        timeline,
        trials=trials,
        steps=steps,
        size_px=SIZE_PX,
        lanes=LANES,
        sampler=sampler,
        seed=seed,
    )
    with made as (scratch, job):
        InlineBackend().run(scratch, workload_of(pairs_from([pair])[0], SIZE_PX), job)
    at: dict[int, int] = {}
    spent: list[int] = []
    best: list[float] = []
    for report in timeline.reports:
        at[report.trial] = report.steps
        spent.append(sum(at.values()))
        best.append(min([report.objective, *best[-1:]]))
    upto = [max(sum(s <= count * steps[1] for s in spent) - 1, 0) for count in AT_FULL_TRIALS]
    return Found(pair=pair, sampler=sampler, seed=seed, best_S=[best[index] for index in upto])


def _mean(found: Sequence[Found], sampler: str, columns: Sequence[str]) -> Row:
    of_sampler = [one.best_S for one in found if one.sampler == sampler]
    means = map(mean, zip(*of_sampler, strict=True))
    return {"sampler": sampler, **dict(zip(columns, means, strict=True))}


def _row(one: Found, columns: Sequence[str]) -> Row:
    values = dict(zip(columns, one.best_S, strict=True))
    return {"pair": one.pair.partition("=")[0], "seed": one.seed, "sampler": one.sampler, **values}


def _error(values: Sequence[float]) -> float:
    return stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")


if __name__ == "__main__":
    run(main)
