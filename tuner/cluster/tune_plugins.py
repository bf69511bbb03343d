"""Plug-ins of Ray Tune, through which Tune carries out the decisions of a `Search`.

`StudySearcher` gives Tune the next trial. `RungScheduler` passes reports to the search and its
decisions to Tune. `SupervisorCallback` has the engines checked regularly.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ray import tune
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from tuner.cluster.placement import MOST_LOSSES, Assignment, Placement
from tuner.cluster.ray_private import keep_one_more_process
from tuner.cluster.trainable import (
    CONFIG,
    ENGINE,
    HAS_SAVED_LANES,
    HOLDOUT,
    REPORTS,
    RUNGS,
    SLOT,
    TRIAL,
)
from tuner.search.halving import Decision
from tuner.search.search import Search
from tuner.study.records import Report


class _NotSaved:
    """A part of Tune that is not saved: the study holds everything that a restart needs."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class StudySearcher(_NotSaved, Searcher):
    """Gives Tune the trials that `Search` plans, as long as an engine has room."""

    def __init__(self, search: Search, placement: Placement):
        super().__init__(metric=None, mode=None)
        self._search, self._placement = search, placement
        self._assignments: dict[str, Assignment] = {}
        #: Tune's id of a trial -> id of its process, if that died; `RungScheduler` writes it.
        self.dead_processes: dict[str, str] = {}
        #: Decisions about trials whose reports came with another trial's result, until their own
        #: results come; `RungScheduler` writes it.
        self.decisions: dict[int, Decision] = {}

    def suggest(self, trial_id: str) -> Any:
        """Return the config of the next trial; None if it must wait; FINISHED at the end.

        While no trial runs, Tune calls nothing but this, so it also does the regular checks.
        """
        check_regularly(self._search, self._placement)
        if self._search.over or self._search.has_stopped or self._placement.stopped:
            return Searcher.FINISHED
        # A paused trial must not be promoted before Tune knows that it is paused.
        if self._placement.full or self.decisions:
            return None
        with self._placement.catch_driver_error():
            return self._next_config(trial_id)
        return Searcher.FINISHED

    def _next_config(self, trial_id: str) -> Any:
        plan = self._search.next()
        if plan is None:
            return Searcher.FINISHED if self._search.over else None
        assignment = self._assignments[trial_id] = self._placement.assign(plan.trial)
        self._placement.wait_for_lanes(plan.trial)
        store_arrived_lanes(self._search, self._placement)
        lanes = self._search.saved_lanes(plan.trial)
        return {
            TRIAL: plan.trial,
            CONFIG: plan.config.to_dict(),
            RUNGS: plan.rungs,
            HOLDOUT: plan.final,
            HAS_SAVED_LANES: self._placement.send_lanes(assignment, lanes),
            ENGINE: assignment.slot.engine,
            SLOT: assignment.slot.number,
        }

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Close a trial that broke; the scheduler has closed all others when they reported.

        A trial that lost its engine or its process has not failed: it continues from its last rung,
        unless it is to blame for the loss; see `Placement.record_loss`.
        """
        assignment = self._assignments.pop(trial_id)
        process = self.dead_processes.pop(trial_id, None)
        if error and assignment.trial in self._search.running:
            with self._placement.catch_driver_error():
                self._close_broken(assignment, process)
        self._placement.release(assignment.trial, assignment)

    def _close_broken(self, assignment: Assignment, process: str | None) -> None:
        if self._placement.record_loss(assignment, process):
            reason = f"its engine or its process died {MOST_LOSSES} times without a report"
            self._search.fail(assignment.trial, reason)
        else:
            self._search.interrupted(assignment.trial)

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Ignore Tune's objective and direction: the job defines them."""
        return True

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the study holds everything."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing: the study holds everything."""


def store_arrived_lanes(search: Search, placement: Placement, *, timeout_s: float = 0) -> None:
    """Store saved lanes that engines have sent in the run.

    Args:
        search: the search of the run.
        placement: receives the lanes.
        timeout_s: seconds to wait for lanes that have not arrived.
    """
    for trial, lanes in placement.collect_lanes(timeout_s=timeout_s):
        search.save_lanes(trial, lanes)


def check_regularly(search: Search, placement: Placement) -> None:
    """Check for signals, for other drivers of the study, and, if it is time, the engines."""
    search.interrupt.check()
    with placement.catch_driver_error():
        search.heartbeat()
    if search.interrupt.until_s is not None:
        placement.supervisor.stop_checks()
    if placement.supervisor.check_if_due():
        search.callback.doing(placement.supervisor.startup_status)
        search.callback.pulsed(placement.supervisor.pulses)


class SupervisorCallback(_NotSaved, tune.Callback):
    """Does the regular checks in Tune's event loop."""

    def __init__(self, placement: Placement, search: Search):
        self._placement, self._search = placement, search

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Do the regular checks; Tune calls this several times a second."""
        check_regularly(self._search, self._placement)


class RungScheduler(_NotSaved, FIFOScheduler):
    """Passes each report to `Search`, and its decision to Tune."""

    def __init__(self, search: Search, placement: Placement, searcher: StudySearcher):
        super().__init__()  # type: ignore[no-untyped-call]
        self._search, self._placement, self._searcher = search, placement, searcher
        self._known_slots: set[int] = set()
        #: Trial -> steps of its last report: another trial's result may bring it again, later.
        self._handled: dict[int, int] = {}

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Make Tune keep one process for each slot; see `StyleTrial.default_resource_request`."""
        super().on_trial_add(tune_controller, trial)
        if trial.config[SLOT] not in self._known_slots:
            self._known_slots.add(trial.config[SLOT])
            keep_one_more_process(tune_controller, trial)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Tell the searcher whether the trial's process died; Tune tells it of an error only."""
        super().on_trial_error(tune_controller, trial)
        # If this was decided already, the study has the report: the trial continues behind it.
        self._searcher.decisions.pop(trial.config[TRIAL], None)
        error = trial.get_pickled_error()
        # A RayTaskError comes from the engine and passed through a process that still lives.
        if isinstance(error, RayActorError) and not isinstance(error, RayTaskError):
            self._searcher.dead_processes[trial.trial_id] = error.actor_id

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Return CONTINUE or STOP.

        For Tune, a trial that pauses at a rung has ended; it returns later as another Tune trial.
        """
        if not self._placement.stopped:
            with self._placement.catch_driver_error():
                reports = [Report(**content) for content in json.loads(result[REPORTS])]
                number = reports[0].trial
                if number not in self._searcher.decisions:
                    self._decide(self._with_images(reports))
                return self._carry_out(number, self._searcher.decisions.pop(number, None))
        return str(TrialScheduler.STOP)

    def _with_images(self, reports: Sequence[Report]) -> dict[int, tuple[Report, list[bytes]]]:
        """Return the reports to handle now, by trial, each with its PNG files.

        The first report is that of the trial whose result has arrived; the results of the others
        are on their way. A report without images is left out, since its engine has died or does
        not have the trial any longer; so is another trial's report of a failure.
        """
        first, *others = reports
        new = [first] + [
            report
            for report in others
            if report.steps > self._handled.get(report.trial, 0)
            and report.trial in self._search.running
            and self._placement.share_an_engine(first.trial, report.trial)
        ]
        try:
            images = self._placement.images([report.trial for report in new if not report.failure])
        except RayError:  # the engine died between the report and the images
            images = {}
        return {
            report.trial: (report, images.get(report.trial, []))
            for report in new
            if images.get(report.trial) or (report.failure and report is first)
        }

    def _decide(self, reports: Mapping[int, tuple[Report, list[bytes]]]) -> None:
        """Record reports and decide about their trials, in one write of the study."""
        with self._search.one_write():
            for number, (report, images) in reports.items():
                self._searcher.decisions[number] = self._search.report(report, lambda i=images: i)  # type: ignore[misc]
                self._placement.record_report(number)
                self._handled[number] = report.steps

    def _carry_out(self, number: int, decision: Decision | None) -> str:
        """Carry out the decision about a trial; None if its report could not be handled."""
        if decision is None:
            self._search.interrupted(number)
            self._placement.release(number)
            return str(TrialScheduler.STOP)
        store_arrived_lanes(self._search, self._placement)
        if decision is Decision.CONTINUE and not self._placement.must_leave(number):
            self._placement.snapshot(number)
            return str(TrialScheduler.CONTINUE)
        if decision is Decision.CONTINUE:
            self._search.interrupted(number)
        if decision is Decision.STOP:
            self._placement.release(number)
        else:
            self._placement.pause(number)
        return str(TrialScheduler.STOP)
