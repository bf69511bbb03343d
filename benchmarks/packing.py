"""Finished trials per hour of one job: lanes of one engine against a process per trial.

Every way runs the same configurations to the same step and scores them. All of them step with our
engine's code, so what differs is only how trials are packed.
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
from typing import Annotated, Any

import torch
import typer

from benchmarks import packing_trial
from benchmarks.common import (
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
from benchmarks.packing_trial import Task
from benchmarks.runs import Timeline, on_ray, scratch_search, workload_of
from nst_core.config import StyleConfig
from nst_core.stylization import default_device
from search_spaces import CATALOGUE

SIZE_PX = 96
TRIALS, QUICK_TRIALS = 24, 4
STEPS, QUICK_STEPS = 60, 20
ROUNDS, QUICK_ROUNDS = 2, 1

#: Processes that share a GPU.
SHARING = (4, 8)

Way = Callable[[], None]


def main(
    size_px: Annotated[int, typer.Option(help="longer side")] = SIZE_PX,
    trials: Annotated[int | None, typer.Option(help="configurations")] = None,
    steps: Annotated[int | None, typer.Option(help="steps of each")] = None,
    lanes: Annotated[int | None, typer.Option(help="trials at a time on an engine of ours")] = None,
    quick: QuickOption = False,
    json_file: JsonOption = None,
) -> None:
    """Time the same job packed in several ways; process and cluster start-up count."""
    trials = trials or (QUICK_TRIALS if quick else TRIALS)
    steps = steps or (QUICK_STEPS if quick else STEPS)
    (pair,) = pairs_from(None, count=1)
    ways = make_ways(pair, size_px, configs_of_a_job(size_px, trials, steps), lanes)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    rounds = QUICK_ROUNDS if quick else ROUNDS
    for turn in range(rounds):
        for name, way in ways.items():
            err.print(f"round {turn + 1} of {rounds}: {name}")
            started = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - started)
    rows = [row_of(name, seconds, trials) for name in ways]
    best_rival = min(median(seconds[name]) for name in ways if name != OURS)
    device = default_device()
    publish(
        "Packing",
        f"{trials} configurations of the space `gram`, {steps} steps each at {size_px} px, then"
        f" scored; {rounds} round(s) in which the ways take turns. Start-up counts.",
        [Section(title="Finished trials", rows=rows)],
        goals=[
            Goal(
                name="times the best alternative",
                value=best_rival / median(seconds[OURS]),
                goal=3.0 if device.type == "cuda" else 1.3,
            )
        ],
        json_file=json_file,
    )


OURS = "ours: lanes of an engine"


def row_of(name: str, seconds: dict[str, list[float]], trials: int) -> Row:
    """Throughput of one way, and how much faster ours is."""
    typical = median(seconds[name])
    return {
        "way": name,
        "seconds": typical,
        "fastest": min(seconds[name]),
        "slowest": max(seconds[name]),
        "trials per hour": 3600 * trials / typical,
        "ours is × faster": typical / median(seconds[OURS]),
    }


def configs_of_a_job(size_px: int, trials: int, steps: int) -> list[StyleConfig]:
    """The configurations that a random search draws."""
    with scratch_search(
        CATALOGUE["gram"],
        Timeline(),
        trials=trials,
        steps=(steps, steps),
        size_px=size_px,
        sampler="random",
    ) as (search, _):
        plans = [search.next() for _ in range(trials)]
    return [plan.config for plan in plans if plan is not None]


def make_ways(
    pair: Pair, size_px: int, configs: Sequence[StyleConfig], lanes: int | None
) -> dict[str, Way]:
    """Name -> a function that runs the whole job that way."""
    device, cores = default_device(), os.cpu_count() or 1
    task = Task.of(pair, size_px)
    ways: dict[str, Way] = {
        OURS: partial(ours, pair, size_px, configs, lanes),
        "a process per trial, in turn": partial(processes, task, configs, 1, cores, kept=False),
    }
    if device.type == "cuda":
        for sharing in SHARING:
            name = f"Ray Tune, {sharing} processes on the GPU"
            ways[name] = partial(ray_tune, task, configs, {"gpu": 1 / sharing})
            name = f"{sharing} processes that stay, on the GPU"
            ways[name] = partial(processes, task, configs, sharing, 1, kept=True)
    else:
        ways["a process per trial, one per core"] = partial(
            processes, task, configs, cores, 1, kept=False
        )
        ways["Ray Tune, a process per core"] = partial(ray_tune, task, configs, {"cpu": 1})
        ways["a process per core that stays"] = partial(
            processes, task, configs, cores, 1, kept=True
        )
    return ways


def ours(pair: Pair, size_px: int, configs: Sequence[StyleConfig], lanes: int | None) -> None:
    """A run as `nst-tuner launch` makes it."""
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
        raise RuntimeError(f"{len(timeline.ended_s)} of {len(configs)} trials ended")


def processes(
    task: Task, configs: Sequence[StyleConfig], workers: int, threads: int, *, kept: bool
) -> None:
    """Processes that take trials from a queue, each anew for every trial or kept."""
    with ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=packing_trial.set_up,
        initargs=(task, threads),
        max_tasks_per_child=None if kept else 1,
    ) as pool:
        list(pool.map(packing_trial.run_trial, [config.to_dict() for config in configs]))


def ray_tune(task: Task, configs: Sequence[StyleConfig], resources: dict[str, float]) -> None:
    """Stock Ray Tune with a function that runs a whole trial, in processes that share a device."""
    from ray import tune

    from tuner.ray_backend import connected

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
        if tuner.fit().num_errors:
            raise RuntimeError("trials of stock Ray Tune failed")


if __name__ == "__main__":
    run(main)
