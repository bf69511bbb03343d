"""TODO."""

from __future__ import annotations

import json
from typing import Any

from ray import tune
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from tuner.cluster.placement import MOST_LOSSES, EnginePool, Stay
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

    def __init__(self, search: Search, pool: EnginePool):
        super().__init__(metric=None, mode=None)
        self._search, self._pool = search, pool
        self._stays: dict[str, Stay] = {}
        #: Trial, as Tune calls it -> its process, which is gone; see `RungScheduler`.
        self.broken: dict[str, str] = {}

    def suggest(self, trial_id: str) -> Any:
        """Config of the next trial; None while all lanes are taken, FINISHED at the end."""
        tend(self._search, self._pool)  # while no trial runs, Tune comes round only here
        if self._search.over or self._search.wound_up or self._pool.stopped:
            return Searcher.FINISHED
        if self._pool.full:
            return None
        with self._pool.watched():
            return self._next(trial_id)
        return Searcher.FINISHED

    def _next(self, trial_id: str) -> Any:
        plan = self._search.next()
        if plan is None:
            return Searcher.FINISHED if self._search.over else None
        stay = self._stays[trial_id] = self._pool.take(plan.trial)
        self._pool.waited_for(plan.trial)
        keep_arrived(self._search, self._pool)
        lanes = self._search.kept_lanes(plan.trial)
        return {
            TRIAL: plan.trial,
            CONFIG: plan.config.to_dict(),
            RUNGS: plan.rungs,
            HOLDOUT: plan.final,
            WAITED: self._pool.take_up(stay, lanes),
            ENGINE: stay.slot.engine,
            SLOT: stay.slot.number,
        }

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """All but broken trials were closed on report.

        A trial that lost its engine or its process is no failure of its settings: it goes on from
        its last rung, unless it is to blame; see `EnginePool.lost`.
        """
        stay, process = self._stays.pop(trial_id), self.broken.pop(trial_id, None)
        with self._pool.watched():
            self._ended(stay, error, process)
        self._pool.release(stay.trial, stay)

    def _ended(self, stay: Stay, error: bool, process: str | None) -> None:
        if not error or stay.trial not in self._search.running:
            return
        if self._pool.lost(stay, process):
            reason = f"its engine or its process died {MOST_LOSSES} times without a report"
            self._search.fail(stay.trial, reason)
        else:
            self._search.interrupted(stay.trial)

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Objective and direction are the job's business, not Tune's."""
        return True

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the study holds it all."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


def keep_arrived(search: Search, pool: EnginePool, *, within_s: float = 0) -> None:
    """Put lanes that engines saved into the run."""
    for trial, lanes in pool.arrived(within_s=within_s):
        search.keep_lanes(trial, lanes)


def tend(search: Search, pool: EnginePool) -> None:
    """What is due now and then: looking after engines, telling watchers and other drivers."""
    search.interrupt.check()
    with pool.watched():
        search.sign()
    if search.interrupt.until_s is not None:
        pool.fleet.end()
    if pool.fleet.tend():
        search.watcher.doing(pool.fleet.starting)
        search.watcher.pulsed(pool.fleet.pulses)


class FleetCallback(_NotSaved, tune.Callback):
    """Looks after the engines whenever Tune comes round."""

    def __init__(self, pool: EnginePool, search: Search):
        self._pool, self._search = pool, search

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Several times a second, whether or not anything happened."""
        tend(self._search, self._pool)


class RungScheduler(_NotSaved, FIFOScheduler):
    """Passes each report to `Search` and its decision to Tune."""

    def __init__(self, search: Search, pool: EnginePool, searcher: StudySearcher):
        super().__init__()  # type: ignore[no-untyped-call]
        self._search, self._pool, self._searcher = search, pool, searcher
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
        if not self._pool.stopped:
            with self._pool.watched():
                return self._judged(Report(**json.loads(result[REPORT])))
        return str(TrialScheduler.STOP)

    def _judged(self, report: Report) -> str:
        number = report.trial
        try:
            decision = self._search.report(report, lambda: self._pool.images(number))
        except RayError:  # its engine died between the report and its pictures
            self._search.interrupted(number)
            self._pool.release(number)
            return str(TrialScheduler.STOP)
        self._pool.progressed(number)
        keep_arrived(self._search, self._pool)
        if decision is Decision.GO_ON and not self._pool.leaves(number):
            self._pool.snapshot(number)
            return str(TrialScheduler.CONTINUE)
        if decision is Decision.GO_ON:
            self._search.interrupted(number)
        if decision is Decision.STOP:
            self._pool.release(number)
        else:
            self._pool.pause(number)
        return str(TrialScheduler.STOP)
