"""EngineActor: an `Engine` as a Ray actor, which runs on a GPU or on CPU cores.

Every process that holds a handle of an actor loads its class, and every trial is such a process. So
this module and its imports must not load torch; only the actor's constructor does.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from nst_core.errors import InputError, WorkError
from nst_core.stylizer_config import Configuration
from tuner.cluster.cpu_share import cpu_times
from tuner.cluster.own_gpu import own_gpu
from tuner.engine.precision import precision_problem
from tuner.study.records import EngineStats, Pulse, Report

if TYPE_CHECKING:
    from tuner.engine.workload import Workload

T = TypeVar("T")

#: Seconds to wait for saved lanes, which come through the memory of another process.
LANES_TIMEOUT_S = 120


class _WarningBuffer(logging.Handler):
    """Log handler that collects warnings until someone takes them."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._messages: queue.SimpleQueue[str] = queue.SimpleQueue()

    def emit(self, record: logging.LogRecord) -> None:
        self._messages.put(record.getMessage())

    def take(self) -> tuple[str, ...]:
        """Return the warnings since the last call."""
        return tuple(self._messages.get() for _ in range(self._messages.qsize()))


class EngineActor:
    """A `TrialEngine` as an actor.

    One thread owns the engine and advances its lanes. Calls put tasks into the inbox of that
    thread, and wait on futures.

    Args:
        workload: pairs, weights and metrics of the run.
        device: ``cuda``, for the GPU that Ray assigned, or ``cpu``.
        threads: number of threads that torch uses; torch's default if None.
        engines_per_gpu: number of engines that share the GPU.
    """

    def __init__(
        self, workload: Workload, *, device: str, threads: int | None, engines_per_gpu: int = 1
    ):
        from nst_core.lanes.memory import LANES_SHARE
        from tuner.stylizers.engines import engine_of

        if device == "cuda":
            device = own_gpu()
        share = LANES_SHARE / engines_per_gpu
        self._engine = engine_of(workload, device=device, threads=threads, memory_share=share)
        #: Trial -> its saved lanes, which another process sends.
        self._saved_lanes: dict[int, asyncio.Future[bytes]] = {}
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        #: Trial -> the report that it waits for.
        self._reports: dict[int, asyncio.Future[list[Report]]] = {}
        self._warnings = _WarningBuffer()
        logging.getLogger("nst_core").addHandler(self._warnings)
        self._busy_since: float | None = None
        self._progress: tuple[Mapping[int, int], EngineStats | None] = ({}, None)
        self._device, self._engines_per_gpu = device, engines_per_gpu
        self._failure: str | None = None
        self._precision_problem = precision_problem(workload.precision, device)
        self._loop = asyncio.get_event_loop()
        threading.Thread(target=self._work, daemon=True).start()

    async def ready(self) -> Pulse:
        """Return an empty pulse once the engine can take trials.

        Raises:
            InputError: the device cannot compute in the precision of the run.
        """
        if self._precision_problem:
            raise InputError(self._precision_problem)
        return Pulse()

    async def pulse(self) -> Pulse:
        """Return what the engine is doing, with the warnings since the last pulse.

        Raises:
            WorkError: the engine has failed and must be restarted.
        """
        if self._failure:
            raise WorkError(self._failure)
        since = self._busy_since
        busy_s = 0.0 if since is None else time.monotonic() - since
        steps, stats = self._progress
        return Pulse(busy_s, self._warnings.take(), steps, stats, self._memory_gb(), cpu_times())

    def _memory_gb(self) -> tuple[float, float] | None:
        """Return used and total memory of the GPU in GB; None on a CPU.

        Engines that share a GPU divide both numbers, so that their sum is right.
        """
        if self._device == "cpu":
            return None
        import torch

        free, total = torch.cuda.mem_get_info(self._device)
        shared = 1e9 * self._engines_per_gpu
        return (total - free) / shared, total / shared

    async def advance(
        self,
        trial: int,
        config: Configuration,
        until: int,
        beyond: int | None,
        *,
        holdout: bool = False,
        has_saved_lanes: bool = False,
    ) -> list[Report]:
        """Bring a trial to a step and return its report.

        Reports of one turn travel in one call: that of the first trial also returns the reports of
        the others, so that the driver can handle all of them at once. Each of the others still
        returns its own report, in case that the first trial's process dies.

        Args:
            trial: number of the trial.
            config: settings of the trial.
            until: step to report at.
            beyond: step up to which lanes may run ahead after the report; None if `until` is last.
            holdout: also score held-out pairs.
            has_saved_lanes: continue from saved lanes, which `receive_lanes` delivers.
        """
        paused = None
        if has_saved_lanes:
            paused = await asyncio.wait_for(self._lanes_of(trial), LANES_TIMEOUT_S)
            del self._saved_lanes[trial]
        options: Any = {"holdout": holdout, "paused": paused}
        self._reports[trial] = self._loop.create_future()
        self._inbox.put(lambda: self._engine.submit(trial, config, until, beyond, **options))
        return await self._reports[trial]

    async def receive_lanes(self, trial: int, lanes: bytes) -> None:
        """Store a trial's saved lanes, as `pause` returned them, for its next `advance`."""
        self._lanes_of(trial).set_result(lanes)

    def _lanes_of(self, trial: int) -> asyncio.Future[bytes]:
        """Return the future of saved lanes; they may arrive before or after `advance`."""
        return self._saved_lanes.setdefault(trial, self._loop.create_future())

    async def pause(self, trial: int) -> bytes | None:
        """Remove a trial and return its lanes, if they can be saved for later."""
        return await self._run(lambda: self._engine.pause(trial))

    async def images(self, trials: Sequence[int]) -> dict[int, list[bytes]]:
        """Return the PNG files that trials were scored with last: trial -> one for each pair.

        Trials that are not on this engine are left out.
        """
        return {trial: self._engine.images(trial) for trial in trials if self._engine.holds(trial)}

    async def snapshot(self, trial: int) -> bytes | None:
        """Return a copy of a trial's lanes; None if the trial has ended."""
        return await self._run(
            lambda: self._engine.snapshot(trial) if self._engine.holds(trial) else None
        )

    async def stats(self) -> EngineStats:
        """Return how the engine spent its time, including all tasks before this call."""
        return await self._run(lambda: self._engine.stats)

    async def _run(self, task: Callable[[], T]) -> T:
        """Run a task in the engine's thread, between two chunks; return or raise its outcome."""
        outcome: asyncio.Future[T] = self._loop.create_future()

        def run() -> None:
            try:
                result = task()
            except Exception as error:
                self._loop.call_soon_threadsafe(outcome.set_exception, error)
            else:
                self._loop.call_soon_threadsafe(outcome.set_result, result)

        self._inbox.put(run)
        return await outcome

    async def drop(self, trial: int) -> None:
        """Remove a trial and its lanes."""
        self._reports.pop(trial, None)
        self._saved_lanes.pop(trial, None)
        self._inbox.put(lambda: self._engine.drop(trial))

    def _work(self) -> None:
        """Run the engine: tasks of the inbox and chunks of steps, in turn, in this thread only."""
        while True:
            try:
                while not self._engine.busy or not self._inbox.empty():
                    self._busy_since = None
                    task = self._inbox.get()
                    self._busy_since = time.monotonic()
                    task()
                self._busy_since = time.monotonic()
                reports = self._engine.advance()
                self._progress = (self._engine.steps, self._engine.stats)
            except Exception as error:  # whatever it is, all waiting trials must learn of it
                self._loop.call_soon_threadsafe(self._fail_all, error)
                return
            if reports:
                self._loop.call_soon_threadsafe(self._deliver, reports)

    def _deliver(self, reports: Sequence[Report]) -> None:
        """Answer the trials of one turn; the first one gets all reports, its own in front."""
        others = [report for report in reports if report.trial in self._reports]
        while others:
            report = others.pop(0)
            future = self._reports.pop(report.trial)
            if not future.done():
                future.set_result([report, *others])
                break
        for report in others:
            future = self._reports.pop(report.trial)
            if not future.done():
                future.set_result([report])

    def _fail_all(self, error: Exception) -> None:
        self._failure = repr(error)
        for future in self._reports.values():
            if not future.done():
                future.set_exception(WorkError(self._failure))
        self._reports.clear()
