"""Search: every decision of a run, whichever backend carries it out.

It proposes what to run next, judges each report, and writes both into the study before anything
else happens, so that a run killed at any moment goes on from what the study says.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from nst_core.config import StyleConfig
from nst_core.errors import ConfigError
from nst_core.presets import Preset
from search_spaces import Params, Space
from tuner.job import JobSpec
from tuner.records import EngineStats, Report, RungRecord, TrialRecord
from tuner.rundir import RunDir
from tuner.rungs import goes_on, next_rungs, rung_steps
from tuner.study import RunStudy


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One trial to run: ``config`` until ``config.steps``, reporting at ``rungs``."""

    trial: int
    config: StyleConfig
    rungs: tuple[int, ...]

    def next_rung(self, steps: int) -> int:
        """The step at which it reports next."""
        return next_rungs(self.rungs, steps)[0]

    def next_two(self, steps: int) -> tuple[int, int | None]:
        """The step at which it reports next, and the one after, if there is one."""
        return next_rungs(self.rungs, steps)


class Watcher(Protocol):
    """Is told what happens in a run, to show it."""

    def planned(self, plan: Plan, preset: str | None) -> None:
        """A trial is about to start."""

    def reported(self, trial: int, steps: int, rung: RungRecord) -> None:
        """A trial reached a rung."""

    def ended(self, trial: int, state: str, reason: str | None) -> None:
        """A trial is over."""


class Search:
    """The decisions of one run.

    Args:
        study: the run's study.
        run: where images go.
        job: what is asked for.
        space: where configurations are drawn from.
        presets: baseline presets, which are the first trials, in this order, with a note each.
        replay: recorded parameters to use instead of drawing, by trial number.
        watcher: is told of everything.
        clock: seconds, for the time budget.
    """

    def __init__(
        self,
        study: RunStudy,
        run: RunDir,
        job: JobSpec,
        space: Space,
        *,
        presets: Sequence[tuple[Preset, str | None]] = (),
        replay: Mapping[int, Params] | None = None,
        watcher: Watcher,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._study, self._run, self._job, self._space = study, run, job, space
        self._presets, self._replay, self._watcher = presets, replay or {}, watcher
        self._clock, self._started = clock, clock()
        self._worked_before_s = float(study.notes.get("worked_s", 0.0))
        self._orphans = study.unfinished()
        self._plans: dict[int, Plan] = {}

    # --- what to run ------------------------------------------------------------------------------

    def next(self) -> Plan | None:
        """The next trial to start, or None if there is nothing more to start."""
        if self.exhausted:
            return None
        with self._study.at_once():
            if self._orphans:
                number = self._orphans.pop(0)
                plan = self._plan(number, self._study.revive(number, self._fixed(number)))
            else:
                number = self._study.begin(self._fixed(len(self._study)))
                plan = self._plan(number, None)
        self._plans[number] = plan
        preset = self._preset(number)
        self._watcher.planned(plan, preset[0].name if preset else None)
        return plan

    def started_as(self, number: int, tune_id: str) -> None:
        """Record under which id Ray Tune runs a trial."""
        self._study.set_tune_id(number, tune_id)

    @property
    def exhausted(self) -> bool:
        """Whether `next` has nothing more to give."""
        return self.out_of_time or (
            not self._orphans and len(self._study) >= self._job.search.trials
        )

    @property
    def out_of_time(self) -> bool:
        """Whether the job's time budget is spent."""
        minutes = self._job.budget.minutes
        return minutes is not None and self._worked_s >= minutes * 60

    @property
    def running(self) -> Sequence[int]:
        """Numbers of the trials handed out and not yet over."""
        return tuple(self._plans)

    @property
    def _worked_s(self) -> float:
        return self._worked_before_s + self._clock() - self._started

    def _plan(self, number: int, record: TrialRecord | None) -> Plan:
        if record is not None and record.config:
            config = StyleConfig.from_dict(record.config, source=f"trial {number}")
        else:
            config = self._configure(number)
        halving = self._job.halving
        rungs = rung_steps(min(halving.min_steps, config.steps), config.steps, halving.reduction)
        return Plan(trial=number, config=config, rungs=rungs)

    def _configure(self, number: int) -> StyleConfig:
        max_steps = self._job.halving.max_steps
        if preset := self._preset(number):
            steps = min(preset[0].config.steps, max_steps)
            config = preset[0].config.replace(
                size_px=self._job.size_px, steps=steps, schedule_steps=None
            )
            notes = [preset[1]] if preset[1] else []
            if steps < preset[0].config.steps:
                notes.append(f"{steps} of its {preset[0].config.steps} steps")
            note = "; ".join(notes) or None
            self._study.assign(number, config.to_dict(), preset=preset[0].name, note=note)
            return config
        params = self._study.draw(number, self._space)
        fixed: dict[str, Any] = {"size_px": self._job.size_px, "steps": max_steps}
        config = self._space.build(params, **fixed)
        self._study.assign(number, config.to_dict())
        return config

    def _fixed(self, number: int) -> Params | None:
        """Parameters that a trial must have: replayed ones, or one of the space's starts."""
        if self._replay:
            return self._replay.get(number)
        start = number - len(self._presets)
        return self._space.starts[start] if 0 <= start < len(self._space.starts) else None

    def _preset(self, number: int) -> tuple[Preset, str | None] | None:
        return self._presets[number] if number < len(self._presets) else None

    # --- what came of it --------------------------------------------------------------------------

    def report(self, report: Report, images: Callable[[], Sequence[bytes]]) -> bool:
        """Judge a report; returns whether the trial goes on.

        Args:
            report: what the engine says.
            images: gives the trial's PNG files; asked only if they are its best so far.
        """
        number = report.trial
        if number not in self._plans:
            return False
        if report.failure:
            self.fail(number, report.failure)
            return False
        rung = RungRecord(
            objective=report.scores[self._job.objective],
            scores=dict(report.scores),
            pair_scores=[dict(scores) for scores in report.pair_scores],
            losses=dict(report.losses),
            seconds=report.seconds,
            worker=report.worker,
        )
        if self._is_best_of_trial(number, rung):
            self._run.save_images(number, images())
        with self._study.at_once():
            self._study.report(number, report.steps, rung)
            if self._job.budget.minutes is not None:
                self._study.note("worked_s", self._worked_s)
            self._watcher.reported(number, report.steps, rung)
            return self._decide(number, report.steps, rung.objective)

    def engines_ended(self, stats: Sequence[EngineStats]) -> None:
        """Record what the engines of this launch did with their time."""
        before = self._study.notes.get("engines", [])
        self._study.note("engines", [*before, *map(asdict, stats)])

    def fail(self, number: int, reason: str) -> None:
        """Close a trial that cannot go on; a trial that is over already is left alone."""
        self._end(number, "failed", reason)

    def _decide(self, number: int, steps: int, value: float) -> bool:
        if steps >= self._plans[number].rungs[-1]:
            self._end(number, "complete", None)
            return False
        if self.out_of_time:
            self._end(number, "pruned", "the time budget was spent")
            return False
        if self._preset(number):
            return True  # baselines run to their end, so that what was gained is known
        others = self._study.values_at(steps, without=number)
        stays = goes_on(
            value,
            others,
            reduction=self._job.halving.reduction,
            higher_is_better=self._job.higher_is_better,
        )
        if not stays:
            self._end(number, "pruned", f"not among the best at step {steps}")
        return stays

    def _end(self, number: int, state: str, reason: str | None) -> None:
        if self._plans.pop(number, None) is None:
            return
        self._study.finish(number, state, reason)
        self._watcher.ended(number, state, reason)

    def _is_best_of_trial(self, number: int, rung: RungRecord) -> bool:
        best = self._study.record(number).best_rung(self._job.higher_is_better)
        if best is None:
            return True
        better = rung.objective > best[1].objective
        return better if self._job.higher_is_better else rung.objective < best[1].objective


def check_replay(job: JobSpec, space: Space, recorded: Sequence[TrialRecord]) -> dict[int, Params]:
    """Parameters to replay by trial number, checked against this job's space.

    Raises:
        ConfigError: the recorded run searched another space, or has too few trials.
    """
    problems = []
    if len(recorded) < job.search.trials:
        problems.append(
            f"it holds {len(recorded)} trials, expected at least the {job.search.trials} of the job"
        )
    replay = {}
    for record in recorded[: job.search.trials]:
        if record.preset is None:
            replay[record.trial] = record.params
            try:
                space.build(record.params)
            except ConfigError as error:
                problems.append(f"trial {record.trial}: {error.problems[0]}")
    if problems:
        raise ConfigError(f"search.replay: {job.search.replay}", problems)
    return replay
