"""Simulation of a run on a virtual clock, with recorded curves in place of engines.

`Search` decides as in a run; only scores are looked up. Thousands of trials and workers take
seconds, and results of two simulations differ only because of the search.
"""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path

from search_spaces import Params, Space
from tuner.job.spec import JobSpec
from tuner.search.halving import Decision
from tuner.search.protocol import Callback, Plan
from tuner.search.search import Search
from tuner.study.records import Report
from tuner.study.run_dir import RunDir
from tuner.study.study import RunStudy

#: (parameters, steps) -> scores.
Scores = Callable[[Params, int], Mapping[str, float]]


@dataclass(frozen=True, kw_only=True)
class Event:
    """A report of a trial.

    Attributes:
        steps: number of steps of all trials so far.
        trial: number of the trial.
        trial_steps: number of steps of the trial.
        value: objective, negated if higher is better.
    """

    steps: int
    trial: int
    trial_steps: int
    value: float


@dataclass(kw_only=True)
class SearchTrace:
    """History of a simulated search.

    Attributes:
        events: reports in order of time.
        busy_s: working time of all workers together in seconds; a step takes one second.
        end_s: time at which the last trial ended.
    """

    events: list[Event] = field(default_factory=list)
    busy_s: float = 0.0
    end_s: float = 0.0

    def best_by(self, steps: float) -> float:
        """Return the lowest value within a number of steps of all trials; infinity if none."""
        values = [e.value for e in self.events if e.steps <= steps and isfinite(e.value)]
        return min(values, default=float("inf"))

    def steps_until(self, value: float) -> float:
        """Return the steps of all trials until a value this low; infinity if never."""
        return next((e.steps for e in self.events if e.value <= value), float("inf"))


class _Silent(Callback):
    """A callback that ignores all events."""


def simulate(
    job: JobSpec,
    space: Space,
    scores: Scores,
    *,
    workers: int = 1,
) -> SearchTrace:
    """Simulate a job in memory; a step takes one second of the virtual clock.

    Args:
        job: search, halving, objective and budget; its images are not read.
        space: search space.
        scores: returns the scores of a configuration after some steps.
        workers: number of trials that run at the same time.
    """
    with tempfile.TemporaryDirectory() as scratch:
        study = RunStudy.in_memory(goals=job.goals)
        now = _Clock()
        search = Search(study, RunDir(Path(scratch)), job, space, callback=_Silent(), clock=now)
        return _play(search, study, scores, workers, now)


def _params(study: RunStudy, trial: int) -> Params:
    """Return the parameters of a trial; those of a final are its finalist's."""
    record = study.record(trial)
    return record.params if record.final_of is None else study.record(record.final_of).params


class _Clock:
    def __init__(self) -> None:
        self.at_s = 0.0

    def __call__(self) -> float:
        return self.at_s


def _play(
    search: Search,
    study: RunStudy,
    scores: Scores,
    workers: int,
    clock: _Clock,
) -> SearchTrace:
    trace = SearchTrace()
    # Heap of trials on workers: (time of the next report, order, plan, steps at the report).
    running: list[tuple[float, int, Plan, int]] = []
    idle, order, all_steps = workers, 0, 0
    steps_of: dict[int, int] = {}

    def send(plan: Plan, steps: int) -> None:
        nonlocal order
        until = plan.next_rung(steps)
        trace.busy_s += until - steps
        order += 1
        heapq.heappush(running, (clock.at_s + until - steps, order, plan, until))

    while True:
        while idle and (plan := search.next()):
            idle -= 1
            send(plan, steps_of.get(plan.trial, 0))
        if not running:
            trace.end_s = clock.at_s
            return trace
        clock.at_s, _, plan, steps = heapq.heappop(running)
        all_steps += steps - steps_of.get(plan.trial, 0)
        steps_of[plan.trial] = steps
        trial_scores = dict(scores(_params(study, plan.trial), steps))
        trial_scores.setdefault("seconds_per_image", float(steps))
        report = Report(
            trial=plan.trial, steps=steps, scores=trial_scores, seconds=float(steps), worker=""
        )
        value = search.goals.first.loss(search.goals.first.of(trial_scores))
        trace.events.append(
            Event(
                steps=all_steps,
                trial=plan.trial,
                trial_steps=steps,
                value=value,
            )
        )
        if search.report(report, list) is Decision.CONTINUE:
            send(plan, steps)
        else:
            idle += 1
