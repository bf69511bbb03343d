"""Simulation of stock Ray Tune, with its OptunaSearch and ASHAScheduler, on a virtual clock.

Ray does not run; the two classes are called in the way Tune's controller calls them.
"""

from __future__ import annotations

import heapq
import warnings
from collections.abc import Callable, Mapping
from math import inf
from types import SimpleNamespace
from typing import Any

from benchmarks.support.simulate import Event, Scores, SearchTrace
from search_spaces import Params, Space
from tuner.sampling.optuna_space import suggested

#: The metric to minimize.
METRIC = "lpips"


def simulate_stock(
    space: Space,
    scores: Scores,
    *,
    trials: int,
    steps: tuple[int, int],
    reduction: int,
    workers: int,
    seed: int,
    upto: float = inf,
    ended: Callable[[int, Params], None] = lambda trial, params: None,
) -> SearchTrace:
    """Simulate a search of stock Ray Tune; a step takes one second.

    Args:
        space: search space, with its conditions; its initial points are tried first.
        scores: returns the scores of a configuration after some steps.
        trials: number of trials.
        steps: steps of the first and of the last rung.
        reduction: reduction factor of ASHA.
        workers: number of trials that run at the same time.
        seed: seed of the sampler.
        upto: number of steps of all trials after which the search ends.
        ended: called with number and parameters of each trial that ended, also with the search.
    """
    from ray.tune.schedulers import TrialScheduler

    rungs = _rungs(*steps, reduction)
    search, scheduler = _search_and_scheduler(space, steps, reduction, seed)
    trace, clock_s, all_steps, begun = SearchTrace(), 0.0, 0, 0
    idle = workers
    heap: list[tuple[float, int, Any, int]] = []
    while True:
        while idle and begun < trials:
            trial = SimpleNamespace(trial_id=f"t{begun}", number=begun)
            trial.params = _drawn(space, search.suggest(trial.trial_id))
            scheduler.on_trial_add(None, trial)
            heapq.heappush(heap, (clock_s + rungs[0], begun, trial, 0))
            begun, idle = begun + 1, idle - 1
        if not heap or all_steps >= upto:
            trace.end_s = clock_s
            for _, number, trial, _ in heap:
                ended(number, trial.params)
            return trace
        clock_s, number, trial, at = heapq.heappop(heap)
        done = rungs[at]
        all_steps += done - (rungs[at - 1] if at else 0)
        value = scores(trial.params, done)[METRIC]
        trace.events.append(Event(steps=all_steps, trial=number, trial_steps=done, value=value))
        result = {"steps": done, METRIC: value, "training_iteration": at + 1}
        decision = scheduler.on_trial_result(None, trial, result)
        if decision == TrialScheduler.CONTINUE and at + 1 < len(rungs):
            search.on_trial_result(trial.trial_id, result)
            heapq.heappush(heap, (clock_s + rungs[at + 1] - done, number, trial, at + 1))
        else:
            search.on_trial_complete(trial.trial_id, result)
            scheduler.on_trial_complete(None, trial, result)
            ended(number, trial.params)
            idle += 1


def _search_and_scheduler(
    space: Space, steps: tuple[int, int], reduction: int, seed: int
) -> tuple[Any, Any]:
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search = OptunaSearch(
            _defined(space),
            metric=METRIC,
            mode="min",
            points_to_evaluate=[dict(point) for point in space.initial_points],
            seed=seed,
        )
    scheduler = ASHAScheduler(
        time_attr="steps",
        metric=METRIC,
        mode="min",
        max_t=steps[1],
        grace_period=steps[0],
        reduction_factor=reduction,
    )
    return search, scheduler


def _rungs(first: int, last: int, reduction: int) -> list[int]:
    """Return the rungs of ASHA, multiples of the grace period, and the last step."""
    rungs = [first]
    while rungs[-1] * reduction < last:
        rungs.append(rungs[-1] * reduction)
    return [*rungs, last]


def _defined(space: Space) -> Any:
    """Return the space as a define-by-run function of an Optuna trial."""

    def define(trial: Any) -> Mapping[str, Any]:
        suggested(trial, space)
        return {}

    return define


def _drawn(space: Space, suggested: Any) -> Params:
    return {name: suggested[name] for name in space.params if name in suggested}
