"""Search: every decision of a run, whichever backend carries it out.

It chooses what to run next, judges every report and chooses the finals. Each decision is written to
the study before anything else happens, so a run that is killed at any moment can be resumed.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict

from nst_core.errors import ConfigError
from nst_core.presets.preset import Preset
from nst_core.stylizer_config import Configuration
from search_spaces import Params, Space
from tuner.job.spec import JobSpec
from tuner.search.budget import Budget
from tuner.search.finals import FinalRun
from tuner.search.halving import Decision, RungValues
from tuner.search.interrupt import Interrupt
from tuner.search.planner import Planner
from tuner.search.protocol import Callback, Plan
from tuner.search.roster import Roster
from tuner.search.shared_study import SharedStudy
from tuner.search.steering import STOPPED, Steering
from tuner.search.trial_files import TrialFiles
from tuner.study.commands import Command
from tuner.study.records import EngineStats, Report, RungRecord, Scores, TrialRecord
from tuner.study.run_dir import RunDir
from tuner.study.study import RunStudy

log = logging.getLogger(__name__)


class Search:
    """The decisions of one run.

    Args:
        study: the run's study.
        run: the run directory, for images and saved lanes.
        job: the job.
        space: the search space.
        presets: baseline presets, each with a note or None; they are the first trials.
        initial_points: parameters of the next trials; the sampler draws those that a point leaves
            out. None for the initial points of the space.
        replay: recorded parameters to use instead of drawing, one per searched trial, in order.
        costs: return the costs of a configuration that are known before its first step.
        callback: receives every event of the run.
        clock: return the time in seconds, for the time budget.
    """

    def __init__(
        self,
        study: RunStudy,
        run: RunDir,
        job: JobSpec,
        space: Space,
        *,
        presets: Sequence[tuple[Preset, str | None]] = (),
        initial_points: Sequence[Params] | None = None,
        replay: Sequence[Params] | None = None,
        costs: Callable[[Configuration], Scores] = lambda _: {},
        callback: Callback,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._study = study
        self.goals, self.callback = job.goals, callback
        self.interrupt = Interrupt()
        self._rung_values = RungValues()
        self._roster, self._shared = Roster(study), SharedStudy(study)
        self._budget = Budget(study, job, clock=clock, paused=self._roster.paused.keys())
        self._steering = Steering(study, run, job, space, self._budget)
        self._planner = Planner(
            *(study, job, space),
            presets=presets,
            initial_points=initial_points,
            replay=replay,
            costs=costs,
            steering=self._steering,
        )
        self._files = TrialFiles(run, study, self.goals)
        #: Whether a `one_write` has begun and not ended.
        self._writing = False
        #: Finals that have not begun; None while the search is not over.
        self._finals: list[FinalRun] | None = None
        self._add(self._shared.restore())
        self._refresh()
        self._roster.restore(self._planner.rung)

    def _add(self, records: Iterable[TrialRecord]) -> None:
        """Add trials of an earlier launch or of another driver."""
        for record in records:
            self._budget.add_trial(record)
            self._steering.add_trial(record)
            if record.final_of is not None or record.asked_by is not None:
                self._planner.skip(record.trial)
            if record.searched:
                for steps, rung in record.rungs.items():
                    self._add_report(record.trial, steps, rung, begun=record.trial + 1)
        self._budget.restore_improvement()

    def _refresh(self) -> None:
        """Add what other drivers of a shared study have done."""
        if records := self._shared.refresh():
            self._add(records)

    # --- state of the run -------------------------------------------------------------------------

    @property
    def over(self) -> bool:
        """Whether all trials of the search and all finals have ended."""
        if self.unfinished or self._left_to_begin:
            return False
        if self._finals is None:  # a finished run that is resumed: `next` is never called
            self._refresh()
        return not self._missing_finals()

    @property
    def reason(self) -> str:
        """Why the search is over."""
        return self._budget.spent or "all trials are done"

    @property
    def begun(self) -> bool:
        """Whether any trial has begun, in this launch or an earlier one."""
        return self._shared.begun_here > 0

    @property
    def has_stopped(self) -> bool:
        """Whether the launch was asked to end, and no trial is running any longer."""
        return self.interrupt.stopping and not self._roster.running

    @property
    def unfinished(self) -> Sequence[int]:
        """Numbers of the trials that have begun and have not ended."""
        return self._roster.numbers

    @property
    def running(self) -> Sequence[int]:
        """Numbers of the trials that a backend is running."""
        return tuple(self._roster.running)

    @property
    def others_running(self) -> bool:
        """Whether other drivers of a shared study are running trials."""
        return self._shared.running_elsewhere > 0

    @property
    def waits_for_others(self) -> bool:
        """Whether all unfinished trials are paused, and other drivers' reports may promote them."""
        idle = not self._roster.running and not self._budget.spent
        return idle and bool(self._roster.paused) and self.others_running

    def heartbeat(self) -> None:
        """Tell other drivers of a shared study that this one is alive, and carry out commands.

        Backends call this often.
        """
        self._study.heartbeat()
        self._carry_out_commands()

    @property
    def paused(self) -> bool:
        """Whether a person has paused the run: no trial starts or continues."""
        return self._steering.paused

    def lift_pause(self) -> None:
        """Let a run go on that a person has paused; recorded like the command `resume`."""
        self._carry_out(secrets.token_hex(8), Command(name="resume"))

    def refuse_commands(self) -> None:
        """Record the commands that have come since the end of the search as refused."""
        self._steering.refuse_all("the search is over")

    @property
    def waits(self) -> bool:
        """Whether no trial can start at the moment, but one may later."""
        return not self.interrupt.stopping and (self.paused or self.waits_for_others)

    @property
    def _left_to_begin(self) -> int:
        """Number of trials that the search has still to begin."""
        begun = self._shared.begun_here + self._shared.begun_elsewhere
        return 0 if self._budget.spent else max(0, self._steering.job.search.trials - begun)

    # --- next configuration -----------------------------------------------------------------------

    def next(self) -> Plan | None:
        """Return the next trial to start or to resume; None if there is none at the moment."""
        self._carry_out_commands()
        if self.interrupt.stopping or self.paused:
            return None
        with self.one_write():
            self._refresh()
            plan = self._next()
        if plan is not None:
            self._roster.running[plan.trial] = plan
            _log(plan.trial, "is scheduled", rungs=plan.rungs)
            self.callback.planned(plan, self._study.record(plan.trial).preset)
        return plan

    def _next(self) -> Plan | None:
        """Choose in this order: orphaned, promoted, new trials; finals when the search is over."""
        if self._budget.exhausted:
            self._end_orphans()
        while self._roster.orphaned:
            if (plan := self._resume_orphan()) is not None:
                return plan
        if (promoted := self._promotable()) is not None:
            self._roster.promote(promoted)
            return self._planner.plan(promoted, self._study.record(promoted))
        while self._left_to_begin:
            number = self._shared.begin()
            if self._planner.preset(number) is None and self._steering.begin(number):
                self._planner.skip(number)
            if (plan := self._plan_or_end(number, None)) is not None:
                return plan
        if self._roster.searching or self.waits_for_others:
            return None
        self._end_paused()
        return self._next_final()

    def _resume_orphan(self) -> Plan | None:
        """Return the plan of the first orphaned trial; None if the trial ends or pauses instead."""
        number, resumption = self._roster.next_orphan()
        record = self._study.record(number)
        if number in self._steering.stops:
            self._end(number, "pruned", STOPPED)
            return None
        if (plan := self._plan_or_end(number, record)) is None:
            return None
        self._roster.running[number] = plan
        last = max(record.rungs, default=0)
        if last > resumption.continued_past:  # its driver died between the report and the decision
            decision = self._decide(number, last, record.rungs[last])
            return plan if decision is Decision.CONTINUE else None
        return plan

    def _promotable(self) -> int | None:
        """Return the paused trial to promote now; None if there is none."""
        if self._budget.spent:
            return None
        idle = not self._roster.running and not self._left_to_begin and not self.others_running
        return self._planner.halving.promotable(self._roster.paused, self._rung_values, last=idle)

    def _end_orphans(self) -> None:
        """End orphaned trials of the search, once its budget is exhausted; finals are resumed."""
        for number in list(self._roster.orphaned):
            if self._study.record(number).final_of is None:
                self._end(number, "pruned", self._budget.exhausted)

    def _end_paused(self) -> None:
        """End all paused trials: no report is to come that could promote one."""
        for number, rung in list(self._roster.paused.items()):
            reason = self._budget.spent or f"not among the best at step {rung.steps}"
            self._end(number, "pruned", reason)

    def _plan_or_end(self, number: int, record: TrialRecord | None) -> Plan | None:
        """Return the plan of a trial; None if the trial ends before its first step."""
        try:
            plan = self._planner.plan(number, record)
        except ConfigError as error:
            # A space is checked when a job is read, but not for every combination of three values.
            self._end(number, "failed", "; ".join(error.problems))
            return None
        if not (record and record.rungs) and (reason := self._planner.known_violation(plan)):
            self._end(number, "pruned", reason)
            return None
        return plan

    # --- commands of people -----------------------------------------------------------------------

    def _carry_out_commands(self) -> None:
        """Carry out the commands that have come since the last call, each in one write."""
        for command_id, command in self._steering.new_commands():
            self._carry_out(command_id, command)

    def _carry_out(self, command_id: str, command: Command | None) -> None:
        with self.one_write():
            record = self._steering.carry_out(
                command_id, command, self.unfinished, self._left_to_begin
            )
            for number in self._steering.stops.intersection(self._roster.waiting):
                self._end(number, "pruned", STOPPED)
        self._steering.forget(command_id)
        if record is None:
            return
        if record.command.name == "set":
            self._finals = None  # the search may go on; finals that have begun are known
        self.callback.commanded(record, self._steering.job)

    # --- finals -----------------------------------------------------------------------------------

    def _next_final(self) -> Plan | None:
        """Begin the next final: a run of a finalist, or a preset with all of its steps."""
        finals = self._missing_finals()
        if not finals:
            return None
        return self._planner.plan_final(self._shared.begin(final=True), finals.pop(0))

    def _missing_finals(self) -> list[FinalRun]:
        """Return the finals that have not begun, chosen at the first call: when the search ends."""
        if self._finals is None:
            # The driver that ends last runs the finals, because it knows all results.
            self._finals = [] if self.others_running else self._planner.missing_finals()
        return self._finals

    # --- report and decision ----------------------------------------------------------------------

    def report(self, report: Report, images: Callable[[], Sequence[bytes]]) -> Decision:
        """Record a report of a running trial and decide whether it continues, pauses or stops.

        Args:
            report: the engine's report.
            images: return the trial's PNG files; called only if they are kept.
        """
        number = report.trial
        if (plan := self._roster.running.get(number)) is None:
            return Decision.STOP
        if report.remark:
            self._study.remark(number, report.remark)
        if report.resumed_at is not None:
            at = {"steps": report.resumed_at, "came_at": report.arrived_at}
            _log(number, "resumed from its saved lanes", **at)
        if not plan.final:
            self._budget.add_seconds(number, report.seconds)
        failure = report.failure
        if not failure and (names := self.goals.not_finite(report.scores)):
            failure = f"step {report.steps}: {', '.join(names)} is not a finite number"
        if failure:
            self.fail(number, failure, seconds=report.seconds)
            return Decision.STOP
        rung = report.record(self.goals)
        self._files.keep_images(number, report.steps, rung, images, final=plan.final)
        with self.one_write():
            self._refresh()
            self._study.report(number, report.steps, rung)
            improved = self._planner.competes(plan) and self._add_report(
                number, report.steps, rung, begun=self._shared.count
            )
            if not plan.final:
                self._budget.save(improved=improved)
            self.callback.reported(number, report.steps, rung)
            _log(number, "reported", steps=report.steps, scores=dict(report.scores))
            return self._decide(number, report.steps, rung)

    def fail(self, number: int, reason: str, *, seconds: float = 0.0) -> None:
        """End an unfinished trial as failed; a trial that has ended stays as it is.

        Args:
            number: number of the trial.
            reason: why it failed, for people.
            seconds: engine time that it took.
        """
        if number in self.unfinished:
            with self.one_write():
                self._end(number, "failed", reason, seconds=seconds)

    def interrupted(self, number: int) -> None:
        """Take back a trial that lost its engine; `next` returns it again, from its last rung."""
        if self._roster.orphan(number):
            _log(number, "was interrupted")

    def save_lanes(self, number: int, lanes: bytes) -> None:
        """Save the lanes of a trial, as its engine wrote them at a rung, until the trial ends."""
        if number in self.unfinished:
            self._files.save_lanes(number, lanes)
            _log(number, "saved its lanes")

    def saved_lanes(self, number: int) -> bytes | None:
        """Return the saved lanes of a trial, of this launch or an earlier one; None without any."""
        return self._files.lanes(number)

    def record_engine_stats(self, stats: Sequence[EngineStats]) -> None:
        """Record how the engines of this launch spent their time."""
        earlier = self._study.notes.get("engines", [])
        self._study.note("engines", [*earlier, *map(asdict, stats)])

    def _add_report(self, number: int, steps: int, rung: RungRecord, *, begun: int) -> bool:
        """Add a report of the search; return whether it improved on all reports before."""
        values = self.goals.values(rung.scores)
        self._rung_values.add(self._planner.rung(number, steps), number, values)
        return self._budget.add_report(number, values, begun=begun)

    def _decide(self, number: int, steps: int, rung: RungRecord) -> Decision:
        """Decide about a running trial after its report at a rung, and carry the decision out."""
        plan = self._roster.running[number]
        if steps >= plan.config.steps:
            return self._end(number, "complete", None)
        competes = self._planner.competes(plan)
        reason = None if plan.final else self._budget.spent
        if number in self._steering.stops:
            reason = STOPPED
        if competes and not reason and (violations := self.goals.beyond(rung.scores)):
            reason = f"violates {next(iter(violations))} at step {steps}"
        if reason:
            return self._end(number, "pruned", reason)
        # Presets and the first initial point run to their end: the search has to be better.
        if not competes or self._planner.runs_in_full(number):
            return self._continue(number, steps)
        here = self._planner.rung(number, steps)
        reported = self._rung_values.at(here)
        to_come = sum(other not in reported for other in self.unfinished)
        to_come += self._left_to_begin + self._shared.running_elsewhere
        decision = self._planner.halving.decide(number, here, self._rung_values, to_come=to_come)
        if decision is Decision.STOP:
            return self._end(number, "pruned", f"not among the best at step {steps}")
        if decision is Decision.CONTINUE:
            return self._continue(number, steps)
        self._roster.pause(number, here)
        _log(number, "is paused")
        return decision

    def _continue(self, number: int, steps: int) -> Decision:
        self._study.record_continue(number, steps)
        if not (self.interrupt.stopping or self.paused):
            return Decision.CONTINUE
        self.interrupted(number)
        return Decision.PAUSE

    def _end(
        self, number: int, state: str, reason: str | None, *, seconds: float = 0.0
    ) -> Decision:
        self._roster.remove(number)
        self._files.ended(number)
        self._budget.add_ended(self._study.record(number))
        self._study.finish(number, state, reason, seconds=seconds)
        self.callback.ended(number, state, reason)
        _log(number, f"ended: {state}", state=state, reason=reason)
        return Decision.STOP

    @contextmanager
    def one_write(self) -> Iterator[None]:
        """Write all decisions in this context at once, and then delete lanes of ended trials.

        A context within a context is part of the outer one.
        """
        if self._writing:
            yield
            return
        self._writing = True
        try:
            with self._study.batch():
                yield
        finally:
            self._writing = False
        self._files.delete_ended()


def _log(number: int, event: str, **fields: object) -> None:
    log.info("trial %d %s", number, event, extra={"facts": {"trial": number, **fields}})
