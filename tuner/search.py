"""Search: every decision of a run, whichever backend carries it out.

It proposes what to run next, judges each report, and writes both into the study before anything
else happens, so that a run killed at any moment goes on from what the study says.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from nst_core.checkpoints import load_lanes
from nst_core.config import StyleConfig
from nst_core.errors import InputError
from nst_core.presets import Preset
from search_spaces import Params, Space
from tuner.budget import Budget
from tuner.finals import missing_finals
from tuner.halving import Decision, Halving, Ladder, Rung
from tuner.job import JobSpec
from tuner.plan import Plan, Watcher
from tuner.records import EngineStats, Report, RungRecord, TrialRecord
from tuner.rundir import RunDir
from tuner.samplers import planned_point
from tuner.study import Left, RunStudy


class Search:
    """The decisions of one run.

    Args:
        study: the run's study.
        run: where images go.
        job: what is asked for.
        space: where configurations are drawn from.
        presets: baseline presets, which are the first trials, in this order, with a note each.
        starts: parameters of the first trials after them, if not those of the space; what they
            leave open is drawn.
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
        starts: Sequence[Params] | None = None,
        replay: Mapping[int, Params] | None = None,
        watcher: Watcher,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._study, self._run, self._job, self._space = study, run, job, space
        self._presets, self._replay, self._watcher = presets, replay or {}, watcher
        self._starts = space.starts if starts is None else starts
        self.goals = job.goals
        self._halving = Halving(
            rule=job.halving.rule,
            min_steps=job.halving.min_steps,
            reduction=job.halving.reduction,
            order=self.goals.order,
        )
        worked_s = float(study.notes.get("worked_s", 0.0))
        self._budget = Budget(job, clock=clock, worked_s=worked_s)
        self._plain = dataclasses.replace(self._halving, rule="none")
        self._plans: dict[int, Plan] = {}
        self._finals: list[tuple[int, int]] | None = None
        self._waiting: dict[int, Rung] = {}
        self._ladder = Ladder()
        own = study.records(own=True)
        self._begun = sum(record.final_of is None for record in own)
        self._begun_by_others, self._others_run = 0, False
        for record in own:
            self._remember(record)
        self._look_around()
        self._orphans: dict[int, Left] = {}
        for number, left in study.unfinished().items():
            self._take_up(number, left)

    def _remember(self, record: TrialRecord) -> None:
        """Take in what an earlier launch found, or another driver."""
        for steps, rung in record.rungs.items():
            self._count(record.trial, steps, rung, searched=record.searched)
        if record.state != "running":
            self._budget.ended(record.trial, searched=record.searched)

    def _look_around(self) -> None:
        """Take in what other drivers did, where several share the study."""
        if not self._study.shared:
            return
        others = self._study.records(own=False)
        for record in others:
            self._remember(record)
        searched = [record for record in others if record.final_of is None]
        self._begun_by_others = len(searched)
        self._others_run = any(record.state == "running" for record in searched)

    def _take_up(self, number: int, left: Left) -> None:
        """Go on with a trial that a killed driver left running or waiting."""
        self._study.revive(number, self._fixed(number))
        if left.waits is None:
            self._orphans[number] = left
        else:
            self._waiting[number] = self._rung_of(number, left.waits)

    # --- what to run ------------------------------------------------------------------------------

    def next(self) -> Plan | None:
        """The next trial to start or to take up again, or None if there is nothing to do now."""
        with self._study.at_once():
            self._look_around()
            plan = self._next()
        if plan is not None:
            self._plans[plan.trial] = plan
            preset = self._preset(plan.trial)
            self._watcher.planned(plan, preset[0].name if preset else None)
        return plan

    def started_as(self, number: int, tune_id: str) -> None:
        """Record under which id Ray Tune runs a trial."""
        self._study.set_tune_id(number, tune_id)

    @property
    def over(self) -> bool:
        """Whether nothing runs or waits, and nothing is to come."""
        return not self.unfinished and not self._to_begin and self._finals == []

    @property
    def reason(self) -> str:
        """Why a run that is over is over."""
        return self._budget.spent or "all trials are done"

    @property
    def unfinished(self) -> Sequence[int]:
        """Numbers of the trials that have begun and are not over."""
        return (*self._orphans, *self._plans, *self._waiting)

    @property
    def running(self) -> Sequence[int]:
        """Numbers of the trials that were handed out and have not ended or gone to wait since."""
        return tuple(self._plans)

    @property
    def _to_begin(self) -> int:
        """Trials that the search is still to begin."""
        begun = self._begun + self._begun_by_others
        return 0 if self._budget.spent else max(0, self._job.search.trials - begun)

    def _next(self) -> Plan | None:
        while self._orphans and not self._budget.exhausted:
            if (plan := self._orphan()) is not None:
                return plan
        if (promoted := self._promotable()) is not None:
            del self._waiting[promoted]
            self._study.wait(promoted, None)
            return self._plan(promoted, self._study.record(promoted))
        if self._to_begin:
            number = self._study.begin()
            self._begun += 1
            if (fixed := self._fixed(number)) is not None:
                self._study.fix(number, fixed)
            return self._plan(number, None)
        if not self._plans:
            self._close_waiting()
            return self._final()
        return None

    def _orphan(self) -> Plan | None:
        """The first trial that a killed driver left, if it goes on.

        The driver may have died between a report and its decision, which is then made now.
        """
        number, left = next(iter(self._orphans.items()))
        del self._orphans[number]
        record = self._study.record(number)
        plan = self._plans[number] = self._plan(number, record)
        last = max(record.rungs, default=0)
        if last > left.went_on:
            decision = self._decide(number, last, record.rungs[last])
            return plan if decision is Decision.GO_ON else None
        return plan

    def _promotable(self) -> int | None:
        if self._budget.spent:
            return None
        idle = not self._plans and not self._to_begin
        return self._halving.promotable(self._waiting, self._ladder, last=idle)

    def _close_waiting(self) -> None:
        """End what waits in vain, now that nothing runs that could change its place."""
        for number in list(self._orphans):  # only if no time is left for them
            self._end(number, "pruned", self._budget.spent)
        self._orphans = {}
        for number, rung in list(self._waiting.items()):
            reason = self._budget.spent or f"not among the best at step {rung.steps}"
            self._end(number, "pruned", reason)

    def _final(self) -> Plan | None:
        """The next run of a finalist."""
        if self._finals is None:
            self._finals = [] if self._budget.exhausted else self._wanted_finals()
        if not self._finals:
            return None
        trial, seed = self._finals.pop(0)
        record = self._study.record(trial)
        best = record.best_rung(self.goals)
        assert best is not None
        chosen = StyleConfig.from_dict(record.config, source=f"trial {trial}")
        config = chosen.stopped_at(best[0]).replace(seed=seed)
        number = self._study.begin()
        self._study.assign(number, config.to_dict(), final_of=trial)
        return Plan(trial=number, config=config, rungs=(config.steps,), holdout=True)

    def _wanted_finals(self) -> list[tuple[int, int]]:
        if self._others_run:
            return []  # whoever ends last knows who the best are
        finals = self._job.finals
        return missing_finals(self._study.records(), self.goals, finals.count, finals.seeds)

    def _plan(self, number: int, record: TrialRecord | None) -> Plan:
        if record is not None and record.config:
            config = StyleConfig.from_dict(record.config, source=f"trial {number}")
        else:
            config = self._configure(number)
        final = record is not None and record.final_of is not None
        rungs = (config.steps,) if final else self._rungs(number, config.steps)
        done = max(record.rungs, default=0) if record else 0
        left = tuple(steps for steps in rungs if steps > done)
        return Plan(trial=number, config=config, rungs=left, holdout=final)

    def _rungs(self, number: int, max_steps: int) -> tuple[int, ...]:
        halving = self._plain if self._preset(number) else self._halving
        return halving.rungs(number, max_steps)

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
        """Parameters that a trial must have: replayed ones, a start of the space, a planned one."""
        if self._replay:
            return self._replay.get(number)
        index = number - len(self._presets)
        if 0 <= index < len(self._starts):
            return self._starts[index]
        search = self._job.search
        return planned_point(search.sampler, self._space, max(0, index), search.seed)

    def _preset(self, number: int) -> tuple[Preset, str | None] | None:
        return self._presets[number] if number < len(self._presets) else None

    # --- what came of it --------------------------------------------------------------------------

    def report(self, report: Report, images: Callable[[], Sequence[bytes]]) -> Decision:
        """Judge a report; returns whether the trial goes on, waits or ends.

        Args:
            report: what the engine says.
            images: gives the trial's PNG files; asked only if they are its best so far.
        """
        number = report.trial
        if number not in self._plans:
            return Decision.STOP
        failure = report.failure
        if not failure and not all(map(math.isfinite, self.goals.values(report.scores))):
            failure = f"step {report.steps}: the objective is not a finite number"
        if failure:
            self.fail(number, failure)
            return Decision.STOP
        rung = RungRecord(
            objective=self.goals.first.of(report.scores),
            scores=dict(report.scores),
            pair_scores=[dict(scores) for scores in report.pair_scores],
            losses=dict(report.losses),
            seconds=report.seconds,
            worker=report.worker,
        )
        if self._is_best_of_trial(number, rung):
            self._run.save_images(number, images())
        with self._study.at_once():
            self._look_around()
            self._study.report(number, report.steps, rung)
            if self._job.budget.minutes is not None:
                self._study.note("worked_s", self._budget.worked_s)
            searched = self._study.record(number).searched
            self._count(number, report.steps, rung, searched=searched)
            self._watcher.reported(number, report.steps, rung)
            return self._decide(number, report.steps, rung)

    def keep_lanes(self, number: int, lanes: bytes) -> None:
        """Keep where a trial was at its last rung, as an engine saved it, until the trial ends."""
        if number in self.unfinished:
            self._run.save_lanes(number, lanes)

    def kept_lanes(self, number: int) -> bytes | None:
        """What `keep_lanes` kept of a trial, by this driver or one before it."""
        path = self._run.lanes_file(number)
        if not path.is_file():
            return None
        content = path.read_bytes()
        try:
            load_lanes(content)
        except InputError:
            self._study.remark(number, "its saved lanes were damaged, so it began again")
            return None
        return content

    def engines_ended(self, stats: Sequence[EngineStats]) -> None:
        """Record what the engines of this launch did with their time."""
        before = self._study.notes.get("engines", [])
        self._study.note("engines", [*before, *map(asdict, stats)])

    def fail(self, number: int, reason: str) -> None:
        """Close a trial that cannot go on; a trial that is over already is left alone."""
        self._end(number, "failed", reason)

    def _count(self, number: int, steps: int, rung: RungRecord, *, searched: bool) -> None:
        values = self.goals.values(rung.scores)
        self._budget.reported(number, rung.seconds, values, searched=searched)
        if searched:
            self._ladder.add(self._rung_of(number, steps), number, values)

    def _rung_of(self, number: int, steps: int) -> Rung:
        return self._halving.rung(self._rungs(number, self._job.halving.max_steps), steps)

    def _decide(self, number: int, steps: int, rung: RungRecord) -> Decision:
        if steps >= self._plans[number].config.steps:
            self._end(number, "complete", None)
            return Decision.STOP
        if self._budget.spent:
            self._end(number, "pruned", self._budget.spent)
            return Decision.STOP
        if self._preset(number):  # they run to their end, so that what was gained is known
            self._study.go_on(number, steps)
            return Decision.GO_ON
        for bound in self.goals.constraints:
            if bound.lasting and bound.excess(rung.scores) > 0:
                self._end(number, "pruned", f"breaks {bound.name} at step {steps}")
                return Decision.STOP
        here = self._rung_of(number, steps)
        unfinished = [other for other in self.unfinished if other not in self._ladder.at(here)]
        decision = self._halving.decide(
            number, here, self._ladder, to_come=len(unfinished) + self._to_begin
        )
        if decision is Decision.WAIT:
            del self._plans[number]
            self._waiting[number] = here
            self._study.wait(number, steps)
        elif decision is Decision.STOP:
            self._end(number, "pruned", f"not among the best at step {steps}")
        else:
            self._study.go_on(number, steps)
        return decision

    def _end(self, number: int, state: str, reason: str | None) -> None:
        if number not in self.unfinished:
            return
        self._plans.pop(number, None)
        self._waiting.pop(number, None)
        searched = self._study.record(number).searched
        self._study.finish(number, state, reason)
        self._run.lanes_file(number).unlink(missing_ok=True)
        self._budget.ended(number, searched=searched)
        self._watcher.ended(number, state, reason)

    def _is_best_of_trial(self, number: int, rung: RungRecord) -> bool:
        best = self._study.record(number).best_rung(self.goals)
        values = self.goals.values
        return best is None or values(rung.scores)[:2] < values(best[1].scores)[:2]
