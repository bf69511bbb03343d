"""A run on a virtual clock: recorded curves instead of engines, all decisions by the real code.

`Search` decides as it does in a run; only the work is looked up. Thousands of workers and trials
take seconds, and every difference between two runs is one of the search.
"""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from search_spaces import Params, Space
from tuner.halving import Decision
from tuner.job import JobSpec
from tuner.plan import Plan
from tuner.records import Report, RungRecord
from tuner.rundir import RunDir
from tuner.search import Search
from tuner.study import RunStudy

#: (parameters, steps) -> scores, and seconds that a step takes.
Scores = Callable[[Params, int], Mapping[str, float]]
StepSeconds = Callable[[Params], float]


@dataclass(frozen=True, kw_only=True)
class Event:
    """A report on the virtual clock.

    Attributes:
        at_s: seconds since the start.
        steps: that all trials had taken by then.
        trial: which one.
        trial_steps: where it was.
        value: its objective.
    """

    at_s: float
    steps: int
    trial: int
    trial_steps: int
    value: float


@dataclass(kw_only=True)
class Course:
    """What happened.

    Attributes:
        events: reports in their order.
        busy_s: time that workers worked, of all workers together.
        end_s: when the last trial ended.
    """

    events: list[Event] = field(default_factory=list)
    busy_s: float = 0.0
    end_s: float = 0.0

    def best_by(self, steps: float) -> float:
        """The lowest objective that was reported within so many steps of all trials."""
        found = [event.value for event in self.events if event.steps <= steps]
        return min(found, default=float("inf"))

    def steps_until(self, value: float) -> float:
        """Steps of all trials until an objective this low was reported; infinite if never."""
        return next((e.steps for e in self.events if e.value <= value), float("inf"))


class _Silent:
    """A watcher that watches nothing."""

    def planned(self, plan: Plan, preset: str | None) -> None:
        """As `Watcher`."""

    def reported(self, trial: int, steps: int, rung: RungRecord) -> None:
        """As `Watcher`."""

    def ended(self, trial: int, state: str, reason: str | None) -> None:
        """As `Watcher`."""


def simulate(
    job: JobSpec,
    space: Space,
    scores: Scores,
    *,
    workers: int = 1,
    step_s: StepSeconds = lambda _: 1.0,
    overhead_s: float = 0.0,
) -> Course:
    """Carry out a job on a virtual clock, in memory.

    Args:
        job: its search, halving, objective and budget; its pictures are not read.
        space: what is searched.
        scores: what a configuration reaches.
        workers: trials at a time.
        step_s: seconds of a step.
        overhead_s: seconds that a worker takes between two trials.
    """
    with tempfile.TemporaryDirectory() as scratch:
        study = RunStudy.in_memory(
            goals=job.goals, sampler=job.search.sampler, seed=job.search.seed
        )
        now = _Clock()
        search = Search(study, RunDir(Path(scratch)), job, space, watcher=_Silent(), clock=now)
        return _play(search, study, scores, workers, step_s, overhead_s, now)


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
    step_s: StepSeconds,
    overhead_s: float,
    clock: _Clock,
) -> Course:
    course = Course()
    # (when, order, plan, steps it comes from): what workers are doing, the next to end first.
    under_way: list[tuple[float, int, Plan, int]] = []
    idle, order, all_steps = workers, 0, 0
    steps_of: dict[int, int] = {}
    seconds_of: dict[int, float] = {}

    def send(plan: Plan, steps: int, extra_s: float) -> None:
        nonlocal order
        until = plan.next_rung(steps)
        took_s = (until - steps) * step_s(study.record(plan.trial).params)
        course.busy_s += took_s
        seconds_of[plan.trial] = seconds_of.get(plan.trial, 0.0) + took_s
        order += 1
        heapq.heappush(under_way, (clock.at_s + extra_s + took_s, order, plan, until))

    while True:
        while idle and (plan := search.next()):
            idle -= 1
            send(plan, steps_of.get(plan.trial, 0), overhead_s)
        if not under_way:
            course.end_s = clock.at_s
            return course
        clock.at_s, _, plan, steps = heapq.heappop(under_way)
        all_steps += steps - steps_of.get(plan.trial, 0)
        steps_of[plan.trial] = steps
        found = dict(scores(study.record(plan.trial).params, steps))
        found.setdefault("seconds_per_image", seconds_of[plan.trial])
        report = Report(
            trial=plan.trial, steps=steps, scores=found, seconds=seconds_of[plan.trial], worker=""
        )
        value = search.goals.first.of(found)
        course.events.append(
            Event(
                at_s=clock.at_s,
                steps=all_steps,
                trial=plan.trial,
                trial_steps=steps,
                value=value,
            )
        )
        if search.report(report, list) is Decision.GO_ON:
            send(plan, steps, 0.0)
        else:
            idle += 1
