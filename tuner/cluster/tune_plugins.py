"""Plug-ins of Ray Tune: the searcher, the scheduler and the callback that carry out a search."""

from __future__ import annotations

import json
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
    HOLDOUT,
    REPORT,
    RUNGS,
    SLOT,
    TRIAL,
    WAITED,
)
from tuner.search.halving import Decision
from tuner.search.search import Search
from tuner.study.records import Report

#: When a run ends before its trials do, their lanes are waited for.
LANES_WITHIN_S = 60


class _NotSaved:
    """Tune pickles its parts for a restore of its own, which we never do: the study has it all."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class StudySearcher(_NotSaved, Searcher):
    """Hands out what `Search` plans, as long as a lane is free."""

    def __init__(self, search: Search, placement: Placement):
        super().__init__(metric=None, mode=None)
        self._search, self._placement = search, placement
        self._assignments: dict[str, Assignment] = {}
        #: Trial, as Tune calls it -> its process, which is gone; see `RungScheduler`.
        self.broken: dict[str, str] = {}

    def suggest(self, trial_id: str) -> Any:
        """Config of the next trial; None while all lanes are taken, FINISHED at the end."""
        tend(self._search, self._placement)  # while no trial runs, Tune comes round only here
        if self._search.over or self._search.wound_up or self._placement.stopped:
            return Searcher.FINISHED
        if self._placement.full:
            return None
        with self._placement.watched():
            return self._next(trial_id)
        return Searcher.FINISHED

    def _next(self, trial_id: str) -> Any:
        plan = self._search.next()
        if plan is None:
            return Searcher.FINISHED if self._search.over else None
        assignment = self._assignments[trial_id] = self._placement.take(plan.trial)
        self._placement.waited_for(plan.trial)
        keep_arrived(self._search, self._placement)
        lanes = self._search.kept_lanes(plan.trial)
        return {
            TRIAL: plan.trial,
            CONFIG: plan.config.to_dict(),
            RUNGS: plan.rungs,
            HOLDOUT: plan.final,
            WAITED: self._placement.take_up(assignment, lanes),
            ENGINE: assignment.slot.engine,
            SLOT: assignment.slot.number,
        }

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """All but broken trials were closed on report.

        A trial that lost its engine or its process is no failure of its settings: it goes on from
        its last rung, unless it is to blame; see `Placement.lost`.
        """
        assignment, process = self._assignments.pop(trial_id), self.broken.pop(trial_id, None)
        with self._placement.watched():
            self._ended(assignment, error, process)
        self._placement.release(assignment.trial, assignment)

    def _ended(self, assignment: Assignment, error: bool, process: str | None) -> None:
        if not error or assignment.trial not in self._search.running:
            return
        if self._placement.lost(assignment, process):
            reason = f"its engine or its process died {MOST_LOSSES} times without a report"
            self._search.fail(assignment.trial, reason)
        else:
            self._search.interrupted(assignment.trial)

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Objective and direction are the job's business, not Tune's."""
        return True

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the study holds it all."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


def keep_arrived(search: Search, placement: Placement, *, within_s: float = 0) -> None:
    """Put lanes that engines saved into the run."""
    for trial, lanes in placement.arrived(within_s=within_s):
        search.keep_lanes(trial, lanes)


def tend(search: Search, placement: Placement) -> None:
    """What is due now and then: looking after engines, telling callbacks and other drivers."""
    search.interrupt.check()
    with placement.watched():
        search.sign()
    if search.interrupt.until_s is not None:
        placement.supervisor.end()
    if placement.supervisor.tend():
        search.callback.doing(placement.supervisor.starting)
        search.callback.pulsed(placement.supervisor.pulses)


class SupervisorCallback(_NotSaved, tune.Callback):
    """Looks after the engines whenever Tune comes round."""

    def __init__(self, placement: Placement, search: Search):
        self._placement, self._search = placement, search

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Several times a second, whether or not anything happened."""
        tend(self._search, self._placement)


class RungScheduler(_NotSaved, FIFOScheduler):
    """Passes each report to `Search` and its decision to Tune."""

    def __init__(self, search: Search, placement: Placement, searcher: StudySearcher):
        super().__init__()  # type: ignore[no-untyped-call]
        self._search, self._placement, self._searcher = search, placement, searcher
        self._kept: set[int] = set()

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Make Tune keep the process of a slot, of which only Tune itself can say how many."""
        super().on_trial_add(tune_controller, trial)
        if trial.config[SLOT] not in self._kept:
            self._kept.add(trial.config[SLOT])
            keep_one_more_process(tune_controller, trial)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Tell the searcher, whom Tune will tell that a trial broke and not how."""
        super().on_trial_error(tune_controller, trial)
        error = trial.get_pickled_error()
        # What its process raised is the engine's; the process itself is whole.
        if isinstance(error, RayActorError) and not isinstance(error, RayTaskError):
            self._searcher.broken[trial.trial_id] = error.actor_id

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """CONTINUE or STOP; for Tune a trial that waits is over, and comes back as another."""
        if not self._placement.stopped:
            with self._placement.watched():
                return self._judged(Report(**json.loads(result[REPORT])))
        return str(TrialScheduler.STOP)

    def _judged(self, report: Report) -> str:
        number = report.trial
        try:
            decision = self._search.report(report, lambda: self._placement.images(number))
        except RayError:  # its engine died between the report and its pictures
            self._search.interrupted(number)
            self._placement.release(number)
            return str(TrialScheduler.STOP)
        self._placement.progressed(number)
        keep_arrived(self._search, self._placement)
        if decision is Decision.CONTINUE and not self._placement.leaves(number):
            self._placement.snapshot(number)
            return str(TrialScheduler.CONTINUE)
        if decision is Decision.CONTINUE:
            self._search.interrupted(number)
        if decision is Decision.STOP:
            self._placement.release(number)
        else:
            self._placement.pause(number)
        return str(TrialScheduler.STOP)
