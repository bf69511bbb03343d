"""Watchers that tell others about a run: Prometheus through Ray, TensorBoard, MLflow.

Each is a few calls of a library. What goes wrong in one is said once and stops no run.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nst_core.errors import InputError, NstError
from tuner.job import JobSpec
from tuner.plan import Plan, Watcher
from tuner.records import EngineStats, Pulse, RungRecord
from tuner.rundir import RunDir
from tuner.study import load_records

log = logging.getLogger(__name__)


class Watchers(Watcher):
    """Several watchers as one.

    Args:
        first: the one that people look at; what goes wrong in it is a defect of ours.
        others: are left out from the first error on.
    """

    def __init__(self, first: Watcher, others: Sequence[Watcher] = ()):
        self._first, self._others = first, list(others)

    def planned(self, plan: Plan, preset: str | None) -> None:
        """See `Watcher`."""
        self._first.planned(plan, preset)
        self._tell(lambda watcher: watcher.planned(plan, preset))

    def reported(self, trial: int, steps: int, rung: RungRecord) -> None:
        """See `Watcher`."""
        self._first.reported(trial, steps, rung)
        self._tell(lambda watcher: watcher.reported(trial, steps, rung))

    def ended(self, trial: int, state: str, reason: str | None) -> None:
        """See `Watcher`."""
        self._first.ended(trial, state, reason)
        self._tell(lambda watcher: watcher.ended(trial, state, reason))

    def pulsed(self, pulses: Mapping[str, Pulse]) -> None:
        """See `Watcher`."""
        self._first.pulsed(pulses)
        self._tell(lambda watcher: watcher.pulsed(pulses))

    def _tell(self, event: Callable[[Watcher], None]) -> None:
        for watcher in list(self._others):
            try:
                event(watcher)
            except Exception as error:  # whatever a library does, the run goes on
                name = type(watcher).__name__
                log.warning("%s: %s: %s; left out from here on", name, type(error).__name__, error)
                self._others.remove(watcher)


class PrometheusWatcher(Watcher):
    """Gauges and counters that every Ray node offers to Prometheus."""

    def __init__(self, job: JobSpec, run: RunDir):
        from ray.util.metrics import Counter, Gauge

        self._objective, self._best = job.goals.first, float("inf")
        self._run = {"run": job.name}
        self._ended = Counter("nst_trials_ended", "trials over, by state", ("run", "state"))
        self._score = Gauge("nst_best_score", "best value of the objective", ("run",))
        of_engine = ("run", "engine")
        self._lanes = Gauge("nst_trials_advancing", "trials whose lanes are under way", of_engine)
        self._steps = Counter("nst_lane_steps", "optimizer steps of all lanes", of_engine)
        self._busy = Counter("nst_engine_busy_seconds", "spent on advancing lanes", of_engine)
        self._memory = Gauge("nst_gpu_memory_gb", "memory taken on the GPU", of_engine)
        self._seen: dict[str, EngineStats] = {}
        for record in load_records(run.path)[0] if run.is_run else ():  # of earlier launches
            for steps, rung in record.rungs.items():
                self.reported(record.trial, steps, rung)

    def reported(self, trial: int, steps: int, rung: RungRecord) -> None:
        """See `Watcher`."""
        if self._objective.loss(rung.objective) < self._best:
            self._best = self._objective.loss(rung.objective)
            self._score.set(rung.objective, tags=self._run)

    def ended(self, trial: int, state: str, reason: str | None) -> None:
        """See `Watcher`."""
        self._ended.inc(tags={**self._run, "state": state})

    def pulsed(self, pulses: Mapping[str, Pulse]) -> None:
        """See `Watcher`."""
        for engine, pulse in pulses.items():
            tags = {**self._run, "engine": engine}
            self._lanes.set(len(pulse.steps), tags=tags)
            if pulse.memory_gb:
                self._memory.set(pulse.memory_gb[0], tags=tags)
            if pulse.stats:
                before = self._seen.get(engine, EngineStats())
                self._seen[engine] = pulse.stats
                _count(self._steps, pulse.stats.lane_steps - before.lane_steps, tags)
                _count(self._busy, pulse.stats.advancing_s - before.advancing_s, tags)


def _count(counter: Any, amount: float, tags: Mapping[str, str]) -> None:
    if amount > 0:  # Ray refuses to count nothing
        counter.inc(amount, tags=dict(tags))


class TensorBoardWatcher(Watcher):
    """Scores of every trial as curves, under ``tensorboard/`` in the run."""

    def __init__(self, job: JobSpec, run: RunDir):
        from tensorboardX import SummaryWriter

        self._open: Callable[[int], Any] = lambda trial: SummaryWriter(
            str(run.path / "tensorboard" / f"{trial:04d}")
        )
        self._writers: dict[int, Any] = {}

    def planned(self, plan: Plan, preset: str | None) -> None:
        """See `Watcher`."""
        if plan.trial not in self._writers:
            self._writers[plan.trial] = self._open(plan.trial)

    def reported(self, trial: int, steps: int, rung: RungRecord) -> None:
        """See `Watcher`."""
        for name, value in rung.scores.items():
            self._writers[trial].add_scalar(name, value, steps)

    def ended(self, trial: int, state: str, reason: str | None) -> None:
        """See `Watcher`."""
        if writer := self._writers.pop(trial, None):
            writer.close()


class MlflowWatcher(Watcher):
    """A run of MLflow for each trial, where its environment variables say."""

    def __init__(self, job: JobSpec, run: RunDir):
        try:
            from mlflow import MlflowClient
            from mlflow.entities import Metric, Param
        except ImportError:
            raise InputError(
                "watch: mlflow needs the package mlflow-skinny or mlflow: pip install mlflow-skinny"
            ) from None
        self._client, self._metric, self._param = MlflowClient(), Metric, Param
        known = self._client.get_experiment_by_name(job.name)
        self._experiment = (
            known.experiment_id if known else self._client.create_experiment(job.name)
        )
        self._runs: dict[int, str] = {}

    def planned(self, plan: Plan, preset: str | None) -> None:
        """See `Watcher`."""
        if plan.trial in self._runs:
            return
        made = self._client.create_run(self._experiment, run_name=preset or f"trial {plan.trial}")
        self._runs[plan.trial] = made.info.run_id
        params = [self._param(name, str(v)) for name, v in plan.config.to_dict().items()]
        self._client.log_batch(made.info.run_id, params=params)

    def reported(self, trial: int, steps: int, rung: RungRecord) -> None:
        """See `Watcher`."""
        now_ms = int(time.time() * 1000)
        metrics = [self._metric(name, v, now_ms, steps) for name, v in rung.scores.items()]
        self._client.log_batch(self._runs[trial], metrics=metrics)

    def ended(self, trial: int, state: str, reason: str | None) -> None:
        """See `Watcher`."""
        status = {"complete": "FINISHED", "pruned": "KILLED"}.get(state, "FAILED")
        if found := self._runs.pop(trial, None):
            self._client.set_terminated(found, status)


#: What a job may ask for under ``watch``.
KINDS: Mapping[str, Callable[[JobSpec, RunDir], Watcher]] = {
    "prometheus": PrometheusWatcher,
    "tensorboard": TensorBoardWatcher,
    "mlflow": MlflowWatcher,
}


def watchers_of(job: JobSpec, run: RunDir, first: Watcher) -> Watcher:
    """What a job asks for, with the watcher that people look at; without one that cannot start.

    Raises:
        InputError: a package is missing.
    """
    others = []
    for kind in job.watch:
        try:
            others.append(KINDS[kind](job, run))
        except NstError:
            raise
        except Exception as error:  # whatever a library does, the run goes on
            log.warning("watch: %s: %s: %s; left out", kind, type(error).__name__, error)
    return Watchers(first, others)
