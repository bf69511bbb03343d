"""Callbacks that send the events of a run to experiment trackers: Prometheus, TensorBoard, MLflow.

Each callback is a few calls of a library. An error in one of them is reported once and does not
stop the run.
"""

from __future__ import annotations

import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from nst_core.errors import InputError, NstError
from tuner.job.spec import JobSpec
from tuner.run.run_trackers import TrackioTracker, WandbTracker
from tuner.search.protocol import Callback, Plan
from tuner.study.commands import CommandRecord
from tuner.study.records import EngineStats, Pulse, RungRecord
from tuner.study.run_dir import RunDir
from tuner.study.study import load_records

log = logging.getLogger(__name__)

#: Number of events, of about 100 bytes each, after which a slow tracker is left out.
MOST_WAITING = 100_000
#: Number of trials with open TensorBoard files; files of further trials are opened again.
MOST_WRITERS = 64
#: Seconds that trackers have to receive the last events when the run is over; wandb starts a
#: process for the first trial, and takes a second for each.
FINISH_S = 60.0

_Event = Callable[[Callback], None]


class Callbacks(Callback):
    """Sends every event to several callbacks; as a context, waits for the last events at its end.

    Args:
        first: the callback that shows the run to people. Its errors are ours and are raised.
        trackers: each runs in a thread of its own, so that the run never waits for a library or
            its server, and is left out after its first error.
    """

    def __init__(self, first: Callback, trackers: Sequence[Callback] = ()):
        self._first = first
        self._trackers = [_BackgroundCallback(tracker) for tracker in trackers]

    def doing(self, what: str) -> None:
        """See `Callback`; only people are told."""
        self._first.doing(what)

    def planned(self, plan: Plan, preset: str | None) -> None:
        """See `Callback`."""
        self._send(lambda callback: callback.planned(plan, preset))

    def reported(self, trial: int, steps: int, rung: RungRecord) -> None:
        """See `Callback`."""
        self._send(lambda callback: callback.reported(trial, steps, rung))

    def ended(self, trial: int, state: str, reason: str | None) -> None:
        """See `Callback`."""
        self._send(lambda callback: callback.ended(trial, state, reason))

    def commanded(self, record: CommandRecord, job: JobSpec) -> None:
        """See `Callback`."""
        self._send(lambda callback: callback.commanded(record, job))

    def pulsed(self, pulses: Mapping[str, Pulse]) -> None:
        """See `Callback`."""
        self._send(lambda callback: callback.pulsed(pulses))

    def __enter__(self) -> Callbacks:
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    def finish(self, within_s: float = FINISH_S) -> None:
        """Wait until the trackers have received all events, for at most ``within_s`` seconds."""
        for tracker in self._trackers:
            tracker.events.put(None)
        until_s = time.monotonic() + within_s
        for tracker in self._trackers:
            tracker.join(max(0.0, until_s - time.monotonic()))
            if tracker.is_alive():
                log.warning("%s: not finished after %g s; left out", tracker.name, within_s)

    def _send(self, event: _Event) -> None:
        event(self._first)
        for tracker in self._trackers:
            tracker.send(event)


class _BackgroundCallback(threading.Thread):
    """A thread that passes events to a callback in their order.

    Attributes:
        events: events that the callback has not received yet; None ends the thread.
    """

    def __init__(self, callback: Callback):
        super().__init__(name=type(callback).__name__, daemon=True)
        self.events: queue.SimpleQueue[_Event | None] = queue.SimpleQueue()
        self._callback, self._left_out = callback, False
        self.start()

    def send(self, event: _Event) -> None:
        """Queue an event, or leave the callback out if too many events wait."""
        if self._left_out:
            return
        if self.events.qsize() >= MOST_WAITING:
            self._leave_out(f"{MOST_WAITING} events behind")
        else:
            self.events.put(event)

    def run(self) -> None:
        """Pass events on until the last one or the first error."""
        while not self._left_out and (event := self.events.get()):
            try:
                event(self._callback)
            except Exception as error:  # an error of any library must not stop the run
                self._leave_out(f"{type(error).__name__}: {error}")

    def _leave_out(self, reason: str) -> None:
        self._left_out = True
        log.warning("%s: %s; left out for the rest of this launch", self.name, reason)


class PrometheusCallback(Callback):
    """Sets gauges and counters that every Ray node exports to Prometheus.

    Args:
        job: the job; its name labels every metric.
        run: the run directory, for the best score of earlier launches.
    """

    def __init__(self, job: JobSpec, run: RunDir):
        from ray.util.metrics import Counter, Gauge

        self._goals = job.goals
        self._best: RungRecord | None = None
        self._run = {"run": job.name}
        self._ended = Counter("nst_trials_ended", "trials over, by state", ("run", "state"))
        self._score = Gauge("nst_best_score", "best value of the objective", ("run",))
        of_engine = ("run", "engine")
        self._lanes = Gauge("nst_trials_advancing", "trials whose lanes are advancing", of_engine)
        self._steps = Counter("nst_lane_steps", "optimizer steps of all lanes", of_engine)
        self._busy = Counter("nst_engine_busy_seconds", "time spent advancing lanes", of_engine)
        self._memory = Gauge("nst_gpu_memory_gb", "used memory of the GPU", of_engine)
        self._counted: dict[str, EngineStats] = {}
        for record in load_records(run.path)[0] if run.is_run else ():
            for steps, rung in record.rungs.items():
                self.reported(record.trial, steps, rung)

    def reported(self, trial: int, steps: int, rung: RungRecord) -> None:
        """See `Callback`."""
        best = None if self._best is None else self._best.objective
        if self._goals.violated(rung.scores):
            return
        if self._goals.first.better(rung.objective, best):
            self._best = rung
            self._set_score()

    def _set_score(self) -> None:
        """Set the gauge of the best score; Ray drops a gauge that is not set for some seconds."""
        if self._best is not None:
            self._score.set(self._best.objective, tags=self._run)

    def ended(self, trial: int, state: str, reason: str | None) -> None:
        """See `Callback`."""
        self._ended.inc(tags={**self._run, "state": state})

    def pulsed(self, pulses: Mapping[str, Pulse]) -> None:
        """See `Callback`."""
        self._set_score()
        for engine, pulse in pulses.items():
            tags = {**self._run, "engine": engine}
            self._lanes.set(len(pulse.steps), tags=tags)
            if pulse.memory_gb:
                self._memory.set(pulse.memory_gb[0], tags=tags)
            if pulse.stats:
                counted = self._counted.get(engine, EngineStats())
                self._counted[engine] = pulse.stats
                _increase(self._steps, pulse.stats.lane_steps - counted.lane_steps, tags)
                _increase(self._busy, pulse.stats.advancing_s - counted.advancing_s, tags)


def _increase(counter: Any, amount: float, tags: Mapping[str, str]) -> None:
    if amount > 0:  # Ray raises an error for 0
        counter.inc(amount, tags=dict(tags))


class TensorBoardCallback(Callback):
    """Writes the scores of every trial as curves to ``tensorboard/`` in the run directory."""

    def __init__(self, job: JobSpec, run: RunDir):
        from tensorboardX import SummaryWriter

        # File names contain the time in seconds; the suffix keeps two files of one second apart.
        opened = itertools.count()
        self._open: Callable[[int], Any] = lambda trial: SummaryWriter(
            str(run.path / "tensorboard" / f"{trial:04d}"), filename_suffix=f".{next(opened)}"
        )
        self._writers: dict[int, Any] = {}

    def reported(self, trial: int, steps: int, rung: RungRecord) -> None:
        """See `Callback`."""
        writer = self._writers.pop(trial, None) or self._open(trial)
        self._writers[trial] = writer  # at the end: the order is that of the last reports
        for name, value in rung.scores.items():
            writer.add_scalar(name, value, steps)
        # Each writer has a file and a thread, and a paused trial may never end.
        if len(self._writers) > MOST_WRITERS:
            self._writers.pop(next(iter(self._writers))).close()

    def ended(self, trial: int, state: str, reason: str | None) -> None:
        """See `Callback`."""
        if writer := self._writers.pop(trial, None):
            writer.close()


class MlflowCallback(Callback):
    """Logs every trial as an MLflow run, to the server that MLflow's environment variables name.

    Raises:
        InputError: MLflow is not installed.
    """

    def __init__(self, job: JobSpec, run: RunDir):
        try:
            from mlflow import MlflowClient
            from mlflow.entities import Metric, Param
        except ImportError:
            raise InputError(
                "watch: mlflow needs the package mlflow-skinny or mlflow: pip install mlflow-skinny"
            ) from None
        self._client, self._metric, self._param = MlflowClient(), Metric, Param
        self._name = job.name
        self._runs: dict[int, str] = {}

    @cached_property
    def _experiment(self) -> str:
        existing = self._client.get_experiment_by_name(self._name)
        if existing:
            return str(existing.experiment_id)
        return str(self._client.create_experiment(self._name))

    def planned(self, plan: Plan, preset: str | None) -> None:
        """See `Callback`."""
        if plan.trial in self._runs:
            return
        run = self._client.create_run(self._experiment, run_name=preset or f"trial {plan.trial}")
        self._runs[plan.trial] = run.info.run_id
        params = [self._param(name, str(v)) for name, v in plan.config.to_dict().items()]
        self._client.log_batch(run.info.run_id, params=params)

    def reported(self, trial: int, steps: int, rung: RungRecord) -> None:
        """See `Callback`."""
        now_ms = int(time.time() * 1000)
        metrics = [self._metric(name, v, now_ms, steps) for name, v in rung.scores.items()]
        self._client.log_batch(self._runs[trial], metrics=metrics)

    def ended(self, trial: int, state: str, reason: str | None) -> None:
        """See `Callback`."""
        status = {"complete": "FINISHED", "pruned": "KILLED"}.get(state, "FAILED")
        if run_id := self._runs.pop(trial, None):
            self._client.set_terminated(run_id, status)


#: Trackers that a job may name under ``watch``.
TRACKERS: Mapping[str, Callable[[JobSpec, RunDir], Callback]] = {
    "prometheus": PrometheusCallback,
    "tensorboard": TensorBoardCallback,
    "mlflow": MlflowCallback,
    "wandb": WandbTracker,
    "trackio": TrackioTracker,
}


def make_callbacks(job: JobSpec, run: RunDir, first: Callback) -> Callbacks:
    """Return the trackers of a job together with ``first``; one that cannot start is left out.

    Args:
        job: the job, with the trackers under ``watch``.
        run: the run directory.
        first: the callback that shows the run to people.

    Raises:
        InputError: the package of a tracker is missing.
    """
    trackers = []
    for name in job.watch:
        try:
            trackers.append(TRACKERS[name](job, run))
        except NstError:
            raise
        except Exception as error:  # an error of any library must not stop the run
            log.warning("watch: %s: %s: %s; left out", name, type(error).__name__, error)
    return Callbacks(first, trackers)
