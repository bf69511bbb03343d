"""Finished trials per hour: many lanes on an engine against one process per trial.

Command: ``python -m benchmarks.packing``. All ways run the same configurations to the same step,
    with the same code of a step, and score them. They differ only in how trials share processes and
    devices.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from statistics import median
from typing import Annotated, Any, NamedTuple

import torch
import typer

from benchmarks.support import packing_trial
from benchmarks.support.common import (
    Goal,
    JsonOption,
    Pair,
    QuickOption,
    Row,
    Section,
    err,
    pairs_from,
    publish,
    run,
)
from benchmarks.support.packing_trial import ENDED_S, Task
from benchmarks.support.runs import Timeline, on_ray, scratch_search, steady_rate, workload_of
from nst_core.config import StyleConfig
from nst_core.stylization import default_device
from search_spaces import CATALOGUE
from tuner.cluster.connection import ray_backend

SIZE_PX = 96
TRIALS, QUICK_TRIALS = 24, 4
STEPS, QUICK_STEPS = 60, 20
ROUNDS, QUICK_ROUNDS = 2, 1

#: Numbers of processes that share a GPU.
SHARING = (4, 8)


class Way(NamedTuple):
    """One way to run a job.

    Attributes:
        run: runs the whole job and returns the time at which each trial ended, in seconds.
        slots: number of trials that run at the same time.
    """

    run: Callable[[], Sequence[float]]
    slots: int


class JobTime(NamedTuple):
    """Duration of a whole job in seconds, and trials per hour after all slots were filled once."""

    seconds: float
    per_hour: float


def main(
    size_px: Annotated[int, typer.Option(help="longer side")] = SIZE_PX,
    trials: Annotated[int | None, typer.Option(help="configurations")] = None,
    steps: Annotated[int | None, typer.Option(help="steps of each configuration")] = None,
    lanes: Annotated[int | None, typer.Option(help="lanes of an engine")] = None,
    quick: QuickOption = False,
    json_file: JsonOption = None,
) -> None:
    """Measure the same job, run in several ways."""
    trials = trials or (QUICK_TRIALS if quick else TRIALS)
    steps = steps or (QUICK_STEPS if quick else STEPS)
    (pair,) = pairs_from(None, count=1)
    ways = make_ways(pair, size_px, configs_of_a_job(size_px, trials, steps), lanes)
    times: dict[str, list[JobTime]] = {name: [] for name in ways}
    rounds = QUICK_ROUNDS if quick else ROUNDS
    for turn in range(rounds):
        for name, way in ways.items():
            err.print(f"round {turn + 1} of {rounds}: {name}")
            started = time.perf_counter()
            ended_s = way.run()
            seconds = time.perf_counter() - started
            rate = steady_rate(ended_s, way.slots)
            times[name].append(JobTime(seconds=seconds, per_hour=3600 * rate))
    rows = [row_of(name, times[name], trials) for name in ways]
    ours_row, *other_rows = rows  # ours is the first of the ways
    best = max(row["trials per hour"] for row in other_rows)
    best_whole = min(row["seconds, all"] for row in other_rows)
    publish(
        "Packing",
        f"{trials} configurations of the space `gram`, {steps} steps each at {size_px} px, then"
        f" scored; medians of {rounds} round(s) in which the ways alternate. `seconds, all` is the"
        " whole job with its start-up; trials per hour are counted after every slot was filled"
        " once, as in a longer job.",
        [Section(title="Finished trials", rows=rows)],
        goals=[
            Goal(
                name="times the best alternative",
                value=ours_row["trials per hour"] / best,
                goal=3.0 if default_device().type == "cuda" else 1.3,
            ),
            Goal(
                name="times the best alternative, start-up of this short job included",
                value=best_whole / ours_row["seconds, all"],
                goal=1.0,
            ),
        ],
        json_file=json_file,
    )


OURS = "ours: lanes of an engine"


def row_of(name: str, times: Sequence[JobTime], trials: int) -> Row:
    """Return the throughput of one way."""
    rates = [time.per_hour for time in times]
    return {
        "way": name,
        "trials": trials,
        "seconds, all": median(time.seconds for time in times),
        "trials per hour": median(rates),
        "least": min(rates),
        "most": max(rates),
    }


def configs_of_a_job(size_px: int, trials: int, steps: int) -> list[StyleConfig]:
    """Return the configurations of a random search."""
    with scratch_search(
        CATALOGUE["gram"],
        Timeline(),
        trials=trials,
        steps=(steps, steps),
        size_px=size_px,
        sampler="random",
    ) as (search, _):
        plans = [search.next() for _ in range(trials)]
    configs = [plan.config for plan in plans if plan is not None]
    return [config for config in configs if isinstance(config, StyleConfig)]


def make_ways(
    pair: Pair, size_px: int, configs: Sequence[StyleConfig], lanes: int | None
) -> dict[str, Way]:
    """Return the ways to run the job, by name."""
    device, cores = default_device(), os.cpu_count() or 1
    task = Task.of(pair, size_px)
    ray_backend()  # before anything imports Ray, which reads its settings at import
    from nst_core.lanes.device import CPU_LANES, GPU_LANES

    engines = 1 if device.type == "cuda" else cores
    lanes_of_one = lanes or (GPU_LANES if device.type == "cuda" else CPU_LANES)
    run_ours = partial(ours, pair, size_px, configs, lanes)
    in_turn = partial(processes, task, configs, 1, cores, kept=False)
    ways = {
        OURS: Way(run_ours, engines * lanes_of_one),
        "a process per trial, in turn": Way(in_turn, 1),
    }
    if device.type == "cuda":
        for sharing in SHARING:
            name = f"Ray Tune, {sharing} processes on the GPU"
            ways[name] = Way(partial(ray_tune, task, configs, {"gpu": 1 / sharing}), sharing)
            name = f"{sharing} processes that stay, on the GPU"
            ways[name] = Way(partial(processes, task, configs, sharing, 1, kept=True), sharing)
    else:
        new_each_time, kept = (
            partial(processes, task, configs, cores, 1, kept=k) for k in (False, True)
        )
        ways["a process per trial, one per core"] = Way(new_each_time, cores)
        by_tune = partial(ray_tune, task, configs, {"cpu": 1})
        ways["Ray Tune, a process per core"] = Way(by_tune, cores)
        ways["a process per core that stays"] = Way(kept, cores)
    return ways


def ours(
    pair: Pair, size_px: int, configs: Sequence[StyleConfig], lanes: int | None
) -> Sequence[float]:
    """Run the job like `nst-tuner launch`; return when each trial ended."""
    steps = configs[0].steps
    timeline = Timeline()
    with scratch_search(
        CATALOGUE["gram"],
        timeline,
        trials=len(configs),
        steps=(steps, steps),
        size_px=size_px,
        sampler="random",
        lanes=lanes,
    ) as (search, job):
        on_ray(search, job, workload_of(pair, size_px))
    if len(timeline.ended_s) != len(configs):
        raise RuntimeError(f"only {len(timeline.ended_s)} of {len(configs)} trials ended")
    return list(timeline.ended_s.values())


def processes(
    task: Task, configs: Sequence[StyleConfig], workers: int, threads: int, *, kept: bool
) -> Sequence[float]:
    """Run trials in worker processes; return when each ended.

    Args:
        task: images of the job.
        configs: configurations of the trials.
        workers: number of processes.
        threads: number of CPU threads of each.
        kept: whether a process runs many trials, or one.
    """
    with ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=packing_trial.set_up,
        initargs=(task, threads),
        max_tasks_per_child=None if kept else 1,
    ) as pool:
        done = pool.map(packing_trial.run_trial, [config.to_dict() for config in configs])
        return [trial[ENDED_S] for trial in done]


def ray_tune(
    task: Task, configs: Sequence[StyleConfig], resources: dict[str, float]
) -> Sequence[float]:
    """Run trials in stock Ray Tune with a function per trial; return when each ended."""
    from ray import tune

    from tuner.cluster.connection import connected

    def trial(values: dict[str, Any]) -> None:
        packing_trial.set_up(task, torch.get_num_threads())
        tune.report(packing_trial.run_trial(values["config"]))

    settings = {"config": tune.grid_search([config.to_dict() for config in configs])}
    with connected(None), tempfile.TemporaryDirectory() as scratch:
        tuner = tune.Tuner(
            tune.with_resources(trial, resources),
            param_space=settings,
            run_config=tune.RunConfig(storage_path=scratch, verbose=0),
        )
        results = tuner.fit()
    if results.num_errors:
        raise RuntimeError("trials of stock Ray Tune failed")
    ended = [results[index].metrics for index in range(len(results))]
    return [metrics[ENDED_S] for metrics in ended if metrics]


if __name__ == "__main__":
    run(main)
