"""Simulation of stock Ray Tune, with its OptunaSearch and ASHAScheduler, on a virtual clock.

Ray does not run; the two classes are called in the way Tune's controller calls them.
"""

from __future__ import annotations

import heapq
import warnings
from collections.abc import Mapping
from math import inf
from types import SimpleNamespace
from typing import Any

from benchmarks.support.simulate import Event, Scores, SearchTrace
from search_spaces import Params, Space
from tuner.sampling.optuna_samplers import suggested


def simulate_stock(
    space: Space,
    scores: Scores,
    *,
    trials: int,
    steps: tuple[int, int],
    reduction: int,
    workers: int,
    seed: int,
    metric: str = "lpips",
    upto: float = inf,
) -> SearchTrace:
    """Simulate a search of stock Ray Tune; a step takes one second.

    Args:
        space: search space, with its conditions.
        scores: returns the scores of a configuration after some steps.
        trials: number of trials.
        steps: steps of the first and of the last rung.
        reduction: reduction factor of ASHA.
        workers: number of trials that run at the same time.
        seed: seed of the sampler.
        metric: name of the metric to minimize.
        upto: number of steps of all trials after which the search ends.
    """
    from ray.tune.schedulers import ASHAScheduler, TrialScheduler
    from ray.tune.search.optuna import OptunaSearch

    rungs = _reports(*steps, reduction)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search = OptunaSearch(_defined(space), metric=metric, mode="min", seed=seed)
    scheduler: Any = ASHAScheduler(
        time_attr="steps",
        metric=metric,
        mode="min",
        max_t=steps[1],
        grace_period=steps[0],
        reduction_factor=reduction,
    )
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
            return trace
        clock_s, number, trial, at = heapq.heappop(heap)
        done = rungs[at]
        all_steps += done - (rungs[at - 1] if at else 0)
        value = scores(trial.params, done)[metric]
        trace.events.append(Event(steps=all_steps, trial=number, trial_steps=done, value=value))
        result = {"steps": done, metric: value, "training_iteration": at + 1}
        decision = scheduler.on_trial_result(None, trial, result)
        if decision == TrialScheduler.CONTINUE and at + 1 < len(rungs):
            search.on_trial_result(trial.trial_id, result)
            heapq.heappush(heap, (clock_s + rungs[at + 1] - done, number, trial, at + 1))
        else:
            search.on_trial_complete(trial.trial_id, result)
            scheduler.on_trial_complete(None, trial, result)
            idle += 1


def _reports(first: int, last: int, reduction: int) -> list[int]:
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
