"""Callbacks that tell others about a run: Prometheus through Ray, TensorBoard, MLflow.

Each is a few calls of a library. What goes wrong in one is said once and stops no run.
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
from tuner.search.protocol import Callback, Plan
from tuner.study.records import EngineStats, Pulse, RungRecord
from tuner.study.run_dir import RunDir
from tuner.study.study import load_records

log = logging.getLogger(__name__)

#: Events that may wait for a slow server before it is given up, some 100 bytes each.
MOST_WAITING = 100_000
#: Trials whose curves are open at a time; those of others are opened again.
MOST_WRITERS = 64
#: Seconds for the last events, when the run is over.
FINISH_S = 20.0

_Event = Callable[[Callback], None]


class Callbacks(Callback):
    """Several callbacks as one; on leaving, the last events are waited for.

    Args:
        first: the one that people look at; what goes wrong in it is a defect of ours.
        others: each works in a thread of its own, so that nobody waits for a library or its
            server, and is left out from its first error on.
    """

    def __init__(self, first: Callback, others: Sequence[Callback] = ()):
        self._first, self._others = first, [_Aside(other) for other in others]

    def doing(self, what: str) -> None:
        """See `Callback`; it is news for people only."""
        self._first.doing(what)

    def planned(self, plan: Plan, preset: str | None) -> None:
        """See `Callback`."""
        self._first.planned(plan, preset)
        self._tell(lambda callback: callback.planned(plan, preset))

    def reported(self, trial: int, steps: int, rung: RungRecord) -> None:
        """See `Callback`."""
        self._first.reported(trial, steps, rung)
        self._tell(lambda callback: callback.reported(trial, steps, rung))

    def ended(self, trial: int, state: str, reason: str | None) -> None:
        """See `Callback`."""
        self._first.ended(trial, state, reason)
        self._tell(lambda callback: callback.ended(trial, state, reason))

    def pulsed(self, pulses: Mapping[str, Pulse]) -> None:
        """See `Callback`."""
        self._first.pulsed(pulses)
        self._tell(lambda callback: callback.pulsed(pulses))

    def __enter__(self) -> Callbacks:
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    def finish(self, within_s: float = FINISH_S) -> None:
        """Let the others take in what they were told, for so long at most."""
        for other in self._others:
            other.told.put(None)
        until_s = time.monotonic() + within_s
        for other in self._others:
            other.join(max(0.0, until_s - time.monotonic()))
            if other.is_alive():
                log.warning("%s: still not done after %g s; left out", other.name, within_s)

    def _tell(self, event: _Event) -> None:
        for other in self._others:
            other.tell(event)


class _Aside(threading.Thread):
    """A callback that is told of events in their order, by and by."""

    def __init__(self, callback: Callback):
        super().__init__(name=type(callback).__name__, daemon=True)
        self.told: queue.SimpleQueue[_Event | None] = queue.SimpleQueue()
        self._callback, self._left_out = callback, False
        self.start()

    def tell(self, event: _Event) -> None:
        if self._left_out:
            return
        if self.told.qsize() >= MOST_WAITING:
            self._leave_out(f"{MOST_WAITING} events behind")
        else:
            self.told.put(event)

    def run(self) -> None:
        """Until it is told nothing more, or something goes wrong."""
        while not self._left_out and (event := self.told.get()):
            try:
                event(self._callback)
            except Exception as error:  # whatever a library does, the run goes on
                self._leave_out(f"{type(error).__name__}: {error}")

    def _leave_out(self, why: str) -> None:
        self._left_out = True
        log.warning("%s: %s; left out from here on", self.name, why)


class PrometheusCallback(Callback):
    """Gauges and counters that every Ray node offers to Prometheus."""

    def __init__(self, job: JobSpec, run: RunDir):
        from ray.util.metrics import Counter, Gauge

        self._goals = job.goals
        self._best: RungRecord | None = None
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
        """See `Callback`."""
        best = None if self._best is None else self._best.objective
        if self._goals.violated(rung.scores):
            return
        if self._goals.first.better(rung.objective, best):
            self._best = rung
            self._tell_best()

    def _tell_best(self) -> None:
        """Ray forgets a gauge that it is not told again within some seconds."""
        if self._best is not None:
            self._score.set(self._best.objective, tags=self._run)

    def ended(self, trial: int, state: str, reason: str | None) -> None:
        """See `Callback`."""
        self._ended.inc(tags={**self._run, "state": state})

    def pulsed(self, pulses: Mapping[str, Pulse]) -> None:
        """See `Callback`."""
        self._tell_best()
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


class TensorBoardCallback(Callback):
    """Scores of every trial as curves, under ``tensorboard/`` in the run."""

    def __init__(self, job: JobSpec, run: RunDir):
        from tensorboardX import SummaryWriter

        # A file and a thread each. By its time alone a second file could be one of the same second.
        opened = itertools.count()
        self._open: Callable[[int], Any] = lambda trial: SummaryWriter(
            str(run.path / "tensorboard" / f"{trial:04d}"), filename_suffix=f".{next(opened)}"
        )
        self._writers: dict[int, Any] = {}

    def reported(self, trial: int, steps: int, rung: RungRecord) -> None:
        """See `Callback`."""
        writer = self._writers.pop(trial, None) or self._open(trial)
        self._writers[trial] = writer  # the last one now
        for name, value in rung.scores.items():
            writer.add_scalar(name, value, steps)
        if len(self._writers) > MOST_WRITERS:  # a trial may wait for its promotion for ever
            self._writers.pop(next(iter(self._writers))).close()

    def ended(self, trial: int, state: str, reason: str | None) -> None:
        """See `Callback`."""
        if writer := self._writers.pop(trial, None):
            writer.close()


class MlflowCallback(Callback):
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
        self._name = job.name
        self._runs: dict[int, str] = {}

    @cached_property
    def _experiment(self) -> str:
        known = self._client.get_experiment_by_name(self._name)
        return str(known.experiment_id if known else self._client.create_experiment(self._name))

    def planned(self, plan: Plan, preset: str | None) -> None:
        """See `Callback`."""
        if plan.trial in self._runs:
            return
        made = self._client.create_run(self._experiment, run_name=preset or f"trial {plan.trial}")
        self._runs[plan.trial] = made.info.run_id
        params = [self._param(name, str(v)) for name, v in plan.config.to_dict().items()]
        self._client.log_batch(made.info.run_id, params=params)

    def reported(self, trial: int, steps: int, rung: RungRecord) -> None:
        """See `Callback`."""
        now_ms = int(time.time() * 1000)
        metrics = [self._metric(name, v, now_ms, steps) for name, v in rung.scores.items()]
        self._client.log_batch(self._runs[trial], metrics=metrics)

    def ended(self, trial: int, state: str, reason: str | None) -> None:
        """See `Callback`."""
        status = {"complete": "FINISHED", "pruned": "KILLED"}.get(state, "FAILED")
        if found := self._runs.pop(trial, None):
            self._client.set_terminated(found, status)


#: What a job may ask for under ``watch``.
KINDS: Mapping[str, Callable[[JobSpec, RunDir], Callback]] = {
    "prometheus": PrometheusCallback,
    "tensorboard": TensorBoardCallback,
    "mlflow": MlflowCallback,
}


def watchers_of(job: JobSpec, run: RunDir, first: Callback) -> Callbacks:
    """What a job asks for, with the callback that people look at; without one that cannot start.

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
    return Callbacks(first, others)
