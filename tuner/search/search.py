"""Search: every decision of a run, whichever backend carries it out.

It proposes what to run next, judges each report, and writes both into the study before anything
else happens, so that a run killed at any moment goes on from what the study says.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict

from nst_core.config import StyleConfig
from nst_core.errors import ConfigError
from nst_core.files import read_limited
from nst_core.presets.preset import Preset
from search_spaces import Params, Space
from tuner.job.spec import JobSpec
from tuner.search.budget import Budget
from tuner.search.finals import (
    final_config,
    final_rungs,
    full_rungs,
    missing_finals,
    missing_full_runs,
)
from tuner.search.halving import Decision, Halving, Ladder, Rung
from tuner.search.interrupt import Interrupt
from tuner.search.kept_images import KeptImages
from tuner.search.proposals import Proposals
from tuner.search.protocol import Callback, Plan
from tuner.study.records import EngineStats, Report, RungRecord, Scores, TrialRecord
from tuner.study.run_dir import MAX_BYTES, RunDir
from tuner.study.study import Resumption, RunStudy

log = logging.getLogger(__name__)

#: Note of a study: how many trials had begun when one last brought something better.
IMPROVED = "improved_after"


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
        replay: recorded parameters to use instead of drawing, in the order of the trials.
        costs: gives the costs of a configuration that are known before its first step.
        callback: is told of everything.
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
        replay: Sequence[Params] | None = None,
        costs: Callable[[StyleConfig], Scores] = lambda _: {},
        callback: Callback,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._study, self._run, self._job = study, run, job
        self.callback = callback
        self._proposals = Proposals(
            study, job, space, presets=presets, starts=starts, replay=replay or ()
        )
        self.goals, self._costs = job.goals, costs
        self._halving = Halving(
            rule=job.halving.rule,
            min_steps=job.halving.min_steps,
            reduction=job.halving.reduction,
        )
        worked_s = float(study.notes.get("worked_s", 0.0))
        self._waiting: dict[int, Rung] = {}
        self._budget = Budget(job, clock=clock, worked_s=worked_s, waiting=self._waiting.keys())
        self._plain = dataclasses.replace(self._halving, rule="none")
        self._plans: dict[int, Plan] = {}
        self._images = KeptImages(run, self.goals, study.record)
        #: What is still to run after the search; of a preset that runs in full without a seed.
        self._finals: list[tuple[int, int | None]] | None = None
        #: Trials that are over, whose lanes are to be forgotten.
        self._ended: list[int] = []
        self.interrupt = Interrupt()
        self._ladder = Ladder()
        own = study.records(own=True)
        self._begun = sum(record.final_of is None for record in own)
        self._begun_by_others, self._others_running, self._numbers = 0, 0, 0
        for record in own:
            self._remember(record)
        self._recall_gain()
        self._look_around()
        self._orphans: dict[int, Resumption] = {}
        for number, left in study.unfinished().items():
            self._take_up(number, left)

    def _remember(self, record: TrialRecord) -> None:
        """Take in what an earlier launch found, or another driver."""
        self._numbers = max(self._numbers, record.trial + 1)
        if record.final_of is not None:
            self._proposals.skip(record.trial)
        else:
            self._budget.worked(record.trial, record.seconds)
        for steps, rung in record.rungs.items():
            if record.searched:
                self._count(record.trial, steps, rung, begun=record.trial + 1)
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
        self._recall_gain()
        self._begun_by_others = len(searched)
        self._others_running = self._study.others_running()

    def _recall_gain(self) -> None:
        """When the last gain was, which the order of the trials does not say."""
        noted = self._study.notes.get(IMPROVED, self._budget.improved_after)
        self._budget.improved_after = noted

    def _take_up(self, number: int, left: Resumption) -> None:
        """Go on with a trial that a killed driver left running or waiting."""
        self._study.revive(number)
        if left.waits is None:
            self._orphans[number] = left
        else:
            self._waiting[number] = self._rung_of(number, left.waits)

    # --- what to run ------------------------------------------------------------------------------

    def next(self) -> Plan | None:
        """The next trial to start or to take up again, or None if there is nothing to do now."""
        if self.interrupt.winding_up:
            return None
        with self._at_once():
            self._look_around()
            plan = self._next()
        if plan is not None:
            self._plans[plan.trial] = plan
            _log(plan.trial, "goes on", rungs=plan.rungs)
            self.callback.planned(plan, self._study.record(plan.trial).preset)
        return plan

    @property
    def over(self) -> bool:
        """Whether nothing runs or waits, and nothing is to come."""
        if self.unfinished or self._to_begin:
            return False
        if self._finals is None:  # as in a run that is over and resumed, which needs no engine
            self._look_around()
            self._finals = self._wanted_finals()
        return not self._finals

    @property
    def begun(self) -> bool:
        """Whether any trial has begun, in this launch or an earlier one."""
        return self._begun > 0

    @property
    def wound_up(self) -> bool:
        """Whether the launch was to end, and nothing is under way any more."""
        return self.interrupt.winding_up and not self._plans

    @property
    def others_run(self) -> bool:
        """Whether other drivers of a shared study have trials under way."""
        return self._others_running > 0

    def sign(self) -> None:
        """Let drivers that share the study know that this one lives; to be called often."""
        self._study.sign()

    @property
    def awaits_others(self) -> bool:
        """Whether all that is left waits at rungs, where reports of other drivers may help it."""
        left = self._waiting and not self._plans and not self._budget.spent
        return bool(left) and self.others_run

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
        if self._budget.exhausted:
            self._close_orphans()
        while self._orphans:
            if (plan := self._orphan()) is not None:
                return plan
        if (promoted := self._promotable()) is not None:
            rung = self._waiting.pop(promoted)
            self._study.wait(promoted, None)
            # A promotion is a decision: should the trial lose its place, it is not judged again.
            self._study.go_on(promoted, rung.steps)
            return self._plan(promoted, self._study.record(promoted))
        while self._to_begin:
            number = self._begin()
            self._begun += 1
            if (plan := self._planned(number, None)) is not None:
                return plan
        if any(not plan.final for plan in self._plans.values()):
            return None
        if self.awaits_others:
            return None
        self._close_waiting()
        return self._final()

    def _begin(self) -> int:
        number = self._study.begin()
        self._numbers = max(self._numbers, number + 1)
        return number

    def _orphan(self) -> Plan | None:
        """The first trial that a killed driver left, if it goes on.

        The driver may have died between a report and its decision, which is then made now.
        """
        number, left = next(iter(self._orphans.items()))
        del self._orphans[number]
        record = self._study.record(number)
        if (plan := self._planned(number, record)) is None:
            return None
        self._plans[number] = plan
        last = max(record.rungs, default=0)
        if last > left.went_on:
            decision = self._decide(number, last, record.rungs[last])
            return plan if decision is Decision.CONTINUE else None
        return plan

    def _promotable(self) -> int | None:
        if self._budget.spent:
            return None
        idle = not self._plans and not self._to_begin and not self.others_run
        return self._halving.promotable(self._waiting, self._ladder, last=idle)

    def _close_orphans(self) -> None:
        """End what is left of the search, now that no time is left for it; finals go on."""
        for number in list(self._orphans):
            if self._study.record(number).final_of is None:
                self._end(number, "pruned", self._budget.exhausted)

    def _close_waiting(self) -> None:
        """End what waits in vain, now that nothing runs that could change its place."""
        for number, rung in list(self._waiting.items()):
            reason = self._budget.spent or f"not among the best at step {rung.steps}"
            self._end(number, "pruned", reason)

    def _final(self) -> Plan | None:
        """The next run of a finalist, or of a preset in full."""
        if self._finals is None:
            self._finals = self._wanted_finals()
        if not self._finals:
            return None
        trial, seed = self._finals.pop(0)
        record = self._study.record(trial)
        number = self._begin()
        self._proposals.skip(number)
        if seed is None:
            config, preset = self._proposals.in_full(trial), record.preset
            self._study.assign(number, config.to_dict(), preset=preset, final_of=trial, full=True)
        else:
            config = final_config(record, self.goals, seed)
            self._study.assign(number, config.to_dict(), final_of=trial)
        return self._plan(number, self._study.record(number))

    def _wanted_finals(self) -> list[tuple[int, int | None]]:
        if self.others_run:
            return []  # whoever ends last knows who the best are
        records, finals = self._study.records(), self._job.finals
        own_steps, asked = self._proposals.own_steps(), self._job.baselines.full
        return [
            *missing_finals(records, self.goals, finals.count, finals.seeds),
            *((trial, None) for trial in missing_full_runs(records, self.goals, own_steps, asked)),
        ]

    def _planned(self, number: int, record: TrialRecord | None) -> Plan | None:
        """As `_plan`; None where the trial ends before its first step.

        It fails where what was drawn is no configuration: spaces are tried when a job is read, but
        not with every three values together. It is pruned where its known costs break a bound: a
        preset, too, since a result that nobody may use is no baseline.
        """
        try:
            plan = self._plan(number, record)
        except ConfigError as error:
            self._orphans[number] = self._study.left(number)  # under way until it has ended
            self._end(number, "failed", "; ".join(error.problems))
            return None
        if plan.final or (record is not None and record.rungs):
            return plan
        costs = self._costs(plan.config)
        if not (beyond := self.goals.beyond(costs)):
            return plan
        self._orphans[number] = self._study.left(number)
        self._study.beyond(number, beyond)
        needs = ", ".join(f"{name} {value:.3g}" for name, value in costs.items())
        self._end(number, "pruned", f"breaks {' and '.join(beyond)} before its first step: {needs}")
        return None

    def _plan(self, number: int, record: TrialRecord | None) -> Plan:
        if record is not None and record.config:
            config = StyleConfig.from_dict(record.config, source=f"trial {number}")
        else:
            config = self._proposals.configure(number)
        final = record is not None and record.final_of is not None
        if record is not None and record.full:
            rungs = full_rungs(config.steps, self._job.halving.max_steps)
        else:
            rungs = final_rungs(config) if final else self._rungs(number, config.steps)
        done = max(record.rungs, default=0) if record else 0
        left = tuple(steps for steps in rungs if steps > done)
        return Plan(trial=number, config=config, rungs=left, final=final)

    def _rungs(self, number: int, max_steps: int) -> tuple[int, ...]:
        halving = self._plain if self._proposals.preset(number) else self._halving
        return halving.rungs(number, max_steps)

    # --- what came of it --------------------------------------------------------------------------

    def report(self, report: Report, images: Callable[[], Sequence[bytes]]) -> Decision:
        """MetricSuite a report; returns whether the trial goes on, waits or ends.

        Args:
            report: what the engine says.
            images: gives the trial's PNG files; asked only if they are its best so far.
        """
        number = report.trial
        if number not in self._plans:
            return Decision.STOP
        if report.remark:
            self._study.remark(number, report.remark)
        if report.taken_up is not None:
            _log(number, "took up its lanes", steps=report.taken_up, came_at=report.came_at)
        failure = report.failure
        if not failure and (odd := self.goals.not_finite(report.scores)):
            failure = f"step {report.steps}: {', '.join(odd)} is not a finite number"
        final = self._plans[number].final
        if not final:
            self._budget.worked(number, report.seconds)
        if failure:
            self.fail(number, failure, seconds=report.seconds)
            return Decision.STOP
        rung = report.record(self.goals)
        self._images.keep(number, report.steps, rung, images, final=final)
        with self._at_once():
            self._look_around()
            self._study.report(number, report.steps, rung)
            if not final:  # also without a time limit, which a later launch may set
                self._study.note("worked_s", self._budget.worked_s)
            if self._competes(number):
                improved = self._count(number, report.steps, rung, begun=self._numbers)
                if improved:
                    self._study.note(IMPROVED, self._numbers)
            self.callback.reported(number, report.steps, rung)
            _log(number, "reported", steps=report.steps, scores=dict(report.scores))
            return self._decide(number, report.steps, rung)

    def keep_lanes(self, number: int, lanes: bytes) -> None:
        """Keep where a trial was at its last rung, as an engine saved it, until the trial ends."""
        if number in self.unfinished:
            self._run.save_lanes(number, lanes)
            _log(number, "kept its lanes")

    def kept_lanes(self, number: int) -> bytes | None:
        """What `keep_lanes` kept of a trial, by this driver or one before it."""
        path = self._run.lanes_file(number)
        if not path.is_file():
            return None
        try:
            return read_limited(path, MAX_BYTES)
        except OSError as error:
            self._study.remark(number, f"its saved lanes could not be read ({error})")
            return None

    def interrupted(self, number: int) -> None:
        """Take back a trial that lost its place; `next` hands it out again, from its last rung."""
        if self._plans.pop(number, None) is not None:
            self._orphans[number] = self._study.left(number)
            _log(number, "lost its place")

    def engines_ended(self, stats: Sequence[EngineStats]) -> None:
        """Record what the engines of this launch did with their time."""
        before = self._study.notes.get("engines", [])
        self._study.note("engines", [*before, *map(asdict, stats)])

    def fail(self, number: int, reason: str, *, seconds: float = 0.0) -> None:
        """Close a trial that cannot go on; a trial that is over already is left alone.

        Args:
            number: of the trial.
            reason: in words.
            seconds: engine time that it took.
        """
        with self._at_once():
            self._end(number, "failed", reason, seconds=seconds)

    @contextmanager
    def _at_once(self) -> Iterator[None]:
        """Write what is decided as one; only then are lanes of trials that ended forgotten."""
        with self._study.at_once():
            yield
        while self._ended:
            self._run.lanes_file(self._ended.pop()).unlink(missing_ok=True)

    def _count(self, number: int, steps: int, rung: RungRecord, *, begun: int) -> bool:
        """Take in a report of a trial of the search; returns whether nothing was as good."""
        values = self.goals.values(rung.scores)
        self._ladder.add(self._rung_of(number, steps), number, values)
        return self._budget.found(number, values, begun=begun)

    def _competes(self, number: int) -> bool:
        """Whether a trial under way is one that the search chose; as `TrialRecord.searched`."""
        return not (self._plans[number].final or self._proposals.preset(number))

    def _rung_of(self, number: int, steps: int) -> Rung:
        return self._halving.rung(self._rungs(number, self._job.halving.max_steps), steps)

    def _decide(self, number: int, steps: int, rung: RungRecord) -> Decision:
        if steps >= self._plans[number].config.steps:
            self._end(number, "complete", None)
            return Decision.STOP
        if self._budget.spent and not self._plans[number].final:
            self._end(number, "pruned", self._budget.spent)
            return Decision.STOP
        if not self._competes(number):
            # A preset runs to its end, so that what was gained is known.
            return self._go_on(number, steps)
        for bound in self.goals.constraints:
            if bound.lasting and bound.violation(rung.scores) > 0:
                self._end(number, "pruned", f"breaks {bound.name} at step {steps}")
                return Decision.STOP
        here = self._rung_of(number, steps)
        to_come = sum(other not in self._ladder.at(here) for other in self.unfinished)
        to_come += self._to_begin + self._others_running
        decision = self._halving.decide(number, here, self._ladder, to_come=to_come)
        if decision is Decision.PAUSE:
            del self._plans[number]
            self._waiting[number] = here
            self._study.wait(number, steps)
            _log(number, "waits")
        elif decision is Decision.STOP:
            self._end(number, "pruned", f"not among the best at step {steps}")
        else:
            return self._go_on(number, steps)
        return decision

    def _go_on(self, number: int, steps: int) -> Decision:
        self._study.go_on(number, steps)
        if not self.interrupt.winding_up:
            return Decision.CONTINUE
        self.interrupted(number)
        return Decision.PAUSE

    def _end(self, number: int, state: str, reason: str | None, *, seconds: float = 0.0) -> None:
        if number not in self.unfinished:
            return
        self._plans.pop(number, None)
        self._waiting.pop(number, None)
        self._orphans.pop(number, None)
        self._images.ended(number)
        searched = self._study.record(number).searched
        self._study.finish(number, state, reason, seconds=seconds)
        self._ended.append(number)
        self._budget.ended(number, searched=searched)
        self.callback.ended(number, state, reason)
        _log(number, f"is over: {state}", state=state, reason=reason)


def _log(number: int, what: str, **facts: object) -> None:
    log.info("trial %d %s", number, what, extra={"facts": {"trial": number, **facts}})
