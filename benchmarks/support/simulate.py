"""A run on a virtual clock: recorded curves instead of engines, all decisions by the real code.

`Search` decides as it does in a run; only the work is looked up. Thousands of workers and trials
take seconds, and every difference between two runs is one of the search.
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
from tuner.sampling.lengthscales import LENGTHS, Lengths
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
    """A report.

    Attributes:
        steps: that all trials had taken by then.
        trial: which one.
        trial_steps: where it was.
        value: its objective, turned so that lower is better.
    """

    steps: int
    trial: int
    trial_steps: int
    value: float


@dataclass(kw_only=True)
class Course:
    """What happened.

    Attributes:
        events: reports in their order.
        busy_s: time that workers worked, of all workers together; a step takes one second.
        end_s: when the last trial ended.
    """

    events: list[Event] = field(default_factory=list)
    busy_s: float = 0.0
    end_s: float = 0.0

    def best_by(self, steps: float) -> float:
        """The lowest objective that was reported within so many steps of all trials."""
        found = [e.value for e in self.events if e.steps <= steps and isfinite(e.value)]
        return min(found, default=float("inf"))

    def steps_until(self, value: float) -> float:
        """Steps of all trials until an objective this low was reported; infinite if never."""
        return next((e.steps for e in self.events if e.value <= value), float("inf"))


class _Silent(Callback):
    """A callback that watches nothing."""


def simulate(
    job: JobSpec,
    space: Space,
    scores: Scores,
    *,
    workers: int = 1,
    lengths: Lengths | None = None,
) -> Course:
    """Carry out a job on a virtual clock, in memory; a step takes one second.

    Args:
        job: its search, halving, objective and budget; its pictures are not read.
        space: what is searched.
        scores: what a configuration reaches.
        workers: trials at a time.
        lengths: over which parameters matter, where that is known.
    """
    with tempfile.TemporaryDirectory() as scratch:
        study = RunStudy.in_memory(goals=job.goals)
        study.note(LENGTHS, dict(lengths or {}))
        now = _Clock()
        search = Search(study, RunDir(Path(scratch)), job, space, callback=_Silent(), clock=now)
        return _play(search, study, scores, workers, now)


def _params(study: RunStudy, trial: int) -> Params:
    """What a trial runs; a final runs what its finalist did."""
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
) -> Course:
    course = Course()
    # (when, order, plan, steps it comes to): what workers are doing, the next to end first.
    under_way: list[tuple[float, int, Plan, int]] = []
    idle, order, all_steps = workers, 0, 0
    steps_of: dict[int, int] = {}

    def send(plan: Plan, steps: int) -> None:
        nonlocal order
        until = plan.next_rung(steps)
        course.busy_s += until - steps
        order += 1
        heapq.heappush(under_way, (clock.at_s + until - steps, order, plan, until))

    while True:
        while idle and (plan := search.next()):
            idle -= 1
            send(plan, steps_of.get(plan.trial, 0))
        if not under_way:
            course.end_s = clock.at_s
            return course
        clock.at_s, _, plan, steps = heapq.heappop(under_way)
        all_steps += steps - steps_of.get(plan.trial, 0)
        steps_of[plan.trial] = steps
        found = dict(scores(_params(study, plan.trial), steps))
        found.setdefault("seconds_per_image", float(steps))
        report = Report(
            trial=plan.trial, steps=steps, scores=found, seconds=float(steps), worker=""
        )
        value = search.goals.first.loss(search.goals.first.of(found))
        course.events.append(
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
